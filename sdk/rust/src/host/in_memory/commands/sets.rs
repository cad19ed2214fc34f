//! Commands on sets.

use alloc::collections::BTreeSet;

use super::{Outcome, count, flag};
use crate::host::in_memory::keyspace::{Keyspace, Set};
use crate::value::Value;

pub(super) const NAMES: &[&str] = &["SADD", "SREM", "SISMEMBER", "SMEMBERS", "SCARD", "SMOVE"];

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
        ("SMOVE", [from, to, member]) => move_one(keyspace, from, to, member),
        _ => return None,
    })
}

fn move_one(keyspace: &mut Keyspace, from: &[u8], to: &[u8], member: &[u8]) -> Outcome {
    keyspace.set(to)?;
    let found = keyspace.edit_set(from, |set: &mut Set| set.remove(member))?;
    if found {
        keyspace.edit_set(to, |set| set.insert(member.into()))?;
    }
    Ok(flag(found))
}
