//! The mock's commands, one file a type of value.

mod hashes;
mod keys;
mod lists;
mod sets;
mod sorted_sets;
mod strings;

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};

use super::keyspace::{Keyspace, integer};
use crate::value::Value;

/// A command's reply, or the text of its error.
type Outcome = Result<Value, String>;

/// Runs a command of one family; `None` if the family has no such command with so few or so many
/// arguments.
type Family = fn(&mut Keyspace, &str, &[&[u8]]) -> Option<Outcome>;

/// Every family, and the names of its commands.
const FAMILIES: &[(Family, &[&str])] = &[
    (strings::run, strings::NAMES),
    (keys::run, keys::NAMES),
    (hashes::run, hashes::NAMES),
    (lists::run, lists::NAMES),
    (sets::run, sets::NAMES),
    (sorted_sets::run, sorted_sets::NAMES),
];

/// Runs one command; an error comes as [`Value::Error`].
pub(super) fn execute(keyspace: &mut Keyspace, argv: &[&[u8]]) -> Value {
    let Some((name, arguments)) = argv.split_first() else {
        return Value::Error("ERR empty command".into());
    };
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    for (run, names) in FAMILIES {
        if let Some(outcome) = run(keyspace, &name, arguments) {
            return outcome.unwrap_or_else(Value::Error);
        }
        if names.contains(&name.as_str()) {
            return Value::Error(alloc::format!(
                "ERR wrong number of arguments for '{}' command",
                name.to_ascii_lowercase()
            ));
        }
    }
    Value::Error(alloc::format!(
        "ERR the mock store does not know '{name}'; test this with `ferrite-wasmc run`"
    ))
}

/// Returns the shortest text of a double; integers without a point.
pub(super) fn number_text(number: f64) -> String {
    if number == f64::INFINITY {
        "inf".into()
    } else if number == f64::NEG_INFINITY {
        "-inf".into()
    } else {
        plain_or_exponent(number)
    }
}

/// Returns the digits of a number, with an exponent if it is large or small.
fn plain_or_exponent(number: f64) -> String {
    const PLAIN: core::ops::Range<f64> = 1e-6..1e21;
    if number == 0.0 || PLAIN.contains(&number.abs()) {
        return number.to_string();
    }
    let text = alloc::format!("{number:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => {
            alloc::format!("{mantissa}e+{exponent}")
        }
        _ => text,
    }
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

fn count(number: usize) -> Value {
    Value::Int(number as i64)
}

fn flag(truth: bool) -> Value {
    Value::Int(truth.into())
}

fn bulk(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, Value::from)
}

fn float(bytes: &[u8]) -> Result<f64, String> {
    crate::value::number::float(bytes).ok_or_else(|| "ERR value is not a valid float".to_owned())
}

fn whole(bytes: &[u8]) -> Result<i64, String> {
    integer(bytes).map_err(Into::into)
}

/// Reads a number that is not negative.
fn size(bytes: &[u8]) -> Result<usize, String> {
    whole(bytes)
        .ok()
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| "ERR value is out of range, must be positive".into())
}

/// Returns the name of an option, in capitals.
fn word(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_uppercase()
}

fn syntax() -> String {
    "ERR syntax error".into()
}

/// Returns the positions from `start` to `stop` in a sequence of `len`; negative numbers count from
/// the end.
fn range(start: i64, stop: i64, len: usize) -> core::ops::Range<usize> {
    let len = len as i64;
    let from_end = |at: i64| if at < 0 { at + len } else { at };
    let start = from_end(start).clamp(0, len);
    let stop = (from_end(stop) + 1).clamp(start, len);
    start as usize..stop as usize
}
