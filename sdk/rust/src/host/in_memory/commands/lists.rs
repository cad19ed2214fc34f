//! Commands on lists.

use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::{Outcome, bulk, count, ok, range, size, syntax, whole, word};
use crate::host::in_memory::keyspace::{Keyspace, List};
use crate::value::Value;

pub(super) const NAMES: &[&str] = &[
    "LPUSH",
    "RPUSH",
    "LPOP",
    "RPOP",
    "LLEN",
    "LRANGE",
    "LINDEX",
    "LREM",
    "LTRIM",
    "LMOVE",
    "RPOPLPUSH",
    "LPUSHX",
    "RPUSHX",
    "LPOS",
    "LSET",
    "LINSERT",
];

pub(super) fn run(keyspace: &mut Keyspace, name: &str, arguments: &[&[u8]]) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("LPUSH" | "RPUSH", [key, values @ ..]) if !values.is_empty() => keyspace
            .edit_list(key, |list| {
                for value in values {
                    push(list, name == "LPUSH", value.to_vec());
                }
                count(list.len())
            })
            .map_err(Into::into),
        ("LPUSHX" | "RPUSHX", [key, values @ ..]) if !values.is_empty() => keyspace
            .edit_list(key, |list| {
                // A list that is not there is made empty for this, and goes again.
                if !list.is_empty() {
                    for value in values.iter() {
                        push(list, name == "LPUSHX", value.to_vec());
                    }
                }
                count(list.len())
            })
            .map_err(Into::into),
        ("LPOS", [key, value]) => keyspace
            .list(key)
            .map(|list| {
                let at = list.and_then(|list| list.iter().position(|item| item == value));
                at.map_or(Value::Null, count)
            })
            .map_err(Into::into),
        ("LSET", [key, index, value]) => set_item(keyspace, key, index, value),
        ("LINSERT", [key, end, pivot, value]) => insert(keyspace, key, end, pivot, value),
        ("LPOP" | "RPOP", [key]) => keyspace
            .edit_list(key, |list| {
                pop(list, name == "LPOP").map_or(Value::Null, Value::Bulk)
            })
            .map_err(Into::into),
        ("LPOP" | "RPOP", [key, wanted]) => pop_many(keyspace, key, name == "LPOP", wanted),
        ("LLEN", [key]) => keyspace
            .list(key)
            .map(|list| count(list.map_or(0, VecDeque::len)))
            .map_err(Into::into),
        ("LRANGE", [key, start, stop]) => list_range(keyspace, key, start, stop),
        ("LINDEX", [key, index]) => list_index(keyspace, key, index),
        ("LREM", [key, wanted, value]) => remove(keyspace, key, wanted, value),
        ("LTRIM", [key, start, stop]) => trim(keyspace, key, start, stop),
        ("LMOVE", [from, to, from_end, to_end]) => {
            let ends = [word(from_end), word(to_end)];
            match [ends[0].as_str(), ends[1].as_str()] {
                [from_end @ ("LEFT" | "RIGHT"), to_end @ ("LEFT" | "RIGHT")] => {
                    move_one(keyspace, from, to, from_end == "LEFT", to_end == "LEFT")
                }
                _ => Err(syntax()),
            }
        }
        ("RPOPLPUSH", [from, to]) => move_one(keyspace, from, to, false, true),
        _ => return None,
    })
}

fn push(list: &mut List, left: bool, value: Vec<u8>) {
    if left {
        list.push_front(value);
    } else {
        list.push_back(value);
    }
}

fn pop(list: &mut List, left: bool) -> Option<Vec<u8>> {
    if left {
        list.pop_front()
    } else {
        list.pop_back()
    }
}

fn pop_many(keyspace: &mut Keyspace, key: &[u8], left: bool, wanted: &[u8]) -> Outcome {
    let wanted = size(wanted)?;
    if keyspace.list(key)?.is_none() {
        return Ok(Value::Null);
    }
    Ok(keyspace.edit_list(key, |list| {
        let wanted = wanted.min(list.len());
        let popped = (0..wanted).filter_map(|_| pop(list, left));
        Value::Array(popped.map(Value::Bulk).collect())
    })?)
}

fn list_range(keyspace: &Keyspace, key: &[u8], start: &[u8], stop: &[u8]) -> Outcome {
    let (start, stop) = (whole(start)?, whole(stop)?);
    let empty = List::new();
    let list = keyspace.list(key)?.unwrap_or(&empty);
    Ok(Value::Array(
        list.range(range(start, stop, list.len()))
            .map(|value| Value::from(&value[..]))
            .collect(),
    ))
}

fn list_index(keyspace: &Keyspace, key: &[u8], index: &[u8]) -> Outcome {
    let index = whole(index)?;
    let Some(list) = keyspace.list(key)? else {
        return Ok(Value::Null);
    };
    let found = place(index, list.len()).and_then(|index| list.get(index));
    Ok(bulk(found.map(|value| &value[..])))
}

/// Returns the place of an index, which counts from the end if it is negative.
fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index + len as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

fn set_item(keyspace: &mut Keyspace, key: &[u8], index: &[u8], value: &[u8]) -> Outcome {
    if keyspace.list(key)?.is_none() {
        return Err("ERR no such key".into());
    }
    let index = whole(index)?;
    keyspace.edit_list(key, |list| {
        let index = place(index, list.len()).ok_or("ERR index out of range")?;
        list[index] = value.to_owned();
        Ok(ok())
    })?
}

fn insert(keyspace: &mut Keyspace, key: &[u8], end: &[u8], pivot: &[u8], value: &[u8]) -> Outcome {
    let after = match word(end).as_str() {
        "BEFORE" => 0,
        "AFTER" => 1,
        _ => return Err(syntax()),
    };
    if keyspace.list(key)?.is_none() {
        return Ok(count(0));
    }
    Ok(keyspace.edit_list(key, |list| {
        match list.iter().position(|item| item == pivot) {
            Some(at) => {
                list.insert(at + after, value.to_owned());
                count(list.len())
            }
            None => Value::Int(-1),
        }
    })?)
}

fn remove(keyspace: &mut Keyspace, key: &[u8], wanted: &[u8], value: &[u8]) -> Outcome {
    let wanted = whole(wanted)?;
    let most = match wanted.unsigned_abs() as usize {
        0 => usize::MAX,
        most => most,
    };
    Ok(keyspace.edit_list(key, |list| {
        let mut removed = 0;
        let mut keep = |item: &Vec<u8>| {
            let goes = removed < most && item == value;
            removed += usize::from(goes);
            !goes
        };
        if wanted < 0 {
            let mut kept: List = core::mem::take(list)
                .into_iter()
                .rev()
                .filter(&mut keep)
                .collect();
            kept.make_contiguous().reverse();
            *list = kept;
        } else {
            list.retain(keep);
        }
        count(removed)
    })?)
}

fn trim(keyspace: &mut Keyspace, key: &[u8], start: &[u8], stop: &[u8]) -> Outcome {
    let (start, stop) = (whole(start)?, whole(stop)?);
    keyspace.edit_list(key, |list| {
        let range = range(start, stop, list.len());
        list.truncate(range.end);
        list.drain(..range.start);
    })?;
    Ok(ok())
}

fn move_one(
    keyspace: &mut Keyspace,
    from: &[u8],
    to: &[u8],
    from_left: bool,
    to_left: bool,
) -> Outcome {
    keyspace.list(to)?;
    let Some(value) = keyspace.edit_list(from, |list| pop(list, from_left))? else {
        return Ok(Value::Null);
    };
    keyspace.edit_list(to, |list| push(list, to_left, value.clone()))?;
    Ok(Value::Bulk(value.to_owned()))
}
