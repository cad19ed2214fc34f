//! Writes the code that reads the words of a call as parameters.

use wasm_encoder::{BlockType, ValType};
use wasmparser::PrimitiveValType;

use super::{Helper, Typed, Writer, access};
use crate::flatten::types::Type;

/// The adapter returns it for a list that it could not read.
const NO_LIST: i32 = -1;

/// A parameter that words are read as.
#[derive(Clone)]
pub(super) enum Param {
    Boolean,
    Integer(Integer),
    Bytes {
        is_text: bool,
    },
    /// All words that are left, as lists of bytes.
    Lists {
        are_text: bool,
    },
    /// All words that are left, as numbers.
    Integers(Integer),
    /// A parameter that may be missing at the end.
    Option(Box<Self>),
}

/// A type of whole numbers.
#[derive(Clone, Copy)]
pub(super) struct Integer {
    bytes: u32,
    is_unsigned: bool,
}

impl Integer {
    fn of(ty: PrimitiveValType) -> Option<Self> {
        use PrimitiveValType::{S8, S16, S32, S64, U8, U16, U32, U64};
        let (bytes, is_unsigned) = match ty {
            S8 => (1, false),
            U8 => (1, true),
            S16 => (2, false),
            U16 => (2, true),
            S32 => (4, false),
            U32 => (4, true),
            S64 => (8, false),
            U64 => (8, true),
            _ => return None,
        };
        Some(Self { bytes, is_unsigned })
    }

    /// Leaves how the adapter reads it: if it is unsigned, its least and its largest value.
    fn write_bounds(self, writer: &mut Writer<'_>) {
        let bits = self.bytes * 8;
        let (least, most) = if self.is_unsigned {
            (0, (u64::MAX >> (64 - bits)).cast_signed())
        } else {
            (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits))
        };
        let is_unsigned = i32::from(self.is_unsigned);
        writer
            .code()
            .i32_const(is_unsigned)
            .i64_const(least)
            .i64_const(most);
    }

    const fn flat(self) -> ValType {
        if self.bytes == 8 {
            ValType::I64
        } else {
            ValType::I32
        }
    }
}

impl Param {
    /// Returns how words are read as a type; `None` if they are not.
    pub(super) fn of(ty: &Type) -> Option<Self> {
        use PrimitiveValType::{Bool, String, U8};
        Some(match ty {
            Type::Primitive(Bool) => Self::Boolean,
            Type::Primitive(String) => Self::Bytes { is_text: true },
            Type::Primitive(primitive) => Self::Integer(Integer::of(*primitive)?),
            Type::List(element) => match &**element {
                Type::Primitive(U8) => Self::Bytes { is_text: false },
                Type::Primitive(String) => Self::Lists { are_text: true },
                Type::Primitive(primitive) => Self::Integers(Integer::of(*primitive)?),
                Type::List(inner) if **inner == Type::Primitive(U8) => {
                    Self::Lists { are_text: false }
                }
                _ => return None,
            },
            Type::Option(some) => {
                let some = Self::of(some)?;
                if some.is_rest() || some.is_optional() {
                    return None;
                }
                Self::Option(Box::new(some))
            }
            _ => return None,
        })
    }

    /// Returns true for all words that are left.
    pub(super) const fn is_rest(&self) -> bool {
        matches!(self, Self::Lists { .. } | Self::Integers(_))
    }

    pub(super) const fn is_optional(&self) -> bool {
        matches!(self, Self::Option(_))
    }

    /// Returns the values that are passed for it.
    pub(super) fn flat(&self) -> Vec<ValType> {
        match self {
            Self::Boolean => vec![ValType::I32],
            Self::Integer(integer) => vec![integer.flat()],
            Self::Bytes { .. } | Self::Lists { .. } | Self::Integers(_) => {
                vec![ValType::I32, ValType::I32]
            }
            Self::Option(some) => [vec![ValType::I32], some.flat()].concat(),
        }
    }
}

/// Reads the words of a call of the entry `name`; returns the locals of all parameters in order. Words that do not
/// fit are answered with an error.
pub(super) fn read(writer: &mut Writer<'_>, name: &str, typed: &Typed) -> Vec<u32> {
    let Typed { params, usage, .. } = typed;
    let count = writer.local(ValType::I32);
    writer.call(Helper::Count);
    writer.code().local_set(count);
    let takes = format!("{name} takes {usage}, from KEYS and then ARGS");
    let needed = params
        .iter()
        .filter(|(_, param)| !param.is_optional() && !param.is_rest())
        .count();
    if needed > 0 {
        writer
            .code()
            .local_get(count)
            .i32_const(needed as i32)
            .i32_lt_u();
        writer.refuse_if(&format!("INVALID a word is missing: {takes}"));
    }
    if !params.iter().any(|(_, param)| param.is_rest()) {
        writer
            .code()
            .local_get(count)
            .i32_const(params.len() as i32)
            .i32_gt_u();
        writer.refuse_if(&format!("INVALID there are too many words: {takes}"));
    }
    let mut locals = Vec::new();
    for (index, (param_name, param)) in params.iter().enumerate() {
        let own: Vec<u32> = param
            .flat()
            .into_iter()
            .map(|ty| writer.local(ty))
            .collect();
        let refusal = format!("INVALID {param_name} is none: {takes}");
        let word = Word {
            index: index as i32,
            count,
            refusal: &refusal,
        };
        match param {
            Param::Option(some) => {
                let (is_some, values) = own.split_first().expect("it has at least two");
                writer
                    .code()
                    .local_get(count)
                    .i32_const(word.index)
                    .i32_gt_u()
                    .if_(BlockType::Empty)
                    .i32_const(1)
                    .local_set(*is_some);
                word.read(writer, some, values);
                writer.code().end();
            }
            param => word.read(writer, param, &own),
        }
        locals.extend(own);
    }
    locals
}

/// A word, or the first of those that are left.
struct Word<'t> {
    index: i32,
    /// The local with the number of words.
    count: u32,
    /// The error for a word that does not fit.
    refusal: &'t str,
}

impl Word<'_> {
    /// Reads it as a parameter into locals.
    fn read(&self, writer: &mut Writer<'_>, param: &Param, locals: &[u32]) {
        writer.code().i32_const(self.index);
        match param {
            Param::Boolean => {
                writer.call(Helper::Boolean);
                writer.code().local_tee(locals[0]).i32_const(2).i32_eq();
                writer.refuse_if(self.refusal);
            }
            Param::Integer(integer) => {
                let at = writer.local(ValType::I32);
                integer.write_bounds(writer);
                writer.call(Helper::Integer);
                writer.code().local_tee(at).i32_eqz();
                writer.refuse_if(self.refusal);
                let mut code = writer.code();
                code.local_get(at).i64_load(access(0));
                if integer.flat() == ValType::I32 {
                    code.i32_wrap_i64();
                }
                code.local_set(locals[0]);
            }
            Param::Bytes { is_text } => {
                let at = writer.local(ValType::I32);
                writer.code().i32_const(i32::from(*is_text));
                writer.call(Helper::Bytes);
                writer.code().local_tee(at).i32_eqz();
                writer.refuse_if(self.refusal);
                for (offset, local) in [(0, locals[0]), (4, locals[1])] {
                    writer
                        .code()
                        .local_get(at)
                        .i32_load(access(offset))
                        .local_set(local);
                }
            }
            Param::Lists { .. } | Param::Integers(_) => {
                // None are left if parameters before it are missing.
                writer
                    .code()
                    .local_get(self.count)
                    .i32_const(self.index)
                    .i32_sub()
                    .i32_const(0)
                    .local_get(self.count)
                    .i32_const(self.index)
                    .i32_gt_u()
                    .select()
                    .local_tee(locals[1]);
                match param {
                    Param::Integers(integer) => {
                        writer.code().i32_const(integer.bytes as i32);
                        integer.write_bounds(writer);
                        writer.call(Helper::Integers);
                    }
                    param => {
                        let are_text = matches!(param, Param::Lists { are_text: true });
                        writer.code().i32_const(i32::from(are_text));
                        writer.call(Helper::Lists);
                    }
                }
                writer
                    .code()
                    .local_tee(locals[0])
                    .i32_const(NO_LIST)
                    .i32_eq();
                writer.refuse_if(self.refusal);
            }
            // One in another is not read.
            Param::Option(_) => {
                writer.code().drop();
            }
        }
    }
}
