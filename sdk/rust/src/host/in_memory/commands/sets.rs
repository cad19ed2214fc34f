//! Commands on sets.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Outcome, count, flag};
use crate::host::in_memory::keyspace::{Keyspace, Set};
use crate::value::Value;

pub(super) const NAMES: &[&str] = &[
    "SADD",
    "SREM",
    "SISMEMBER",
    "SMISMEMBER",
    "SMEMBERS",
    "SCARD",
    "SMOVE",
    "SINTER",
    "SUNION",
    "SDIFF",
    "SINTERSTORE",
    "SUNIONSTORE",
    "SDIFFSTORE",
];

pub(super) fn run(keyspace: &mut Keyspace, name: &str, arguments: &[&[u8]]) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("SADD", [key, members @ ..]) if !members.is_empty() => keyspace
            .edit_set(key, |set| {
                count(
                    members
                        .iter()
                        .filter(|member| set.insert(member.to_vec()))
                        .count(),
                )
            })
            .map_err(Into::into),
        ("SREM", [key, members @ ..]) if !members.is_empty() => keyspace
            .edit_set(key, |set| {
                count(members.iter().filter(|member| set.remove(**member)).count())
            })
            .map_err(Into::into),
        ("SISMEMBER", [key, member]) => keyspace
            .set(key)
            .map(|set| flag(set.is_some_and(|set| set.contains(*member))))
            .map_err(Into::into),
        ("SMEMBERS", [key]) => keyspace
            .set(key)
            .map(|set| {
                let members = set.into_iter().flatten();
                Value::Array(members.map(|member| Value::from(&member[..])).collect())
            })
            .map_err(Into::into),
        ("SCARD", [key]) => keyspace
            .set(key)
            .map(|set| count(set.map_or(0, BTreeSet::len)))
            .map_err(Into::into),
        ("SMISMEMBER", [key, members @ ..]) if !members.is_empty() => keyspace
            .set(key)
            .map(|set| {
                let is_in = |member: &&[u8]| flag(set.is_some_and(|set| set.contains(*member)));
                Value::Array(members.iter().map(is_in).collect())
            })
            .map_err(Into::into),
        ("SINTER" | "SUNION" | "SDIFF", keys @ [_, ..]) => combined(keyspace, name, keys)
            .map(|set| Value::Array(set.iter().map(|member| Value::from(&member[..])).collect())),
        ("SINTERSTORE" | "SUNIONSTORE" | "SDIFFSTORE", [to, keys @ ..]) if !keys.is_empty() => {
            combined(keyspace, name, keys).and_then(|set| {
                let len = set.len();
                keyspace.remove(to);
                keyspace.edit_set(to, |stored| *stored = set)?;
                Ok(count(len))
            })
        }
        ("SMOVE", [from, to, member]) => move_one(keyspace, from, to, member),
        _ => return None,
    })
}

/// Combines sets as the command's name says.
fn combined(keyspace: &Keyspace, name: &str, keys: &[&[u8]]) -> Result<Set, String> {
    let mut sets = Vec::with_capacity(keys.len());
    for key in keys {
        sets.push(keyspace.set(key)?.cloned().unwrap_or_default());
    }
    let mut sets = sets.into_iter();
    let mut result = sets.next().unwrap_or_default();
    for other in sets {
        match name {
            "SINTER" | "SINTERSTORE" => result.retain(|member| other.contains(member)),
            "SDIFF" | "SDIFFSTORE" => result.retain(|member| !other.contains(member)),
            _ => result.extend(other),
        }
    }
    Ok(result)
}

fn move_one(keyspace: &mut Keyspace, from: &[u8], to: &[u8], member: &[u8]) -> Outcome {
    keyspace.set(to)?;
    let found = keyspace.edit_set(from, |set: &mut Set| set.remove(member))?;
    if found {
        keyspace.edit_set(to, |set| set.insert(member.into()))?;
    }
    Ok(flag(found))
}
