//! Commands on hashes.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use super::{Outcome, bulk, count, flag, float, number_text, whole};
use crate::host::in_memory::keyspace::{Hash, Keyspace};
use crate::value::Value;

pub(super) const NAMES: &[&str] = &[
    "HGET",
    "HSET",
    "HSETNX",
    "HDEL",
    "HGETALL",
    "HEXISTS",
    "HLEN",
    "HINCRBY",
    "HINCRBYFLOAT",
    "HMGET",
    "HKEYS",
    "HVALS",
    "HSTRLEN",
];

pub(super) fn run(keyspace: &mut Keyspace, name: &str, arguments: &[&[u8]]) -> Option<Outcome> {
    let view = |key: &[u8], read: &dyn Fn(&Hash) -> Value| {
        let empty = Hash::new();
        keyspace
            .hash(key)
            .map(|hash| read(hash.unwrap_or(&empty)))
            .map_err(Into::into)
    };
    Some(match (name, arguments) {
        ("HGET", [key, field]) => view(key, &|hash| bulk(hash.get(*field).map(|value| &value[..]))),
        ("HEXISTS", [key, field]) => view(key, &|hash| flag(hash.contains_key(*field))),
        ("HSTRLEN", [key, field]) => view(key, &|hash| count(hash.get(*field).map_or(0, Vec::len))),
        ("HLEN", [key]) => view(key, &|hash| count(hash.len())),
        ("HGETALL", [key]) => view(key, &|hash| {
            Value::Map(
                hash.iter()
                    .map(|(field, value)| (Value::from(&field[..]), Value::from(&value[..])))
                    .collect(),
            )
        }),
        ("HKEYS", [key]) => view(key, &|hash| {
            Value::Array(hash.keys().map(|field| Value::from(&field[..])).collect())
        }),
        ("HVALS", [key]) => view(key, &|hash| {
            Value::Array(hash.values().map(|value| Value::from(&value[..])).collect())
        }),
        ("HMGET", [key, fields @ ..]) if !fields.is_empty() => view(key, &|hash| {
            Value::Array(
                fields
                    .iter()
                    .map(|field| bulk(hash.get(*field).map(|value| &value[..])))
                    .collect(),
            )
        }),
        ("HSET", [key, pairs @ ..]) if !pairs.is_empty() && pairs.len() % 2 == 0 => keyspace
            .edit_hash(key, |hash| {
                let new = pairs.chunks(2).filter(|pair| {
                    hash.insert(pair[0].to_owned(), pair[1].to_owned())
                        .is_none()
                });
                count(new.count())
            })
            .map_err(Into::into),
        ("HSETNX", [key, field, value]) => keyspace
            .edit_hash(key, |hash| {
                let absent = !hash.contains_key(*field);
                if absent {
                    hash.insert(field.to_vec(), value.to_vec());
                }
                flag(absent)
            })
            .map_err(Into::into),
        ("HDEL", [key, fields @ ..]) if !fields.is_empty() => keyspace
            .edit_hash(key, |hash| {
                count(
                    fields
                        .iter()
                        .filter(|field| hash.remove(**field).is_some())
                        .count(),
                )
            })
            .map_err(Into::into),
        ("HINCRBY", [key, field, delta]) => increment(keyspace, key, field, delta),
        ("HINCRBYFLOAT", [key, field, delta]) => increment_float(keyspace, key, field, delta),
        _ => return None,
    })
}

fn field(keyspace: &Keyspace, key: &[u8], field: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    Ok(keyspace
        .hash(key)?
        .and_then(|hash| hash.get(field))
        .cloned())
}

fn increment(keyspace: &mut Keyspace, key: &[u8], name: &[u8], delta: &[u8]) -> Outcome {
    let number = match field(keyspace, key, name)? {
        None => 0,
        Some(bytes) => whole(&bytes).map_err(|_| "ERR hash value is not an integer")?,
    };
    let sum = number
        .checked_add(whole(delta)?)
        .ok_or("ERR increment or decrement would overflow")?;
    keyspace.edit_hash(key, |hash| {
        hash.insert(name.to_owned(), alloc::format!("{sum}").into())
    })?;
    Ok(Value::Int(sum))
}

fn increment_float(keyspace: &mut Keyspace, key: &[u8], name: &[u8], delta: &[u8]) -> Outcome {
    let number = match field(keyspace, key, name)? {
        None => 0.0,
        Some(bytes) => float(&bytes).map_err(|_| "ERR hash value is not a float")?,
    };
    let text = number_text(number + float(delta)?);
    keyspace.edit_hash(key, |hash| {
        hash.insert(name.to_owned(), text.clone().into())
    })?;
    Ok(Value::Bulk(text.into()))
}
