//! Types of lifted functions: what an entry takes and returns.

use std::fmt;

use wasmparser::PrimitiveValType;
use wasmparser::component_types::{ComponentDefinedType, ComponentFuncTypeId, ComponentValType};
use wasmparser::types::TypesRef;

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Primitive(PrimitiveValType),
    List(Box<Self>),
    Record(Vec<(String, Self)>),
    Variant(Vec<(String, Option<Self>)>),
    Tuple(Vec<Self>),
    Enum(Vec<String>),
    Option(Box<Self>),
    Result(Option<Box<Self>>, Option<Box<Self>>),
    /// A type that no entry takes or returns, by its word in WIT.
    Other(&'static str),
}

/// The type of a lifted function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FunctionType {
    pub(super) params: Vec<(String, Type)>,
    pub(super) result: Option<Type>,
    pub(super) is_async: bool,
}

/// Most fields or cases that a type shows.
const SHOWN_MAX: usize = 3;

/// Writes the type as WIT does; records, variants and enums, which have names there, with what they consist of.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(primitive) => write!(f, "{primitive}"),
            Self::List(element) => write!(f, "list<{element}>"),
            Self::Option(some) => write!(f, "option<{some}>"),
            Self::Tuple(types) => {
                f.write_str("tuple<")?;
                for (index, ty) in types.iter().enumerate() {
                    write!(f, "{}{ty}", if index > 0 { ", " } else { "" })?;
                }
                f.write_str(">")
            }
            Self::Result(None, None) => f.write_str("result"),
            Self::Result(Some(ok), None) => write!(f, "result<{ok}>"),
            Self::Result(None, Some(error)) => write!(f, "result<_, {error}>"),
            Self::Result(Some(ok), Some(error)) => write!(f, "result<{ok}, {error}>"),
            Self::Record(fields) => {
                let fields = fields.iter().map(|(name, ty)| format!("{name}: {ty}"));
                write_some(f, "record", fields)
            }
            Self::Variant(cases) => {
                let cases = cases.iter().map(|(name, ty)| match ty {
                    Some(ty) => format!("{name}({ty})"),
                    None => name.clone(),
                });
                write_some(f, "variant", cases)
            }
            Self::Enum(names) => write_some(f, "enum", names.iter().cloned()),
            Self::Other(word) => f.write_str(word),
        }
    }
}

/// Writes the first fields or cases of a type.
fn write_some(
    f: &mut fmt::Formatter<'_>,
    word: &str,
    parts: impl ExactSizeIterator<Item = String>,
) -> fmt::Result {
    let more = if parts.len() > SHOWN_MAX { ", …" } else { "" };
    let shown: Vec<String> = parts.take(SHOWN_MAX).collect();
    write!(f, "{word} {{ {}{more} }}", shown.join(", "))
}

impl FunctionType {
    /// Reads a function type of a valid component.
    pub(super) fn read(types: TypesRef<'_>, id: ComponentFuncTypeId) -> Self {
        let function = &types[id];
        Self {
            params: function
                .params
                .iter()
                .map(|(name, ty)| (name.to_string(), Type::read(types, *ty)))
                .collect(),
            result: function.result.map(|ty| Type::read(types, ty)),
            is_async: function.async_,
        }
    }
}

impl Type {
    /// Reads a type. The validator bounds its depth, and its size if written out.
    fn read(types: TypesRef<'_>, ty: ComponentValType) -> Self {
        let id = match ty {
            ComponentValType::Primitive(primitive) => return Self::Primitive(primitive),
            ComponentValType::Type(id) => id,
        };
        let read = |ty: &ComponentValType| Self::read(types, *ty);
        let boxed = |ty: &Option<ComponentValType>| ty.as_ref().map(|ty| Box::new(read(ty)));
        match &types[id] {
            ComponentDefinedType::Primitive(primitive) => Self::Primitive(*primitive),
            ComponentDefinedType::List { element, .. } => Self::List(Box::new(read(element))),
            ComponentDefinedType::Record(record) => Self::Record(
                record
                    .fields
                    .iter()
                    .map(|(name, ty)| (name.to_string(), read(ty)))
                    .collect(),
            ),
            ComponentDefinedType::Variant(variant) => Self::Variant(
                variant
                    .cases
                    .iter()
                    .map(|(name, case)| (name.to_string(), case.ty.as_ref().map(read)))
                    .collect(),
            ),
            ComponentDefinedType::Tuple(tuple) => {
                Self::Tuple(tuple.types.iter().map(read).collect())
            }
            ComponentDefinedType::Enum(names) => {
                Self::Enum(names.iter().map(ToString::to_string).collect())
            }
            ComponentDefinedType::Option { ty, .. } => Self::Option(Box::new(read(ty))),
            ComponentDefinedType::Result { ok, err, .. } => Self::Result(boxed(ok), boxed(err)),
            ComponentDefinedType::Flags(_) => Self::Other("flags"),
            ComponentDefinedType::Own(_) | ComponentDefinedType::Borrow(_) => {
                Self::Other("a resource")
            }
            ComponentDefinedType::Map { .. } => Self::Other("map"),
            ComponentDefinedType::FixedLengthList { .. } => Self::Other("a list of fixed length"),
            ComponentDefinedType::Future { .. } => Self::Other("future"),
            ComponentDefinedType::Stream { .. } => Self::Other("stream"),
        }
    }

    /// `list<u8>`.
    fn bytes() -> Self {
        Self::List(Box::new(Self::Primitive(PrimitiveValType::U8)))
    }

    /// `input` of `ferrite:function/types`.
    pub(super) fn input() -> Self {
        let strings = || Self::List(Box::new(Self::bytes()));
        Self::Record(vec![
            ("keys".to_owned(), strings()),
            ("args".to_owned(), strings()),
        ])
    }

    /// `result<list<item>, string>`, with `item` of `ferrite:function/types`.
    pub(super) fn reply() -> Self {
        use PrimitiveValType::{Bool, F64, S64, String, U32};
        let primitive = |ty| Some(Self::Primitive(ty));
        let item = [
            ("null", None),
            ("boolean", primitive(Bool)),
            ("integer", primitive(S64)),
            ("double", primitive(F64)),
            ("bulk", Some(Self::bytes())),
            ("simple", primitive(String)),
            ("error", primitive(String)),
            ("array", primitive(U32)),
            ("mapping", primitive(U32)),
        ];
        let item = item.map(|(name, ty)| (name.to_owned(), ty)).to_vec();
        Self::Result(
            Some(Box::new(Self::List(Box::new(Self::Variant(item))))),
            Some(Box::new(Self::Primitive(String))),
        )
    }
}
