//! Commands on keys of any type.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{Outcome, count, flag, ok, syntax, whole, word};
use crate::host::in_memory::glob;
use crate::host::in_memory::keyspace::Keyspace;
use crate::value::Value;

pub(super) const NAMES: &[&str] = &[
    "DEL", "UNLINK", "EXISTS", "EXPIRE", "PEXPIRE", "TTL", "PTTL", "PERSIST", "TYPE", "KEYS",
    "SCAN", "RENAME", "DBSIZE", "FLUSHDB", "TIME",
];

pub(super) fn run(keyspace: &mut Keyspace, name: &str, arguments: &[&[u8]]) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("DEL" | "UNLINK", [_, ..]) => Ok(count(
            arguments.iter().filter(|key| keyspace.remove(key)).count(),
        )),
        ("EXISTS", [_, ..]) => Ok(count(
            arguments.iter().filter(|key| keyspace.exists(key)).count(),
        )),
        ("EXPIRE", [key, secs]) => expire(keyspace, key, secs, 1000),
        ("PEXPIRE", [key, millis]) => expire(keyspace, key, millis, 1),
        ("TTL", [key]) => Ok(Value::Int(match keyspace.ttl_millis(key) {
            // Rounded to the nearest second, as Redis does.
            millis @ 0.. => (millis + 500) / 1000,
            none => none,
        })),
        ("PTTL", [key]) => Ok(Value::Int(keyspace.ttl_millis(key))),
        ("PERSIST", [key]) => Ok(flag(keyspace.persist(key))),
        ("TYPE", [key]) => Ok(Value::Simple(keyspace.type_name(key).into())),
        ("KEYS", [pattern]) => Ok(Value::Array(matching(keyspace, pattern))),
        ("SCAN", [cursor, options @ ..]) => scan(keyspace, cursor, options),
        ("RENAME", [from, to]) => {
            if keyspace.rename(from, to) {
                Ok(ok())
            } else {
                Err("ERR no such key".into())
            }
        }
        ("DBSIZE", []) => Ok(count(keyspace.keys().count())),
        ("FLUSHDB", []) => {
            let keys: Vec<_> = keyspace.keys().cloned().collect();
            for key in keys {
                keyspace.remove(&key);
            }
            Ok(ok())
        }
        ("TIME", []) => {
            let now = keyspace.now_millis();
            let text = |number: i64| Value::Bulk(alloc::format!("{number}").into());
            Ok(Value::Array(vec![
                text(now / 1000),
                text(now % 1000 * 1000),
            ]))
        }
        _ => return None,
    })
}

fn expire(keyspace: &mut Keyspace, key: &[u8], number: &[u8], unit: i64) -> Outcome {
    let millis = whole(number)?.saturating_mul(unit);
    Ok(flag(keyspace.expire_after(key, millis)))
}

fn matching(keyspace: &Keyspace, pattern: &[u8]) -> Vec<Value> {
    keyspace
        .keys()
        .filter(|key| glob::matches(pattern, key))
        .map(|key| Value::from(&key[..]))
        .collect()
}

/// Pages through the keys in order; the cursor is the number of keys already looked at.
fn scan(keyspace: &Keyspace, cursor: &[u8], options: &[&[u8]]) -> Outcome {
    let cursor = whole(cursor).ok().and_then(|at| usize::try_from(at).ok());
    let cursor = cursor.ok_or_else(|| String::from("ERR invalid cursor"))?;
    let (mut pattern, mut page) = (&b"*"[..], 10);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let value = options.next().ok_or_else(syntax)?;
        match word(option).as_str() {
            "MATCH" => pattern = value,
            "COUNT" => page = usize::try_from(whole(value)?).unwrap_or(1).max(1),
            _ => return Err(syntax()),
        }
    }
    let keys: Vec<_> = keyspace.keys().skip(cursor).take(page).collect();
    let next = cursor + keys.len();
    let next = if next >= keyspace.keys().count() {
        0
    } else {
        next
    };
    let found = keys
        .into_iter()
        .filter(|key| glob::matches(pattern, key))
        .map(|key| Value::from(&key[..]))
        .collect();
    Ok(Value::Array(vec![
        Value::Bulk(alloc::format!("{next}").into()),
        Value::Array(found),
    ]))
}
