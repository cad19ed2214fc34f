//! Strings.

pub(crate) mod bitfield;
pub(crate) mod bits;
pub(crate) mod counters;
pub(crate) mod hyperloglog;
pub(crate) mod lcs;

use super::spec::{
    Answer, Argv, BLIND, BLIND_BUT_GET, DENYOOM, FAST, Keys, MOVABLEKEYS, Out, READONLY, WRITE,
    commands,
};
use crate::commands::arguments::integer;
use crate::commands::keys::expiry::{TimeUnit, deadline_argument};
use crate::error::StoreError;
use crate::execution::view::{Missing, View};
use crate::value::Value;
use crate::value::deadline::Deadline;
use crate::value::text::Text;
use ferrite_protocol::budget::{ELEMENT, bytes};
use ferrite_protocol::keyspace::SetCondition;
use ferrite_protocol::number::parse_integer;
use ferrite_protocol::resp::ReplyWriter;

commands! {
    "get", 2, READONLY | FAST, Keys::FIRST => get,
        "string", "key",
        "Returns a string.";
    "set", -3, WRITE | DENYOOM | BLIND_BUT_GET, Keys::FIRST => set,
        "string", "key value [NX|XX|IFEQ comparison-value] [GET] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
        "Writes a string, whatever the key held.";
    "setnx", 3, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => setnx,
        "string", "key value",
        "Writes a string if there is no such key.";
    "setex", 4, WRITE | DENYOOM | BLIND, Keys::FIRST => setex,
        "string", "key seconds value",
        "Writes a string that expires.";
    "psetex", 4, WRITE | DENYOOM | BLIND, Keys::FIRST => psetex,
        "string", "key milliseconds value",
        "Writes a string that expires, in milliseconds.";
    "getset", 3, WRITE | DENYOOM | FAST, Keys::FIRST => getset,
        "string", "key value",
        "Writes a string and returns the one before.";
    "getdel", 2, WRITE | FAST, Keys::FIRST => getdel,
        "string", "key",
        "Returns a string and removes it.";
    "getex", -2, WRITE | FAST, Keys::FIRST => getex,
        "string", "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]",
        "Returns a string and sets when it expires.";
    "mget", -2, READONLY | FAST, Keys::EVERY => mget,
        "string", "key [key ...]",
        "Returns several strings.";
    "mset", -3, WRITE | DENYOOM | BLIND, Keys::Positions { first: 1, last: -1, step: 2 } => mset,
        "string", "key value [key value ...]",
        "Writes several strings.";
    "msetnx", -3, WRITE | DENYOOM | BLIND, Keys::Positions { first: 1, last: -1, step: 2 } => msetnx,
        "string", "key value [key value ...]",
        "Writes several strings if none of the keys is there.";
    "msetex", -4, WRITE | DENYOOM | MOVABLEKEYS | BLIND, Keys::CountedPairs { count: 1 } => msetex,
        "string", "numkeys key value [key value ...] [NX|XX] [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
        "Writes several strings that expire together.";
    "delifeq", 3, WRITE | FAST, Keys::FIRST => delifeq,
        "string", "key value",
        "Removes a string if it equals a value.";
    "strlen", 2, READONLY | FAST, Keys::FIRST => strlen,
        "string", "key",
        "Tells a string's length.";
    "append", 3, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => append,
        "string", "key value",
        "Adds to the end of a string.";
    "setrange", 4, WRITE | DENYOOM | BLIND, Keys::FIRST => setrange,
        "string", "key offset value",
        "Writes over a part of a string.";
    "getrange", 4, READONLY, Keys::FIRST => getrange,
        "string", "key start end",
        "Returns a part of a string.";
    "substr", 4, READONLY, Keys::FIRST => getrange,
        "string", "key start end",
        "Returns a part of a string.";
}

/// Change to the key's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Keep,
    Until(Deadline),
}

/// Stores a string under a condition; returns true if it was stored.
pub(crate) fn store<V: View>(
    view: &mut V,
    key: &[u8],
    value: &[u8],
    condition: SetCondition,
    lifetime: Lifetime,
) -> Result<bool, StoreError> {
    let deadline = match (condition, lifetime) {
        (SetCondition::Always, Lifetime::Until(deadline)) => deadline,
        (condition, lifetime) => {
            let present = view.get(key)?.map(|live| live.deadline);
            match (condition, present) {
                (SetCondition::IfAbsent, Some(_)) | (SetCondition::IfPresent, None) => {
                    return Ok(false);
                }
                _ => {}
            }
            match lifetime {
                Lifetime::Keep => present.unwrap_or(Deadline::NEVER),
                Lifetime::Until(deadline) => deadline,
            }
        }
    };
    view.put(key, Value::text(value), deadline)?;
    Ok(true)
}

fn get<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.bulk_or_null(view.read::<Text>(argv[1])?.map(Text::as_slice));
    Ok(())
}

/// The options of `SET` and `MSETEX`.
struct SetOptions<'a> {
    condition: SetCondition,
    /// The value that the string must have now.
    expected: Option<&'a [u8]>,
    lifetime: Lifetime,
    get: bool,
}

fn set_options<'a, V: View>(
    view: &mut V,
    command: &'static str,
    argv: &[&'a [u8]],
) -> Result<SetOptions<'a>, StoreError> {
    let single = command == "set";
    let mut condition = SetCondition::Always;
    let mut expected = None;
    let mut lifetime = None;
    let mut get = false;
    let mut options = argv.iter();
    while let Some(option) = options.next() {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"nx") && condition != SetCondition::IfPresent && expected.is_none() {
            condition = SetCondition::IfAbsent;
        } else if is(b"xx") && condition != SetCondition::IfAbsent && expected.is_none() {
            condition = SetCondition::IfPresent;
        } else if single && is(b"ifeq") && condition == SetCondition::Always && expected.is_none() {
            expected = Some(*options.next().ok_or(StoreError::Syntax)?);
        } else if single && is(b"get") {
            get = true;
        } else if is(b"keepttl") && lifetime.is_none() {
            lifetime = Some(None);
        } else if let (Some(unit), None) = (TimeUnit::option(option), lifetime) {
            lifetime = Some(Some((unit, *options.next().ok_or(StoreError::Syntax)?)));
        } else {
            return Err(StoreError::Syntax);
        }
    }
    let lifetime = match lifetime {
        Some(Some((unit, text))) => Lifetime::Until(deadline_argument(view, command, unit, text)?),
        Some(None) => Lifetime::Keep,
        None => Lifetime::Until(Deadline::NEVER),
    };
    Ok(SetOptions {
        condition,
        expected,
        lifetime,
        get,
    })
}

fn set<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let options = set_options(view, "set", &argv[3..])?;
    let old = match options.get || options.expected.is_some() {
        true => view.read::<Text>(argv[1])?.cloned(),
        false => None,
    };
    let as_expected = match options.expected {
        Some(expected) => old.as_ref().is_some_and(|old| old.as_slice() == expected),
        None => true,
    };
    let stored = as_expected && store(view, argv[1], argv[2], options.condition, options.lifetime)?;
    if options.get {
        out.bulk_or_null(old.as_ref().map(Text::as_slice));
    } else if stored {
        out.ok();
    } else {
        out.null();
    }
    Ok(())
}

fn setnx<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let forever = Lifetime::Until(Deadline::NEVER);
    let stored = store(view, argv[1], argv[2], SetCondition::IfAbsent, forever)?;
    out.int(i64::from(stored));
    Ok(())
}

fn setex<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let deadline = deadline_argument(view, "setex", TimeUnit::Seconds, argv[2])?;
    view.put(argv[1], Value::text(argv[3]), deadline)?;
    out.ok();
    Ok(())
}

fn psetex<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let deadline = deadline_argument(view, "psetex", TimeUnit::Millis, argv[2])?;
    view.put(argv[1], Value::text(argv[3]), deadline)?;
    out.ok();
    Ok(())
}

fn getset<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let old = view.read::<Text>(argv[1])?.cloned();
    view.put(argv[1], Value::text(argv[2]), Deadline::NEVER)?;
    out.bulk_or_null(old.as_ref().map(Text::as_slice));
    Ok(())
}

fn getdel<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let old = view.read::<Text>(argv[1])?.cloned();
    if old.is_some() {
        view.remove(argv[1])?;
    }
    out.bulk_or_null(old.as_ref().map(Text::as_slice));
    Ok(())
}

fn getex<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let deadline = match argv[2..] {
        [] => None,
        [option] if option.eq_ignore_ascii_case(b"persist") => Some(Deadline::NEVER),
        [option, text] => {
            let unit = TimeUnit::option(option).ok_or(StoreError::Syntax)?;
            Some(deadline_argument(view, "getex", unit, text)?)
        }
        _ => return Err(StoreError::Syntax),
    };
    let Some(text) = view.read::<Text>(argv[1])?.cloned() else {
        out.null();
        return Ok(());
    };
    if let Some(deadline) = deadline {
        if deadline.is_reached(view.now()) {
            view.remove(argv[1])?;
        } else if deadline != Deadline::NEVER || view.deadline(argv[1])? != Some(deadline) {
            view.set_deadline(argv[1], deadline)?;
        }
    }
    out.bulk(text.as_slice());
    Ok(())
}

fn mget<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    for key in &argv[1..] {
        // A read can fail inside a transaction, and an error must be the whole reply.
        view.prepare(key)?;
    }
    out.array(argv.len() - 1);
    for key in &argv[1..] {
        out.charge(ELEMENT)?;
        let live = view.get(key)?;
        let text = live.and_then(|live| live.cast::<Text>().ok());
        out.bulk_or_null(text.map(Text::as_slice));
    }
    Ok(())
}

fn pairs<'a>(
    name: &'static str,
    argv: &'a [&'a [u8]],
) -> Result<std::slice::ChunksExact<'a, &'a [u8]>, StoreError> {
    if argv.len().is_multiple_of(2) {
        return Err(StoreError::Arity(name.into()));
    }
    Ok(argv[1..].chunks_exact(2))
}

fn mset<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    for pair in pairs("mset", argv)? {
        view.put(pair[0], Value::text(pair[1]), Deadline::NEVER)?;
    }
    out.ok();
    Ok(())
}

fn msetnx<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let pairs = pairs("msetnx", argv)?;
    for pair in pairs.clone() {
        if view.exists(pair[0])? {
            out.int(0);
            return Ok(());
        }
    }
    for pair in pairs {
        view.put(pair[0], Value::text(pair[1]), Deadline::NEVER)?;
    }
    out.int(1);
    Ok(())
}

fn msetex<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let count = parse_integer(argv[1])
        .and_then(|count| i32::try_from(count).ok())
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count > 0)
        .ok_or(StoreError::Refused(
            "ERR invalid numkeys value or out of range",
        ))?;
    let rest = &argv[2..];
    if count > rest.len() / 2 {
        return Err(StoreError::Syntax);
    }
    let (pairs, options) = rest.split_at(2 * count);
    let options = set_options(view, "msetex", options)?;
    for pair in pairs.chunks_exact(2) {
        let exists = view.exists(pair[0])?;
        match options.condition {
            SetCondition::IfAbsent if exists => return no(out),
            SetCondition::IfPresent if !exists => return no(out),
            _ => {}
        }
    }
    for pair in pairs.chunks_exact(2) {
        let always = SetCondition::Always;
        store(view, pair[0], pair[1], always, options.lifetime)?;
    }
    out.int(1);
    Ok(())
}

fn no(out: Out<'_>) -> Answer {
    out.int(0);
    Ok(())
}

fn delifeq<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let equal = view
        .read::<Text>(argv[1])?
        .is_some_and(|text| text.as_slice() == argv[2]);
    if equal {
        view.remove(argv[1])?;
    }
    out.int(i64::from(equal));
    Ok(())
}

fn strlen<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.int(
        view.read::<Text>(argv[1])?
            .map_or(0, |text| text.len() as i64),
    );
    Ok(())
}

fn append<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let most = view.limits().string_bytes_max;
    let len = view.update::<Text, _>(argv[1], Missing::Create, |text| {
        let len = text.len().saturating_add(argv[2].len());
        if len > most {
            return Err(StoreError::StringTooLong);
        }
        out.count_written(argv[2].len() as u64)?;
        text.bytes_mut(None).extend_from_slice(argv[2]);
        Ok(len)
    })?;
    out.int(len.unwrap_or(0) as i64);
    Ok(())
}

/// Charges for the bytes by which a string grows, if it has to, to have `len` of them.
pub(in crate::commands) fn charge_growth(
    old: usize,
    len: usize,
    out: &mut dyn ReplyWriter,
) -> Result<(), StoreError> {
    let grown = len.saturating_sub(old) as u64;
    out.count_written(grown)?;
    out.charge(bytes(grown))?;
    Ok(())
}

fn setrange<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let offset = usize::try_from(integer(argv[2])?)
        .map_err(|_| StoreError::Refused("ERR offset is out of range"))?;
    let patch = argv[3];
    if patch.is_empty() {
        return strlen(view, &argv[..2], out);
    }
    let most = view.limits().string_bytes_max;
    let len = view.update::<Text, _>(argv[1], Missing::Create, |text| {
        let end = offset.saturating_add(patch.len());
        if end > most {
            return Err(StoreError::StringTooLong);
        }
        charge_growth(text.len(), end, out)?;
        out.count_written(patch.len() as u64)?;
        let bytes = text.bytes_mut(Some(offset..end));
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(patch);
        Ok(bytes.len())
    })?;
    out.int(len.unwrap_or(0) as i64);
    Ok(())
}

fn getrange<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (start, end) = (integer(argv[2])?, integer(argv[3])?);
    let bytes = view.read::<Text>(argv[1])?.map_or(&b""[..], Text::as_slice);
    let len = bytes.len() as i64;
    let upside_down = start < 0 && end < 0 && start > end;
    let from_start = |at: i64| {
        if at < 0 {
            (len.saturating_add(at)).max(0)
        } else {
            at
        }
    };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if upside_down || start > end || len == 0 {
        out.bulk(b"");
    } else {
        out.bulk(&bytes[start as usize..=end as usize]);
    }
    Ok(())
}
