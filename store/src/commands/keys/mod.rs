//! Keys of any type.

pub(crate) mod dump;
pub(crate) mod expiry;
pub(crate) mod object;
pub(crate) mod scan;
pub(crate) mod sort;

use super::spec::{
    Answer, Argv, BLIND, FAST, Keys, OPTION_DB, OTHER_DATABASE, Out, READONLY, WRITE, commands,
};
use crate::commands::arguments::integer;
use crate::commands::keys::scan::{ScanOptions, Scanned};
use crate::error::StoreError;
use crate::execution::listing::Listing;
use crate::execution::view::View;
use crate::keyspace::shard::DATABASES;
use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use ferrite_protocol::budget::ELEMENT;
use ferrite_protocol::number::parse_integer;

commands! {
    "del", -2, WRITE | BLIND, Keys::EVERY => del,
        "generic", "key [key ...]",
        "Removes keys.";
    "unlink", -2, WRITE | FAST | BLIND, Keys::EVERY => del,
        "generic", "key [key ...]",
        "Removes keys; their memory is given back later.";
    "exists", -2, READONLY | FAST, Keys::EVERY => exists,
        "generic", "key [key ...]",
        "Counts how many of the keys there are.";
    "touch", -2, READONLY | FAST, Keys::EVERY => exists,
        "generic", "key [key ...]",
        "Counts how many of the keys there are.";
    "type", 2, READONLY | FAST, Keys::FIRST => type_,
        "generic", "key",
        "Tells what kind of value a key holds.";
    "keys", 2, READONLY, Keys::Listed => keys,
        "generic", "pattern",
        "Returns all keys that match a pattern.";
    "scan", -2, READONLY, Keys::Listed => scan_keys,
        "generic", "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        "Goes through the keys, some at a time.";
    "dbsize", 1, READONLY | FAST, Keys::All => dbsize,
        "generic", "",
        "Counts the keys.";
    "randomkey", 1, READONLY, Keys::All => randomkey,
        "generic", "",
        "Returns any key.";
    "rename", 3, WRITE, Keys::TWO => rename,
        "generic", "key newkey",
        "Gives a value another key, in the place of what was there.";
    "renamenx", 3, WRITE | FAST, Keys::TWO => renamenx,
        "generic", "key newkey",
        "Gives a value another key if there is none of that name.";
    "copy", -3, WRITE | OPTION_DB, Keys::TWO => copy,
        "generic", "source destination [DB destination-db] [REPLACE]",
        "Copies a value to another key.";
    "move", 3, WRITE | FAST | OTHER_DATABASE, Keys::FIRST => move_,
        "generic", "key db",
        "Moves a key to another database.";
    "swapdb", 3, WRITE | FAST | BLIND | OTHER_DATABASE, Keys::All => swapdb,
        "generic", "index1 index2",
        "Exchanges two databases.";
    "flushdb", -1, WRITE | BLIND, Keys::All => flushdb,
        "generic", "[ASYNC|SYNC]",
        "Removes every key of the database.";
    "flushall", -1, WRITE | BLIND, Keys::All => flushall,
        "generic", "[ASYNC|SYNC]",
        "Removes every key of every database.";
}

const SAME_OBJECT: StoreError =
    StoreError::Refused("ERR source and destination objects are the same");

fn del<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let mut removed = 0;
    for key in &argv[1..] {
        removed += i64::from(view.remove(key)?);
    }
    out.int(removed);
    Ok(())
}

fn exists<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let mut there = 0;
    for key in &argv[1..] {
        there += i64::from(view.exists(key)?);
    }
    out.int(there);
    Ok(())
}

fn type_<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.simple(
        view.get(argv[1])?
            .map_or("none", |live| live.value.type_name()),
    );
    Ok(())
}

fn keys<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let pattern = scan::pattern(argv[1])?;
    let listing = || Listing::Matching(argv[1].into());
    if let Some((_, found)) = scan::listed(view, &listing, |_| true, pattern.as_ref())? {
        return tell_all(&found, out);
    }
    let mut found = Vec::new();
    let mut next = 0;
    loop {
        next = scan::slice(
            view,
            next,
            scan::KEYS_PER_SLICE,
            |_| true,
            &mut found,
            pattern.as_ref(),
        )?;
        if next == 0 {
            break;
        }
    }
    tell_all(&found, out)
}

/// Writes an array of byte strings.
pub(crate) fn tell_all<'e>(
    found: impl IntoIterator<Item = &'e Blob, IntoIter: ExactSizeIterator>,
    out: Out<'_>,
) -> Answer {
    let found = found.into_iter();
    out.array(found.len());
    for element in found {
        out.charge(ELEMENT)?;
        out.bulk(element);
    }
    Ok(())
}

fn scan_keys<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let options = ScanOptions::parse(scan::cursor(argv[1])?, &argv[2..], Scanned::Keys)?;
    let is_of_type = |value: &Value| {
        options
            .type_name
            .is_none_or(|name| name.eq_ignore_ascii_case(value.type_name().as_bytes()))
    };
    let pattern = options.pattern.as_ref();
    let listing = || Listing::Page {
        cursor: options.cursor,
        count: options.count,
        pattern: options.pattern_text.map(Box::from),
        type_name: options.type_name.map(Box::from),
    };
    let (next, found) = match scan::listed(view, &listing, is_of_type, pattern)? {
        Some(listed) => listed,
        None => {
            let mut found = Vec::new();
            let (mut next, mut left) = (options.cursor, options.count);
            loop {
                let count = left.min(scan::KEYS_PER_SLICE);
                next = scan::slice(view, next, count, is_of_type, &mut found, pattern)?;
                left -= count;
                if next == 0 || left == 0 {
                    break (next, found);
                }
            }
        }
    };
    out.array(2);
    out.bulk(itoa::Buffer::new().format(next).as_bytes());
    tell_all(&found, out)
}

fn dbsize<V: View>(view: &mut V, _: Argv<'_>, out: Out<'_>) -> Answer {
    out.int(view.len()? as i64);
    Ok(())
}

fn randomkey<V: View>(view: &mut V, _: Argv<'_>, out: Out<'_>) -> Answer {
    let key = view.random_key()?;
    out.bulk_or_null(key.as_deref());
    Ok(())
}

/// Removes a key and returns its value and deadline.
fn take<V: View>(view: &mut V, key: &[u8]) -> Result<(Value, Deadline), StoreError> {
    let live = view.get(key)?.ok_or(StoreError::NoSuchKey)?;
    // The elements get a new id on disk; those of the old id are deleted with the old key.
    let taken = (live.value.separate(), live.deadline);
    view.remove(key)?;
    Ok(taken)
}

fn rename<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    if argv[1] == argv[2] {
        view.get(argv[1])?.ok_or(StoreError::NoSuchKey)?;
    } else {
        let (value, deadline) = take(view, argv[1])?;
        view.put(argv[2], value, deadline)?;
    }
    out.ok();
    Ok(())
}

fn renamenx<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    view.get(argv[1])?.ok_or(StoreError::NoSuchKey)?;
    let free = argv[1] != argv[2] && !view.exists(argv[2])?;
    if free {
        let (value, deadline) = take(view, argv[1])?;
        view.put(argv[2], value, deadline)?;
    }
    out.int(i64::from(free));
    Ok(())
}

/// Reads the number of a database.
pub(crate) fn database_argument(text: &[u8]) -> Result<u32, StoreError> {
    let number = integer(text)?;
    if i32::try_from(number).is_err() {
        return Err(StoreError::Refused(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    u32::try_from(number)
        .ok()
        .filter(|database| (*database as usize) < DATABASES)
        .ok_or(StoreError::Refused("ERR DB index is out of range"))
}

fn copy<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let home = view.database();
    let mut target = home;
    let mut replace = false;
    let mut options = argv[3..].iter();
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if option.eq_ignore_ascii_case(b"db") {
            target = database_argument(options.next().ok_or(StoreError::Syntax)?)?;
        } else {
            return Err(StoreError::Syntax);
        }
    }
    if home == target && argv[1] == argv[2] {
        return Err(SAME_OBJECT);
    }
    let source = view
        .get(argv[1])?
        .map(|live| (live.value.separate(), live.deadline));
    let Some((value, deadline)) = source else {
        out.int(0);
        return Ok(());
    };
    let copied = put_elsewhere(view, target, argv[2], value, deadline, replace)?;
    out.int(i64::from(copied));
    Ok(())
}

/// Puts a value into another database, unless its key exists and may not be replaced.
fn put_elsewhere<V: View>(
    view: &mut V,
    target: u32,
    key: &[u8],
    value: Value,
    deadline: Deadline,
    replace: bool,
) -> Result<bool, StoreError> {
    let home = view.database();
    view.select(target);
    let free = replace || !view.exists(key)?;
    if free {
        view.put(key, value, deadline)?;
    }
    view.select(home);
    Ok(free)
}

fn move_<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let target = database_argument(argv[2])?;
    if target == view.database() {
        return Err(SAME_OBJECT);
    }
    let source = view
        .get(argv[1])?
        .map(|live| (live.value.separate(), live.deadline));
    let moved = match source {
        Some((value, deadline)) => {
            put_elsewhere(view, target, argv[1], value, deadline, false)? && view.remove(argv[1])?
        }
        None => false,
    };
    out.int(i64::from(moved));
    Ok(())
}

/// `ASYNC` and `SYNC` are the same here: removed values are freed after the locks are released.
fn flush_options(argv: &[&[u8]]) -> Result<(), StoreError> {
    match argv[1..] {
        [] => Ok(()),
        [option]
            if option.eq_ignore_ascii_case(b"async") || option.eq_ignore_ascii_case(b"sync") =>
        {
            Ok(())
        }
        _ => Err(StoreError::Syntax),
    }
}

fn flushdb<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    flush_options(argv)?;
    let database = view.database();
    view.clear(Some(database))?;
    out.ok();
    Ok(())
}

fn flushall<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    flush_options(argv)?;
    view.clear(None)?;
    out.ok();
    Ok(())
}

fn swapdb<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let index = |text, complaint| {
        parse_integer(text)
            .and_then(|index| i32::try_from(index).ok())
            .ok_or(StoreError::Refused(complaint))
    };
    let first = index(argv[1], "ERR invalid first DB index")?;
    let second = index(argv[2], "ERR invalid second DB index")?;
    let in_range = |index: i32| {
        u32::try_from(index)
            .ok()
            .filter(|index| (*index as usize) < DATABASES)
            .ok_or(StoreError::Refused("ERR DB index is out of range"))
    };
    view.swap([in_range(first)?, in_range(second)?])?;
    out.ok();
    Ok(())
}
