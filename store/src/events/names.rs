//! The names of events, by command.

use ferrite_protocol::number::parse_integer;

use super::{Change, EventClass};
use crate::value::blob::Blob;

type Changes = Vec<(u32, Blob, Change)>;
type Events = Vec<(u32, Blob, EventClass, &'static str)>;

/// The events of one command.
struct Names {
    /// Of a key that it wrote; without a class, that of the value.
    written: (Option<EventClass>, &'static str),
    /// Of the same key, after that.
    then: Option<(EventClass, &'static str)>,
    /// Of the first key, if others are told apart from it.
    first: Option<(EventClass, &'static str)>,
    removed: (EventClass, &'static str),
    deadline: &'static str,
}

impl Names {
    fn of(written: &'static str) -> Self {
        Self {
            written: (None, written),
            then: None,
            first: None,
            removed: (EventClass::Generic, "del"),
            deadline: "expire",
        }
    }
}

fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// Returns true if a word stands among the arguments from `start` on.
fn has(argv: &[&[u8]], start: usize, words: &[&str]) -> bool {
    let rest = argv.iter().skip(start);
    rest.clone()
        .any(|argument| words.iter().any(|word| is(argument, word)))
}

/// The argument behind keys that are counted at `count`.
fn after_keys<'a>(argv: &[&'a [u8]], count: usize) -> &'a [u8] {
    let number = argv
        .get(count)
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| text.parse::<usize>().ok())
        .unwrap_or(0);
    argv.get((count + 1).saturating_add(number))
        .copied()
        .unwrap_or_default()
}

fn popped(left: bool) -> &'static str {
    if left { "lpop" } else { "rpop" }
}

/// Returns true if the time that a command gives to fields has passed at `now`.
fn ends_at_once(command: &str, argv: &[&[u8]], now: i64) -> bool {
    let Some(amount) = argv.get(2).and_then(|amount| parse_integer(amount)) else {
        return false;
    };
    let unit = if command.starts_with("hp") { 1 } else { 1000 };
    let millis = amount.saturating_mul(unit);
    let from_now = if command.ends_with("at") {
        millis.saturating_sub(now)
    } else {
        millis
    };
    from_now <= 0
}

/// The name of what a command writes, where it is not the command's own.
fn written(command: &str, argv: &[&[u8]], now: i64) -> &'static str {
    match command {
        "set" | "setnx" | "setex" | "psetex" | "getset" | "mset" | "msetnx" | "msetex"
        | "bitop" => "set",
        "incr" | "decr" | "incrby" | "decrby" => "incrby",
        "incrbyfloat" => "incrbyfloat",
        "append" => "append",
        "setrange" => "setrange",
        "setbit" | "bitfield" => "setbit",
        "pfadd" | "pfmerge" => "pfadd",
        "lpush" | "lpushx" => "lpush",
        "rpush" | "rpushx" => "rpush",
        "lpop" | "blpop" => "lpop",
        "rpop" | "brpop" => "rpop",
        "lmpop" => popped(is(after_keys(argv, 1), "left")),
        "blmpop" => popped(is(after_keys(argv, 2), "left")),
        "lmove" | "blmove" => {
            if has(&argv[..5.min(argv.len())], 4, &["left"]) {
                "lpush"
            } else {
                "rpush"
            }
        }
        "rpoplpush" | "brpoplpush" => "lpush",
        "linsert" => "linsert",
        "lset" => "lset",
        "lrem" => "lrem",
        "ltrim" => "ltrim",
        "sort" => "sortstore",
        "hset" | "hmset" | "hsetnx" | "hsetex" => "hset",
        "hdel" | "hgetdel" => "hdel",
        "hincrby" => "hincrby",
        "hincrbyfloat" => "hincrbyfloat",
        "hexpire" | "hpexpire" | "hexpireat" | "hpexpireat" => {
            if ends_at_once(command, argv, now) {
                "hexpired"
            } else {
                "hexpire"
            }
        }
        "hgetex" if has(argv, 2, &["persist"]) => "hpersist",
        "hgetex" => "hexpire",
        "hpersist" => "hpersist",
        "sadd" | "smove" => "sadd",
        "srem" => "srem",
        "spop" => "spop",
        "sinterstore" => "sinterstore",
        "sunionstore" => "sunionstore",
        "sdiffstore" => "sdiffstore",
        "zadd" if zadd_increments(argv) => "zincr",
        "zadd" | "geoadd" => "zadd",
        "zincrby" => "zincr",
        "zrem" => "zrem",
        "zremrangebyscore" => "zremrangebyscore",
        "zremrangebyrank" => "zremrangebyrank",
        "zremrangebylex" => "zremrangebylex",
        "zpopmin" | "bzpopmin" => "zpopmin",
        "zpopmax" | "bzpopmax" => "zpopmax",
        "zmpop" if is(after_keys(argv, 1), "max") => "zpopmax",
        "bzmpop" if is(after_keys(argv, 2), "max") => "zpopmax",
        "zmpop" | "bzmpop" => "zpopmin",
        "zunionstore" => "zunionstore",
        "zinterstore" => "zinterstore",
        "zdiffstore" => "zdiffstore",
        "zrangestore" => "zrangestore",
        "geosearchstore" => "geosearchstore",
        "georadius" | "georadiusbymember" => "georadiusstore",
        "restore" => "restore",
        "copy" => "copy_to",
        "rename" | "renamenx" => "rename_to",
        "move" => "move_to",
        _ => "",
    }
}

fn zadd_increments(argv: &[&[u8]]) -> bool {
    let options = argv.iter().skip(2).take_while(|argument| {
        ["nx", "xx", "gt", "lt", "ch", "incr"]
            .iter()
            .any(|word| is(argument, word))
    });
    options.clone().any(|option| is(option, "incr"))
}

fn names(command: &str, argv: &[&[u8]], now: i64) -> Names {
    use EventClass::{Generic, Hash, List, Set};

    let timed = ["ex", "px", "exat", "pxat"];
    let mut names = Names::of(written(command, argv, now));
    match command {
        "set" if has(argv, 3, &timed) => names.then = Some((Generic, "expire")),
        "msetex" if has(argv, 4, &timed) => names.then = Some((Generic, "expire")),
        "setex" | "psetex" => names.then = Some((Generic, "expire")),
        "hsetex" if has(argv, 2, &timed) => names.then = Some((Hash, "hexpire")),
        "persist" => names.deadline = "persist",
        "getex" if has(argv, 2, &["persist"]) => names.deadline = "persist",
        // With a time that has passed.
        "expire" | "pexpire" | "expireat" | "pexpireat" | "getex" => {
            names.removed = (EventClass::Expired, "expired");
        }
        "restore" | "copy" => names.written.0 = Some(Generic),
        "rename" | "renamenx" => {
            names.written.0 = Some(Generic);
            names.removed.1 = "rename_from";
        }
        "move" => {
            names.written.0 = Some(Generic);
            names.removed.1 = "move_from";
        }
        "smove" => names.first = Some((Set, "srem")),
        "lmove" | "blmove" => {
            let left = has(&argv[..4.min(argv.len())], 3, &["left"]);
            names.first = Some((List, popped(left)));
        }
        "rpoplpush" | "brpoplpush" => names.first = Some((List, "rpop")),
        _ => {}
    }
    names
}

/// The event of a change that no command asked for.
pub(super) fn of_expiry(change: Change) -> Option<(EventClass, &'static str)> {
    match change {
        Change::Expired => Some((EventClass::Expired, "expired")),
        Change::FieldsExpired => Some((EventClass::Hash, "hexpired")),
        Change::Written(_) | Change::Deadline | Change::Removed => None,
    }
}

/// Appends the events of a command that made these changes at `now`.
pub(super) fn name(command: &str, argv: &[&[u8]], now: i64, changes: Changes, events: &mut Events) {
    let names = names(command, argv, now);
    let first_key = changes
        .first()
        .map(|(database, key, _)| (*database, key.clone()));
    // An element that moves inside one list is pushed and popped there.
    let single = changes.len() == 1;
    // A list that elements move from is told after the one that they move to.
    let mut later = Vec::new();
    let moves = command.ends_with("move") || command.ends_with("poplpush");
    for (database, key, change) in changes {
        if let Some((class, name)) = of_expiry(change) {
            events.push((database, key, class, name));
            continue;
        }
        let is_first = first_key
            .as_ref()
            .is_some_and(|first| *first == (database, key.clone()));
        let into = if is_first && moves && command != "smove" && !single {
            &mut later
        } else {
            &mut *events
        };
        match change {
            Change::Written(_) if is_first && !single && names.first.is_some() => {
                into.extend(
                    names
                        .first
                        .map(|(class, name)| (database, key, class, name)),
                );
            }
            Change::Written(class) => {
                let class = names.written.0.unwrap_or(class);
                into.push((database, key.clone(), class, names.written.1));
                let then = if single {
                    names.first.or(names.then)
                } else {
                    names.then
                };
                into.extend(then.map(|(class, name)| (database, key, class, name)));
            }
            Change::Removed => into.push((database, key, names.removed.0, names.removed.1)),
            Change::Deadline => {
                into.push((database, key, EventClass::Generic, names.deadline));
            }
            Change::Expired | Change::FieldsExpired => {}
        }
    }
    events.extend(later);
}
