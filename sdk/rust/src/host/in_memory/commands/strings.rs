//! Commands on strings.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Outcome, bulk, count, flag, float, number_text, ok, range, size, syntax, whole, word};
use crate::host::in_memory::keyspace::{Expiry, Keyspace};
use crate::value::Value;

pub(super) const NAMES: &[&str] = &[
    "GET",
    "SET",
    "SETNX",
    "SETEX",
    "PSETEX",
    "GETSET",
    "GETDEL",
    "MGET",
    "MSET",
    "INCR",
    "INCRBY",
    "DECR",
    "DECRBY",
    "INCRBYFLOAT",
    "APPEND",
    "STRLEN",
    "GETRANGE",
    "SETBIT",
    "GETBIT",
    "BITCOUNT",
];

pub(super) fn run(keyspace: &mut Keyspace, name: &str, arguments: &[&[u8]]) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("GET", [key]) => keyspace
            .string(key)
            .map(|found| bulk(found.map(|bytes| &bytes[..])))
            .map_err(Into::into),
        ("SET", [key, value, options @ ..]) => set(keyspace, "set", key, value, options),
        ("SETNX", [key, value]) => {
            set(keyspace, "setnx", key, value, &[b"NX"]).map(|reply| flag(reply != Value::Null))
        }
        ("SETEX", [key, secs, value]) => set(keyspace, "setex", key, value, &[b"EX", secs]),
        ("PSETEX", [key, millis, value]) => set(keyspace, "psetex", key, value, &[b"PX", millis]),
        ("GETSET", [key, value]) => set(keyspace, "getset", key, value, &[b"GET"]),
        ("GETDEL", [key]) => match keyspace.string(key) {
            Ok(found) => {
                let reply = bulk(found.map(|bytes| &bytes[..]));
                keyspace.remove(key);
                Ok(reply)
            }
            Err(error) => Err(error.into()),
        },
        ("MGET", [_, ..]) => Ok(Value::Array(
            arguments
                .iter()
                .map(|key| bulk(keyspace.string(key).ok().flatten().map(|bytes| &bytes[..])))
                .collect(),
        )),
        ("MSET", [_, _, ..]) if arguments.len() % 2 == 0 => {
            for pair in arguments.chunks(2) {
                keyspace.set_string(pair[0], pair[1].to_owned(), Expiry::None);
            }
            Ok(ok())
        }
        ("INCR", [key]) => increment(keyspace, key, Ok(1)),
        ("DECR", [key]) => increment(keyspace, key, Ok(-1)),
        ("INCRBY", [key, delta]) => increment(keyspace, key, whole(delta)),
        ("DECRBY", [key, delta]) => increment(
            keyspace,
            key,
            whole(delta).and_then(|delta| {
                delta
                    .checked_neg()
                    .ok_or_else(|| "ERR decrement would overflow".to_owned())
            }),
        ),
        ("INCRBYFLOAT", [key, delta]) => increment_float(keyspace, key, delta),
        ("APPEND", [key, more]) => match keyspace.string(key) {
            Ok(found) => {
                let mut bytes = found.cloned().unwrap_or_default();
                bytes.extend_from_slice(more);
                let len = bytes.len();
                keyspace.set_string(key, bytes, Expiry::Keep);
                Ok(count(len))
            }
            Err(error) => Err(error.into()),
        },
        ("STRLEN", [key]) => keyspace
            .string(key)
            .map(|found| count(found.map_or(0, Vec::len)))
            .map_err(Into::into),
        ("GETRANGE", [key, start, stop]) => get_range(keyspace, key, start, stop),
        ("SETBIT", [key, offset, bit]) => set_bit(keyspace, key, offset, bit),
        ("GETBIT", [key, offset]) => get_bit(keyspace, key, offset),
        ("BITCOUNT", [key]) => keyspace
            .string(key)
            .map(|found| {
                let ones =
                    found.map_or(0, |bytes| bytes.iter().map(|byte| byte.count_ones()).sum());
                Value::Int(ones.into())
            })
            .map_err(Into::into),
        _ => return None,
    })
}

/// Writes a string; errors name `command`.
fn set(
    keyspace: &mut Keyspace,
    command: &str,
    key: &[u8],
    value: &[u8],
    options: &[&[u8]],
) -> Outcome {
    let (mut absent, mut present, mut get) = (false, false, false);
    let mut expiry = Expiry::None;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let unit = match word(option).as_str() {
            "NX" => {
                absent = true;
                continue;
            }
            "XX" => {
                present = true;
                continue;
            }
            "GET" => {
                get = true;
                continue;
            }
            "KEEPTTL" => {
                expiry = Expiry::Keep;
                continue;
            }
            "EX" => 1000,
            "PX" => 1,
            _ => return Err(syntax()),
        };
        let number = whole(options.next().ok_or_else(syntax)?)?;
        if number <= 0 {
            return Err(alloc::format!(
                "ERR invalid expire time in '{command}' command"
            ));
        }
        expiry = Expiry::AfterMillis(number.saturating_mul(unit));
    }
    if absent && present {
        return Err(syntax());
    }
    let old = if get {
        bulk(keyspace.string(key)?.map(|bytes| &bytes[..]))
    } else {
        ok()
    };
    let exists = keyspace.exists(key);
    if absent && exists || present && !exists {
        return Ok(if get { old } else { Value::Null });
    }
    keyspace.set_string(key, value.to_owned(), expiry);
    Ok(old)
}

fn increment(keyspace: &mut Keyspace, key: &[u8], delta: Result<i64, String>) -> Outcome {
    Ok(Value::Int(keyspace.increment(key, delta?)?))
}

fn increment_float(keyspace: &mut Keyspace, key: &[u8], delta: &[u8]) -> Outcome {
    let number = keyspace
        .string(key)?
        .map_or(Ok(0.0), |bytes| float(bytes))?;
    let sum = number + float(delta)?;
    if !sum.is_finite() {
        return Err("ERR increment would produce NaN or Infinity".into());
    }
    let text = number_text(sum);
    keyspace.set_string(key, text.clone().into(), Expiry::Keep);
    Ok(Value::Bulk(text.into()))
}

fn get_range(keyspace: &Keyspace, key: &[u8], start: &[u8], stop: &[u8]) -> Outcome {
    let (start, stop) = (whole(start)?, whole(stop)?);
    let bytes = keyspace.string(key)?.map_or(&[][..], |bytes| bytes);
    Ok(Value::from(&bytes[range(start, stop, bytes.len())]))
}

fn set_bit(keyspace: &mut Keyspace, key: &[u8], offset: &[u8], bit: &[u8]) -> Outcome {
    let offset = size(offset)?;
    let mask = 0x80 >> (offset % 8);
    let mut bytes = keyspace.string(key)?.cloned().unwrap_or_default();
    if bytes.len() <= offset / 8 {
        bytes.resize(offset / 8 + 1, 0);
    }
    let old = bytes[offset / 8] & mask != 0;
    match bit {
        b"1" => bytes[offset / 8] |= mask,
        b"0" => bytes[offset / 8] &= !mask,
        _ => return Err("ERR bit is not an integer or out of range".into()),
    }
    keyspace.set_string(key, bytes, Expiry::Keep);
    Ok(flag(old))
}

fn get_bit(keyspace: &Keyspace, key: &[u8], offset: &[u8]) -> Outcome {
    let offset = size(offset)?;
    let byte = keyspace
        .string(key)?
        .and_then(|bytes| bytes.get(offset / 8))
        .copied()
        .unwrap_or_default();
    Ok(flag(byte & (0x80 >> (offset % 8)) != 0))
}
