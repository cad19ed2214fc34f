//! Places of values in memory, by the canonical ABI of the component model.

use wasm_encoder::ValType;
use wasmparser::PrimitiveValType;

use crate::flatten::types::Type;

/// Returns the size of a value, in bytes.
pub(super) fn size(ty: &Type) -> u32 {
    match ty {
        Type::Primitive(primitive) => of_primitive(*primitive).0,
        Type::List(_) => 8,
        Type::Record(fields) => of_fields(fields.iter().map(|(_, ty)| ty)),
        Type::Tuple(types) => of_fields(types.iter()),
        Type::Variant(_) | Type::Enum(_) | Type::Option(_) | Type::Result(..) => {
            let cases = cases(ty);
            let payload = cases.iter().flatten().map(|ty| size(ty)).max();
            let end = payload_offset(ty) + payload.unwrap_or(0);
            end.next_multiple_of(align(ty))
        }
        Type::Other(_) => 0,
    }
}

/// Returns the alignment of a value, in bytes.
pub(super) fn align(ty: &Type) -> u32 {
    let most = |types: &mut dyn Iterator<Item = &Type>| types.map(align).max().unwrap_or(1);
    match ty {
        Type::Primitive(primitive) => of_primitive(*primitive).1,
        Type::List(_) => 4,
        Type::Record(fields) => most(&mut fields.iter().map(|(_, ty)| ty)),
        Type::Tuple(types) => most(&mut types.iter()),
        Type::Variant(_) | Type::Enum(_) | Type::Option(_) | Type::Result(..) => {
            let payload = most(&mut cases(ty).into_iter().flatten());
            payload.max(discriminant_bytes(ty))
        }
        Type::Other(_) => 1,
    }
}

/// Returns each field with its offset.
pub(super) fn fields<'t>(types: impl Iterator<Item = &'t Type>) -> Vec<(&'t Type, u32)> {
    let mut end: u32 = 0;
    types
        .map(|ty| {
            let at = end.next_multiple_of(align(ty));
            end = at + size(ty);
            (ty, at)
        })
        .collect()
}

/// Returns the bytes of the number of a variant's case.
pub(super) fn discriminant_bytes(ty: &Type) -> u32 {
    match cases(ty).len() {
        0..=256 => 1,
        257..=65_536 => 2,
        _ => 4,
    }
}

/// Returns the offset of a variant's payload.
pub(super) fn payload_offset(ty: &Type) -> u32 {
    let payload = cases(ty).into_iter().flatten().map(align).max();
    discriminant_bytes(ty).next_multiple_of(payload.unwrap_or(1))
}

/// Returns the only value that a result is returned as; `None` if it is returned in memory.
pub(super) fn direct(ty: &Type) -> Option<ValType> {
    use PrimitiveValType::{ErrorContext, F32, F64, S64, String, U64};
    match ty {
        Type::Primitive(String | ErrorContext) | Type::List(_) | Type::Other(_) => None,
        Type::Primitive(S64 | U64) => Some(ValType::I64),
        Type::Primitive(F32) => Some(ValType::F32),
        Type::Primitive(F64) => Some(ValType::F64),
        Type::Primitive(_) => Some(ValType::I32),
        Type::Record(fields) => match fields.as_slice() {
            [(_, only)] => direct(only),
            _ => None,
        },
        Type::Tuple(types) => match types.as_slice() {
            [only] => direct(only),
            _ => None,
        },
        Type::Variant(_) | Type::Enum(_) | Type::Option(_) | Type::Result(..) => cases(ty)
            .iter()
            .all(Option::is_none)
            .then_some(ValType::I32),
    }
}

/// Returns the payloads of a variant's cases.
fn cases(ty: &Type) -> Vec<Option<&Type>> {
    match ty {
        Type::Variant(cases) => cases.iter().map(|(_, ty)| ty.as_ref()).collect(),
        Type::Enum(names) => vec![None; names.len()],
        Type::Option(some) => vec![None, Some(some)],
        Type::Result(ok, error) => vec![ok.as_deref(), error.as_deref()],
        _ => Vec::new(),
    }
}

fn of_fields<'t>(types: impl Iterator<Item = &'t Type> + Clone) -> u32 {
    let most = types.clone().map(align).max().unwrap_or(1);
    let end = fields(types).last().map_or(0, |(ty, at)| at + size(ty));
    end.next_multiple_of(most)
}

/// Returns size and alignment.
fn of_primitive(ty: PrimitiveValType) -> (u32, u32) {
    use PrimitiveValType::{
        Bool, Char, ErrorContext, F32, F64, S8, S16, S32, S64, String, U8, U16, U32, U64,
    };
    match ty {
        Bool | S8 | U8 => (1, 1),
        S16 | U16 => (2, 2),
        S32 | U32 | F32 | Char | ErrorContext => (4, 4),
        S64 | U64 | F64 => (8, 8),
        String => (8, 4),
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::ValType;
    use wasmparser::PrimitiveValType::{Bool, F64, S64, String, U8, U16};

    use super::{align, direct, fields, payload_offset, size};
    use crate::flatten::types::Type;

    fn record(types: &[Type]) -> Type {
        let fields = types.iter().map(|ty| ("field".to_owned(), ty.clone()));
        Type::Record(fields.collect())
    }

    #[test]
    fn values_lie_where_the_canonical_abi_puts_them() {
        let primitive = Type::Primitive;
        let mixed = record(&[
            primitive(U8),
            primitive(S64),
            primitive(U16),
            primitive(String),
        ]);
        assert_eq!((size(&mixed), align(&mixed)), (32, 8));
        let Type::Record(all) = &mixed else {
            unreachable!("it was made as one");
        };
        let offsets: Vec<u32> = fields(all.iter().map(|(_, ty)| ty))
            .into_iter()
            .map(|(_, at)| at)
            .collect();
        assert_eq!(offsets, [0, 8, 16, 20]);
        let some = Type::Option(Box::new(primitive(F64)));
        assert_eq!(
            (size(&some), align(&some), payload_offset(&some)),
            (16, 8, 8)
        );
        let flag = Type::Option(Box::new(primitive(Bool)));
        assert_eq!((size(&flag), payload_offset(&flag)), (2, 1));
        let wide = Type::Enum(vec!["one".to_owned(); 300]);
        assert_eq!((size(&wide), align(&wide)), (2, 2));
    }

    #[test]
    fn only_one_value_is_returned_directly() {
        let one = record(&[Type::Tuple(vec![Type::Primitive(F64)])]);
        assert_eq!(direct(&one), Some(ValType::F64));
        assert_eq!(direct(&Type::Result(None, None)), Some(ValType::I32));
        for ty in [
            Type::Primitive(String),
            Type::Option(Box::new(Type::Primitive(Bool))),
            record(&[Type::Primitive(Bool), Type::Primitive(Bool)]),
        ] {
            assert_eq!(direct(&ty), None, "{ty}");
        }
    }
}
