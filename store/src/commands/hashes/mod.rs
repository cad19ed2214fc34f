//! Hashes.

pub(crate) mod expiry;

use crate::commands::arguments::integer;
use crate::commands::keys::scan::{self, ScanOptions, Scanned};
use crate::commands::long_double::{LongDouble, Parsed};
use crate::commands::random;
use crate::commands::spec::{
    Answer, Argv, BLIND, DENYOOM, FAST, Keys, Out, READONLY, WRITE, commands,
};
use crate::commands::strings::counters::add_floats;
use crate::error::StoreError;
use crate::execution::view::{Missing, View};
use crate::value::Hash;
use crate::value::blob::Blob;
use ferrite_protocol::budget::{ELEMENT, LOOKUP, lookups};
use ferrite_protocol::number::parse_integer;

commands! {
    "hset", -4, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => hset,
        "hash", "key field value [field value ...]",
        "Writes fields of a hash.";
    "hmset", -4, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => hmset,
        "hash", "key field value [field value ...]",
        "Writes fields of a hash.";
    "hsetnx", 4, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => hsetnx,
        "hash", "key field value",
        "Writes a field of a hash if it is not there.";
    "hget", 3, READONLY | FAST, Keys::FIRST => hget,
        "hash", "key field",
        "Returns a field of a hash.";
    "hmget", -3, READONLY | FAST, Keys::FIRST => hmget,
        "hash", "key field [field ...]",
        "Returns several fields of a hash.";
    "hgetall", 2, READONLY, Keys::FIRST => hgetall,
        "hash", "key",
        "Returns a hash.";
    "hkeys", 2, READONLY, Keys::FIRST => hkeys,
        "hash", "key",
        "Returns the fields' names of a hash.";
    "hvals", 2, READONLY, Keys::FIRST => hvals,
        "hash", "key",
        "Returns the fields' values of a hash.";
    "hlen", 2, READONLY | FAST, Keys::FIRST => hlen,
        "hash", "key",
        "Counts the fields of a hash.";
    "hexists", 3, READONLY | FAST, Keys::FIRST => hexists,
        "hash", "key field",
        "Tells whether a hash has a field.";
    "hstrlen", 3, READONLY | FAST, Keys::FIRST => hstrlen,
        "hash", "key field",
        "Tells the length of a field's value.";
    "hdel", -3, WRITE | FAST | BLIND, Keys::FIRST => hdel,
        "hash", "key field [field ...]",
        "Removes fields of a hash.";
    "hgetdel", -5, WRITE | FAST, Keys::FIRST => hgetdel,
        "hash", "key FIELDS numfields field [field ...]",
        "Returns fields of a hash and removes them.";
    "hincrby", 4, WRITE | DENYOOM | FAST, Keys::FIRST => hincrby,
        "hash", "key field increment",
        "Adds to an integer in a hash.";
    "hincrbyfloat", 4, WRITE | DENYOOM | FAST, Keys::FIRST => hincrbyfloat,
        "hash", "key field increment",
        "Adds to a number in a hash.";
    "hrandfield", -2, READONLY, Keys::FIRST => hrandfield,
        "hash", "key [count [WITHVALUES]]",
        "Returns any fields of a hash.";
    "hscan", -3, READONLY, Keys::FIRST => hscan,
        "hash", "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        "Goes through a hash, some fields at a time.";
}

/// Sets fields, given as pairs; returns the number of new ones.
pub(crate) fn set_fields<V: View>(
    view: &mut V,
    key: &[u8],
    pairs: &[&[u8]],
) -> Result<i64, StoreError> {
    view.charge(lookups(pairs.len() / 2))?;
    let new = view.update::<Hash, _>(key, Missing::Create, |hash| {
        let insert = |pair: &[&[u8]]| i64::from(hash.insert(pair[0], Blob::new(pair[1])));
        Ok(pairs.chunks_exact(2).map(insert).sum())
    })?;
    Ok(new.unwrap_or(0))
}

/// Removes fields; returns the number of fields that existed.
pub(crate) fn remove_fields<V: View>(
    view: &mut V,
    key: &[u8],
    fields: &[&[u8]],
) -> Result<i64, StoreError> {
    view.charge(lookups(fields.len()))?;
    let removed = view.update::<Hash, _>(key, Missing::Skip, |hash| {
        Ok(fields
            .iter()
            .map(|field| i64::from(hash.remove(field).is_some()))
            .sum())
    })?;
    Ok(removed.unwrap_or(0))
}

fn hset<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    if argv.len() % 2 == 1 {
        return Err(StoreError::Arity("hset".into()));
    }
    out.int(set_fields(view, argv[1], &argv[2..])?);
    Ok(())
}

fn hmset<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    if argv.len() % 2 == 1 {
        return Err(StoreError::Arity("hmset".into()));
    }
    set_fields(view, argv[1], &argv[2..])?;
    out.ok();
    Ok(())
}

fn hsetnx<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let new = view.update::<Hash, _>(argv[1], Missing::Create, |hash| {
        Ok(!hash.contains(argv[2]) && hash.insert(argv[2], Blob::new(argv[3])))
    })?;
    out.int(i64::from(new == Some(true)));
    Ok(())
}

fn hget<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let value = view
        .read::<Hash>(argv[1])?
        .and_then(|hash| hash.get(argv[2]));
    out.bulk_or_null(value.map(Blob::as_slice));
    Ok(())
}

fn hmget<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let hash = view.read::<Hash>(argv[1])?;
    out.array(argv.len() - 2);
    for field in &argv[2..] {
        out.charge(LOOKUP)?;
        let value = hash.and_then(|hash| hash.get(field));
        out.bulk_or_null(value.map(Blob::as_slice));
    }
    Ok(())
}

fn hgetall<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let hash = view.read::<Hash>(argv[1])?;
    out.map(hash.map_or(0, |hash| hash.len()));
    for (field, value) in hash.into_iter().flat_map(|hash| hash.iter()) {
        out.charge(2 * ELEMENT)?;
        out.bulk(field);
        out.bulk(value);
    }
    Ok(())
}

fn hkeys<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let hash = view.read::<Hash>(argv[1])?;
    out.array(hash.map_or(0, |hash| hash.len()));
    for (field, _) in hash.into_iter().flat_map(|hash| hash.iter()) {
        out.charge(ELEMENT)?;
        out.bulk(field);
    }
    Ok(())
}

fn hvals<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let hash = view.read::<Hash>(argv[1])?;
    out.array(hash.map_or(0, |hash| hash.len()));
    for (_, value) in hash.into_iter().flat_map(|hash| hash.iter()) {
        out.charge(ELEMENT)?;
        out.bulk(value);
    }
    Ok(())
}

fn hlen<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.int(view.read::<Hash>(argv[1])?.map_or(0, |hash| hash.len()) as i64);
    Ok(())
}

fn hexists<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let there = view
        .read::<Hash>(argv[1])?
        .is_some_and(|hash| hash.contains(argv[2]));
    out.int(i64::from(there));
    Ok(())
}

fn hstrlen<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let value = view
        .read::<Hash>(argv[1])?
        .and_then(|hash| hash.get(argv[2]));
    out.int(value.map_or(0, |value| value.len()) as i64);
    Ok(())
}

fn hdel<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.int(remove_fields(view, argv[1], &argv[2..])?);
    Ok(())
}

const WRONG_NUMBER: StoreError = StoreError::Refused(
    "ERR numfields should be greater than 0 and match the provided number of fields",
);

/// Reads `FIELDS numfields field [field ...]` at the end of a request.
fn named_fields<'a>(argv: &[&'a [u8]]) -> Result<Vec<&'a [u8]>, StoreError> {
    let [word, count, fields @ ..] = argv else {
        return Err(StoreError::Syntax);
    };
    if !word.eq_ignore_ascii_case(b"fields") {
        return Err(StoreError::Syntax);
    }
    if integer(count)? == fields.len() as i64 && !fields.is_empty() {
        Ok(fields.to_vec())
    } else {
        Err(WRONG_NUMBER)
    }
}

fn hgetdel<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let fields = named_fields(&argv[2..])?;
    view.charge(2 * lookups(fields.len()))?;
    let values = view.update::<Hash, _>(argv[1], Missing::Skip, |hash| {
        Ok(fields
            .iter()
            .map(|field| hash.remove(field))
            .collect::<Vec<_>>())
    })?;
    tell_values(values, fields.len(), out)
}

/// Writes the values of `count` fields; without a hash, as many nulls.
fn tell_values(values: Option<Vec<Option<Blob>>>, count: usize, out: Out<'_>) -> Answer {
    let values = values.unwrap_or_else(|| vec![None; count]);
    out.array(values.len());
    for value in &values {
        out.bulk_or_null(value.as_deref());
    }
    Ok(())
}

fn hincrby<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let delta = integer(argv[3])?;
    let sum = view.update::<Hash, _>(argv[1], Missing::Create, |hash| {
        let old = match hash.get(argv[2]) {
            Some(text) => parse_integer(text)
                .ok_or(StoreError::Refused("ERR hash value is not an integer"))?,
            None => 0,
        };
        let sum = old.checked_add(delta).ok_or(StoreError::Overflow)?;
        hash.insert_keeping_deadline(
            argv[2],
            Blob::new(itoa::Buffer::new().format(sum).as_bytes()),
        );
        Ok(sum)
    })?;
    out.int(sum.unwrap_or(0));
    Ok(())
}

fn hscan<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let cursor = scan::cursor(argv[2])?;
    let Some(hash) = view.read::<Hash>(argv[1])? else {
        scan::tell_nothing(out);
        return Ok(());
    };
    let options = ScanOptions::parse(cursor, &argv[3..], Scanned::Hash)?;
    let mut found = Vec::new();
    let next = scan::in_slices(&options, out, |cursor, count| {
        hash.scan(cursor, count, |field, value| found.push((field, value)))
    })?;
    let mut shown = Vec::new();
    for pair in found {
        if options.matches(pair.0, out)? {
            shown.push(pair);
        }
    }
    out.array(2);
    out.bulk(itoa::Buffer::new().format(next).as_bytes());
    out.array(if options.no_values {
        shown.len()
    } else {
        shown.len() * 2
    });
    for (field, value) in shown {
        out.charge(2 * ELEMENT)?;
        out.bulk(field);
        if !options.no_values {
            out.bulk(value);
        }
    }
    Ok(())
}

fn hincrbyfloat<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(LongDouble::ADD_UNITS)?;
    let delta = LongDouble::parse(argv[3]).ok_or(StoreError::NotAFloat)?;
    if delta == Parsed::Infinite {
        return Err(StoreError::Refused("ERR value is NaN or Infinity"));
    }
    let sum = view.update::<Hash, _>(argv[1], Missing::Create, |hash| {
        let old = hash.get(argv[2]).cloned();
        let complaint = StoreError::Refused("ERR hash value is not a float");
        let sum = add_floats(old.as_deref(), &delta, complaint)?;
        out.count_written((argv[1].len() + argv[2].len() + sum.len()) as u64)?;
        hash.insert_keeping_deadline(argv[2], Blob::new(sum.as_bytes()));
        Ok(sum)
    })?;
    out.bulk(sum.unwrap_or_default().as_bytes());
    Ok(())
}

fn hrandfield<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (count, with_values) = match argv[2..] {
        [] => {
            let hash = view.read::<Hash>(argv[1])?;
            let chosen = hash.and_then(|hash| hash.at(fastrand::usize(..hash.len())));
            out.bulk_or_null(chosen.map(|(field, _)| field.as_slice()));
            return Ok(());
        }
        _ => random::count_and_word(&argv[2..], b"withvalues")?,
    };
    let Some(hash) = view.read::<Hash>(argv[1])? else {
        out.array(0);
        return Ok(());
    };
    let chosen = random::choose(hash.len(), count, out)?;
    let nested = random::begin(chosen.len(), with_values, out);
    for (field, value) in chosen.filter_map(|at| hash.at(at)) {
        out.charge(LOOKUP)?;
        if nested {
            out.array(2);
        }
        out.bulk(field);
        if with_values {
            out.bulk(value);
        }
    }
    Ok(())
}
