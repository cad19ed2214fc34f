//! Writes the code that replies with a result.

use wasm_encoder::{BlockType, ValType};
use wasmparser::PrimitiveValType;

use super::{Helper, Writer, access, layout};
use crate::flatten::types::Type;

/// Most types inside each other in a result; a reply nests as deep.
const DEPTH_MAX: u32 = 16;

/// Most fields of a record and cases of a variant: each takes code.
const PARTS_MAX: usize = 256;

/// Place of a value.
#[derive(Clone, Copy)]
enum Place {
    /// In memory, at this offset from the address in a local.
    Memory { base: u32, offset: u32 },
    /// In a local, all of it.
    Local(u32),
}

/// Returns the part of a type that cannot be a reply, if there is one.
pub(super) fn unsupported(ty: &Type, depth: u32) -> Option<String> {
    let inner = |ty: &Type| unsupported(ty, depth + 1);
    if depth > DEPTH_MAX {
        return Some("what nests so deep".to_owned());
    }
    match ty {
        Type::Primitive(PrimitiveValType::ErrorContext) => Some(format!("`{ty}`")),
        Type::Primitive(_) => None,
        Type::List(some) | Type::Option(some) => inner(some),
        Type::Tuple(types) => types.iter().find_map(inner),
        Type::Record(fields) if fields.len() <= PARTS_MAX => {
            fields.iter().find_map(|(_, ty)| inner(ty))
        }
        Type::Variant(cases) if cases.len() <= PARTS_MAX => {
            cases.iter().find_map(|(_, ty)| inner(ty.as_ref()?))
        }
        Type::Enum(names) if names.len() <= PARTS_MAX => None,
        Type::Result(ok, error) => {
            // An error reply is a text.
            let text = match error.as_deref() {
                None | Some(Type::Primitive(PrimitiveValType::String) | Type::Enum(_)) => None,
                Some(other) => Some(format!("the error `{other}`")),
            };
            text.or_else(|| inner(error.as_deref()?))
                .or_else(|| inner(ok.as_deref()?))
        }
        Type::Record(_) | Type::Variant(_) | Type::Enum(_) => {
            Some(format!("a type of more than {PARTS_MAX} parts"))
        }
        Type::Other(word) => Some(format!("`{word}`")),
    }
}

/// Writes the reply for a result that is on the stack, and frees it.
pub(super) fn write(writer: &mut Writer<'_>, result: Option<&Type>) {
    let mut kept = None;
    if let Some(ty) = result {
        let direct = layout::direct(ty);
        let local = writer.local(direct.unwrap_or(ValType::I32));
        writer.code().local_set(local);
        let place = match direct {
            Some(_) => Place::Local(local),
            None => Place::Memory {
                base: local,
                offset: 0,
            },
        };
        value(writer, ty, place);
        kept = Some(local);
    }
    if let Some(post_return) = writer.calls.post_return {
        if let Some(local) = kept {
            writer.code().local_get(local);
        }
        writer.code().call(post_return);
    }
}

/// Writes the reply for a value.
fn value(writer: &mut Writer<'_>, ty: &Type, place: Place) {
    match ty {
        Type::Primitive(PrimitiveValType::String) => bytes(writer, place, Helper::ReplyBulk),
        Type::Primitive(primitive) => number(writer, *primitive, place),
        Type::List(element) if **element == Type::Primitive(PrimitiveValType::U8) => {
            bytes(writer, place, Helper::ReplyBulk);
        }
        Type::List(element) => list(writer, element, place),
        Type::Record(fields) => {
            writer.code().i32_const(fields.len() as i32);
            writer.call(Helper::ReplyMap);
            let places = layout::fields(fields.iter().map(|(_, ty)| ty));
            for ((name, _), (ty, at)) in fields.iter().zip(places) {
                bulk(writer, name);
                value(writer, ty, place.at(at));
            }
        }
        Type::Tuple(types) => {
            writer.code().i32_const(types.len() as i32);
            writer.call(Helper::ReplyArray);
            for (ty, at) in layout::fields(types.iter()) {
                value(writer, ty, place.at(at));
            }
        }
        Type::Option(some) => {
            discriminant(writer, ty, place);
            writer.code().if_(BlockType::Empty);
            value(writer, some, place.at(layout::payload_offset(ty)));
            writer.code().else_();
            writer.call(Helper::ReplyNull);
            writer.code().end();
        }
        Type::Result(ok, error) => {
            let payload = place.at(layout::payload_offset(ty));
            discriminant(writer, ty, place);
            writer.code().if_(BlockType::Empty);
            failure(writer, error.as_deref(), payload);
            writer.code().else_();
            match ok {
                Some(ok) => value(writer, ok, payload),
                None => bulk(writer, "OK"),
            }
            writer.code().end();
        }
        Type::Enum(names) => {
            let number = kept_discriminant(writer, ty, place);
            for (case, name) in (0..).zip(names) {
                if_case(writer, number, case);
                bulk(writer, name);
                writer.code().end();
            }
        }
        Type::Variant(cases) => {
            let payload = place.at(layout::payload_offset(ty));
            let number = kept_discriminant(writer, ty, place);
            for (case, (name, ty)) in (0..).zip(cases) {
                if_case(writer, number, case);
                match ty {
                    Some(ty) => {
                        writer.code().i32_const(1);
                        writer.call(Helper::ReplyMap);
                        bulk(writer, name);
                        value(writer, ty, payload);
                    }
                    None => bulk(writer, name),
                }
                writer.code().end();
            }
        }
        // Refused before.
        Type::Other(_) => {}
    }
}

impl Place {
    /// Returns a part of it.
    const fn at(self, more: u32) -> Self {
        match self {
            Self::Memory { base, offset } => Self::Memory {
                base,
                offset: offset + more,
            },
            Self::Local(local) => Self::Local(local),
        }
    }
}

/// Replies with a number, a boolean or a character.
fn number(writer: &mut Writer<'_>, ty: PrimitiveValType, place: Place) {
    use PrimitiveValType::{
        Bool, Char, ErrorContext, F32, F64, S8, S16, S32, S64, String, U8, U16, U32, U64,
    };
    let mut code = writer.code();
    match place {
        Place::Local(local) => {
            code.local_get(local);
        }
        Place::Memory { base, offset } => {
            let at = access(offset);
            code.local_get(base);
            match ty {
                Bool | U8 => code.i32_load8_u(at),
                S8 => code.i32_load8_s(at),
                U16 => code.i32_load16_u(at),
                S16 => code.i32_load16_s(at),
                U32 | S32 | Char | String | ErrorContext => code.i32_load(at),
                U64 | S64 => code.i64_load(at),
                F32 => code.f32_load(at),
                F64 => code.f64_load(at),
            };
        }
    }
    match ty {
        U8 | U16 | U32 => {
            code.i64_extend_i32_u();
        }
        S8 | S16 | S32 => {
            code.i64_extend_i32_s();
        }
        F32 => {
            code.f64_promote_f32();
        }
        _ => {}
    }
    writer.call(match ty {
        Bool => Helper::ReplyBool,
        Char => Helper::ReplyChar,
        F32 | F64 => Helper::ReplyDouble,
        U64 => Helper::ReplyUnsigned,
        _ => Helper::ReplyInteger,
    });
}

/// Replies with the bytes of a text or a list.
fn bytes(writer: &mut Writer<'_>, place: Place, reply: Helper) {
    if let Place::Memory { base, offset } = place {
        writer
            .code()
            .local_get(base)
            .i32_load(access(offset))
            .local_get(base)
            .i32_load(access(offset + 4));
        writer.call(reply);
    }
}

/// Replies with the elements of a list.
fn list(writer: &mut Writer<'_>, element: &Type, place: Place) {
    let Place::Memory { base, offset } = place else {
        return;
    };
    let (at, left) = (writer.local(ValType::I32), writer.local(ValType::I32));
    writer
        .code()
        .local_get(base)
        .i32_load(access(offset))
        .local_set(at)
        .local_get(base)
        .i32_load(access(offset + 4))
        .local_tee(left);
    writer.call(Helper::ReplyArray);
    writer
        .code()
        .block(BlockType::Empty)
        .loop_(BlockType::Empty)
        .local_get(left)
        .i32_eqz()
        .br_if(1);
    let first = Place::Memory {
        base: at,
        offset: 0,
    };
    value(writer, element, first);
    writer
        .code()
        .local_get(at)
        .i32_const(layout::size(element) as i32)
        .i32_add()
        .local_set(at)
        .local_get(left)
        .i32_const(1)
        .i32_sub()
        .local_set(left)
        .br(0)
        .end()
        .end();
}

/// Replies with an error.
fn failure(writer: &mut Writer<'_>, error: Option<&Type>, place: Place) {
    match error {
        Some(Type::Primitive(PrimitiveValType::String)) => {
            bytes(writer, place, Helper::ReplyError);
        }
        Some(ty @ Type::Enum(names)) => {
            let number = kept_discriminant(writer, ty, place);
            for (case, name) in (0..).zip(names) {
                if_case(writer, number, case);
                writer.text(&format!("ERR {name}"));
                writer.call(Helper::ReplyError);
                writer.code().end();
            }
        }
        _ => {
            writer.text("ERR the function failed");
            writer.call(Helper::ReplyError);
        }
    }
}

/// Leaves the number of a variant's case.
fn discriminant(writer: &mut Writer<'_>, ty: &Type, place: Place) {
    let mut code = writer.code();
    match place {
        Place::Local(local) => {
            code.local_get(local);
        }
        Place::Memory { base, offset } => {
            code.local_get(base);
            match layout::discriminant_bytes(ty) {
                1 => code.i32_load8_u(access(offset)),
                2 => code.i32_load16_u(access(offset)),
                _ => code.i32_load(access(offset)),
            };
        }
    }
}

/// Keeps the number of a variant's case in a local.
fn kept_discriminant(writer: &mut Writer<'_>, ty: &Type, place: Place) -> u32 {
    let number = writer.local(ValType::I32);
    discriminant(writer, ty, place);
    writer.code().local_set(number);
    number
}

/// Begins what is done for a case.
fn if_case(writer: &mut Writer<'_>, number: u32, case: i32) {
    writer
        .code()
        .local_get(number)
        .i32_const(case)
        .i32_eq()
        .if_(BlockType::Empty);
}

/// Replies with a constant text.
fn bulk(writer: &mut Writer<'_>, text: &str) {
    writer.text(text);
    writer.call(Helper::ReplyBulk);
}
