//! Scalar entries: arguments read as the numbers a signature asks for, results as a reply.

use ferrite_cache::{Signature, ValueType};
use smallvec::SmallVec;
use wasmtime::Val;

use crate::call::float_text::{F32, F64, NanText, read_f32, read_f64};
use crate::call::reply_builder::{ReplyBuilder, ReplyError};
use crate::error::{CallError, Quoted};
use ferrite_protocol::resp::Encoder;

/// Parameters or results of a call; few functions have more.
pub(crate) type Values = SmallVec<[Val; 4]>;

/// Reads the arguments of a scalar entry.
///
/// # Errors
///
/// `INVALID`, with the index, type and text of the argument that is wrong, or how many there must
/// be.
pub(crate) fn read_args(
    entry: &str,
    signature: &Signature,
    args: &[&[u8]],
) -> Result<Values, CallError> {
    let params = &signature.params;
    if args.len() != params.len() {
        return Err(wrong_count(entry, signature, args.len()));
    }
    params
        .iter()
        .zip(args)
        .enumerate()
        .map(|(index, (&ty, arg))| read(ty, arg).ok_or_else(|| wrong_type(entry, index, ty, arg)))
        .collect()
}

/// Values of the right types for the results to be written over.
#[must_use]
pub(crate) fn empty_results(signature: &Signature) -> Values {
    signature
        .results
        .iter()
        .map(|ty| match ty {
            ValueType::I64 => Val::I64(0),
            ValueType::F32 => Val::F32(0),
            ValueType::F64 => Val::F64(0),
            _ => Val::I32(0),
        })
        .collect()
}

/// Replies with the results: `OK` for none, one as itself, several as an array.
///
/// # Errors
///
/// Fails if that is longer than a reply may be.
pub(crate) fn reply(reply: &mut ReplyBuilder, results: &[Val]) -> Result<(), ReplyError> {
    match results {
        [] => reply.value(8, Encoder::ok),
        [one] => push(reply, one),
        several => {
            // wasm allows a thousand results, far from what an i32 holds.
            reply.array(i32::try_from(several.len()).unwrap_or(i32::MAX))?;
            several.iter().try_for_each(|value| push(reply, value))
        }
    }
}

fn push(reply: &mut ReplyBuilder, value: &Val) -> Result<(), ReplyError> {
    const NUMBER_BYTES: usize = 40;
    reply.value(NUMBER_BYTES, |out| match *value {
        Val::I32(value) => out.int(i64::from(value)),
        Val::I64(value) => out.int(value),
        Val::F32(bits) => match NanText::of(u64::from(bits), F32) {
            Some(nan) => push_nan(out, nan),
            None => out.double(widen(f32::from_bits(bits))),
        },
        Val::F64(bits) => match NanText::of(bits, F64) {
            Some(nan) => push_nan(out, nan),
            None => out.double(f64::from_bits(bits)),
        },
        // The compiler calls no function scalar that has other results.
        _ => out.null(),
    })
}

/// Writes a NaN so that it can be an argument again. A double of RESP3 has no sign or payload then, so
/// all but the plain one are strings.
fn push_nan(out: &mut Encoder, nan: NanText) {
    if nan.is_plain() {
        out.double(f64::NAN);
    } else {
        out.bulk_display(&nan);
    }
}

/// The double that is written with the same digits: 0.1 stays 0.1 and does not become
/// 0.10000000149011612.
fn widen(value: f32) -> f64 {
    if value.is_infinite() {
        return f64::from(value);
    }
    value
        .to_string()
        .parse()
        .unwrap_or_else(|_| f64::from(value))
}

fn read(ty: ValueType, text: &[u8]) -> Option<Val> {
    // Digits only: `str::parse` reads numbers faster than it is asked to check them as UTF-8.
    let text = std::str::from_utf8(text).ok()?;
    Some(match ty {
        ValueType::I32 => Val::I32(text.parse().ok()?),
        ValueType::I64 => Val::I64(text.parse().ok()?),
        ValueType::F32 => Val::F32(read_f32(text)?),
        ValueType::F64 => Val::F64(read_f64(text)?),
        ValueType::V128 | ValueType::FuncRef | ValueType::ExternRef => return None,
    })
}

#[cold]
fn wrong_count(entry: &str, signature: &Signature, given: usize) -> CallError {
    let params: Vec<_> = signature.params.iter().map(ToString::to_string).collect();
    let types = params.join(", ");
    CallError::invalid(match params.len() {
        0 => format!("entry \"{entry}\" takes no arguments, and {given} came after ARGS"),
        1 => {
            format!("entry \"{entry}\" takes 1 argument ({types}), not {given}; give it after ARGS")
        }
        count => format!(
            "entry \"{entry}\" takes {count} arguments ({types}), not {given}; give them after ARGS"
        ),
    })
}

#[cold]
fn wrong_type(entry: &str, index: usize, ty: ValueType, text: &[u8]) -> CallError {
    let range = match ty {
        ValueType::I32 => "a whole number from -2147483648 to 2147483647",
        ValueType::I64 => "a whole number from -9223372036854775808 to 9223372036854775807",
        _ => "a number, such as 0.5, -1e9, 0x1.8p3, inf, nan or nan:0x1",
    };
    CallError::invalid(format!(
        "argument {} of entry \"{entry}\" is {}, no {ty}; give {range}",
        index + 1,
        Quoted(text)
    ))
}

#[cfg(test)]
mod tests {
    use ferrite_cache::{Signature, ValueType};
    use wasmtime::Val;

    use super::{empty_results, read_args, reply};
    use crate::call::reply_builder::ReplyBuilder;
    use ferrite_protocol::resp::Protocol;

    fn signature(params: &[ValueType], results: &[ValueType]) -> Signature {
        Signature {
            params: params.to_vec(),
            results: results.to_vec(),
        }
    }

    #[test]
    fn arguments_are_read_by_type() {
        use ValueType::{F32, F64, I32, I64};
        let four = signature(&[I32, I64, F32, F64], &[]);
        let values = read_args(
            "f",
            &four,
            &[b"-2147483648", b"9223372036854775807", b"0.5", b"1e300"],
        )
        .expect("all four are right");
        assert!(matches!(
            values.as_slice(),
            [Val::I32(i32::MIN), Val::I64(i64::MAX), Val::F32(a), Val::F64(b)]
                if *a == 0.5_f32.to_bits() && *b == 1e300_f64.to_bits()
        ));
        for (ty, text, expected) in [
            (
                I32,
                "2147483648",
                "INVALID argument 1 of entry \"f\" is \"2147483648\", no i32; give a whole number from -2147483648 to 2147483647",
            ),
            (
                I32,
                "",
                "INVALID argument 1 of entry \"f\" is \"\", no i32; give a whole number from -2147483648 to 2147483647",
            ),
            (
                I64,
                "1.0",
                "INVALID argument 1 of entry \"f\" is \"1.0\", no i64; give a whole number from -9223372036854775808 to 9223372036854775807",
            ),
            (
                F64,
                "one",
                "INVALID argument 1 of entry \"f\" is \"one\", no f64; give a number, such as 0.5, -1e9, 0x1.8p3, inf, nan or nan:0x1",
            ),
            (
                F32,
                "\u{fffd}",
                "INVALID argument 1 of entry \"f\" is \"\\xef\\xbf\\xbd\", no f32; give a number, such as 0.5, -1e9, 0x1.8p3, inf, nan or nan:0x1",
            ),
        ] {
            let error = read_args("f", &signature(&[ty], &[]), &[text.as_bytes()])
                .expect_err("it is no such number");
            assert_eq!(error.to_string(), expected);
        }
        for (params, given, expected) in [
            (
                &[][..],
                &[&b"1"[..]][..],
                "INVALID entry \"f\" takes no arguments, and 1 came after ARGS",
            ),
            (
                &[I32],
                &[],
                "INVALID entry \"f\" takes 1 argument (i32), not 0; give it after ARGS",
            ),
        ] {
            let error = read_args("f", &signature(params, &[]), given).expect_err("a wrong count");
            assert_eq!(error.to_string(), expected);
        }
        let error = read_args("f", &four, &[b"1"]).expect_err("three are missing");
        assert_eq!(
            error.to_string(),
            "INVALID entry \"f\" takes 4 arguments (i32, i64, f32, f64), not 1; give them after ARGS"
        );
    }

    #[test]
    fn results_are_arguments_again() {
        use ValueType::{F32, F64, I32, I64};
        let text = |value: Val| {
            let mut builder = ReplyBuilder::new();
            builder.begin(Protocol::Resp2, 1000);
            reply(&mut builder, &[value]).expect("it is short");
            let bytes = builder.finish().expect("it is whole");
            let text = String::from_utf8_lossy(bytes);
            let mut lines = text.lines();
            let first = lines.next().unwrap_or_default();
            lines.next().unwrap_or(&first[1..]).to_owned()
        };
        // Steps that meet every sign, exponent and kind of fraction.
        let mut bits = 0_u64;
        for _ in 0..4_000 {
            bits = bits
                .wrapping_mul(0x5851_F42D_4C95_7F2D)
                .wrapping_add(0x14057B7EF767814F);
            let exponent_set = bits | (0x7ff << 52);
            for bits in [bits, exponent_set, bits >> 13, !0 << (bits % 64)] {
                for (ty, value) in [
                    (I32, Val::I32(bits as i32)),
                    (I64, Val::I64(bits as i64)),
                    (F32, Val::F32(bits as u32)),
                    (F64, Val::F64(bits)),
                ] {
                    let text = text(value);
                    let again = read_args("f", &signature(&[ty], &[]), &[text.as_bytes()]);
                    let again = again.unwrap_or_else(|error| panic!("{bits:#x} {text}: {error}"));
                    assert_eq!(format!("{:?}", again[0]), format!("{value:?}"), "{text}");
                }
            }
        }
    }

    #[test]
    fn results_are_the_reply() {
        use ValueType::{F32, F64, I32, I64};
        let written = |values: &[Val]| {
            let mut builder = ReplyBuilder::new();
            builder.begin(Protocol::Resp3, 1000);
            reply(&mut builder, values).expect("it is short");
            String::from_utf8_lossy(builder.finish().expect("it is whole")).replace("\r\n", " ")
        };
        assert_eq!(written(&[]), "+OK ");
        assert_eq!(written(&[Val::I32(-1)]), ":-1 ");
        assert_eq!(written(&[Val::F32(0.1_f32.to_bits())]), ",0.1 ");
        assert_eq!(
            written(&[Val::I64(7), Val::F64(f64::INFINITY.to_bits())]),
            "*2 :7 ,inf "
        );
        assert_eq!(written(&[Val::F32(f32::NAN.to_bits())]), ",nan ");
        assert_eq!(written(&[Val::F64(0xfff8 << 48)]), "$4 -nan ");
        assert_eq!(written(&[Val::F32(0x7f80_0001)]), "$7 nan:0x1 ");
        let empty = empty_results(&signature(&[], &[I32, I64, F32, F64]));
        assert_eq!(written(&empty), "*4 :0 :0 ,0 ,0 ");
    }
}
