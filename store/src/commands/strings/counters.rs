//! Strings as counters.

use crate::commands::arguments::integer;
use crate::commands::long_double::{LongDouble, Parsed};
use crate::commands::spec::{Answer, Argv, DENYOOM, FAST, Keys, Out, WRITE, commands};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::Value;
use crate::value::deadline::Deadline;
use crate::value::text::Text;
use ferrite_protocol::number::parse_integer;

commands! {
    "incr", 2, WRITE | DENYOOM | FAST, Keys::FIRST => incr,
        "string", "key",
        "Adds one to an integer.";
    "decr", 2, WRITE | DENYOOM | FAST, Keys::FIRST => decr,
        "string", "key",
        "Takes one from an integer.";
    "incrby", 3, WRITE | DENYOOM | FAST, Keys::FIRST => incrby,
        "string", "key increment",
        "Adds to an integer.";
    "incrbyfloat", 3, WRITE | DENYOOM | FAST, Keys::FIRST => incrbyfloat,
        "string", "key increment",
        "Adds to a number.";
    "decrby", 3, WRITE | DENYOOM | FAST, Keys::FIRST => decrby,
        "string", "key decrement",
        "Takes from an integer.";
}

/// Adds to the integer of a key, 0 if it does not exist; returns the sum.
pub(crate) fn add<V: View>(view: &mut V, key: &[u8], delta: i64) -> Result<i64, StoreError> {
    let (old, deadline) = match view.get(key)? {
        Some(live) => {
            let text = live.cast::<Text>()?.as_slice();
            (
                parse_integer(text).ok_or(StoreError::NotAnInteger)?,
                live.deadline,
            )
        }
        None => (0, Deadline::NEVER),
    };
    let sum = old.checked_add(delta).ok_or(StoreError::Overflow)?;
    view.put(
        key,
        Value::text(itoa::Buffer::new().format(sum).as_bytes()),
        deadline,
    )?;
    Ok(sum)
}

fn incr<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.int(add(view, argv[1], 1)?);
    Ok(())
}

fn decr<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.int(add(view, argv[1], -1)?);
    Ok(())
}

fn incrby<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let delta = integer(argv[2])?;
    out.int(add(view, argv[1], delta)?);
    Ok(())
}

fn decrby<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let delta = integer(argv[2])?
        .checked_neg()
        .ok_or(StoreError::Refused("ERR decrement would overflow"))?;
    out.int(add(view, argv[1], delta)?);
    Ok(())
}

/// Adds two texts as floating point numbers; `complaint` is the error for the first.
pub(in crate::commands) fn add_floats(
    old: Option<&[u8]>,
    delta: &Parsed,
    complaint: StoreError,
) -> Result<String, StoreError> {
    const INFINITE: StoreError = StoreError::Refused("ERR increment would produce NaN or Infinity");
    let old = match old {
        Some(text) => LongDouble::parse(text).ok_or(complaint)?,
        None => Parsed::Finite(LongDouble::zero()),
    };
    match (&old, delta) {
        (Parsed::Finite(old), Parsed::Finite(delta)) => {
            Ok(old.add(delta).ok_or(INFINITE)?.format())
        }
        _ => Err(INFINITE),
    }
}

fn incrbyfloat<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(LongDouble::ADD_UNITS)?;
    let live = view.get(argv[1])?;
    let deadline = live.as_ref().map_or(Deadline::NEVER, |live| live.deadline);
    let old = match &live {
        Some(live) => Some(live.cast::<Text>()?.as_slice()),
        None => None,
    };
    if old.is_some_and(|old| LongDouble::parse(old).is_none()) {
        return Err(StoreError::NotAFloat);
    }
    let delta = LongDouble::parse(argv[2]).ok_or(StoreError::NotAFloat)?;
    let sum = add_floats(old, &delta, StoreError::NotAFloat)?;
    view.put(argv[1], Value::text(sum.as_bytes()), deadline)?;
    out.bulk(sum.as_bytes());
    Ok(())
}
