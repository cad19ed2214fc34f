//! Parsers of arguments that several families share.

use std::time::Duration;

use super::spec::Argv;
use crate::commands::long_double::{LongDouble, Parsed};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::list::End;
use ferrite_protocol::number::{parse_double, parse_integer};

/// Reads an integer argument.
pub(crate) fn integer(text: &[u8]) -> Result<i64, StoreError> {
    parse_integer(text).ok_or(StoreError::NotAnInteger)
}

/// Reads a double argument.
pub(crate) fn double(text: &[u8]) -> Result<f64, StoreError> {
    parse_double(text).ok_or(StoreError::NotAFloat)
}

/// Reads a number of keys or elements that must lie above zero.
pub(super) fn positive(text: &[u8], complaint: &'static str) -> Result<usize, StoreError> {
    parse_integer(text)
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| *number > 0)
        .ok_or(StoreError::Refused(complaint))
}

/// Reads a count that may be zero.
pub(super) fn count(text: &[u8]) -> Result<usize, StoreError> {
    usize::try_from(parse_integer(text).unwrap_or(-1))
        .map_err(|_| StoreError::Refused("ERR value is out of range, must be positive"))
}

/// Reads an integer that can be negated.
pub(super) fn symmetric(text: &[u8]) -> Result<i64, StoreError> {
    let number = integer(text)?;
    if number == i64::MIN {
        return Err(StoreError::Refused(
            "ERR value is out of range, value must between \
             -9223372036854775807 and 9223372036854775807",
        ));
    }
    Ok(number)
}

/// Reads a time to wait, in seconds with decimals; zero is for ever.
pub(super) fn timeout<V: View>(view: &mut V, text: &[u8]) -> Result<Option<Duration>, StoreError> {
    let millis = match LongDouble::parse(text) {
        Some(Parsed::Finite(seconds)) => seconds.thousandfold_rounded_up(),
        Some(Parsed::Infinite) if text.starts_with(b"-") => Some(i64::MIN),
        Some(Parsed::Infinite) => None,
        None => {
            return Err(StoreError::Refused(
                "ERR timeout is not a float or out of range",
            ));
        }
    };
    const TOO_LONG: StoreError = StoreError::Refused("ERR timeout is out of range");
    let millis = millis.ok_or(TOO_LONG)?;
    let length =
        u64::try_from(millis).map_err(|_| StoreError::Refused("ERR timeout is negative"))?;
    // The wait must end before time does.
    if length > 0 && millis.checked_add(view.now()).is_none() {
        return Err(TOO_LONG);
    }
    Ok((length > 0).then(|| Duration::from_millis(length)))
}

/// Reads `LEFT` or `RIGHT`.
pub(super) fn end(text: &[u8]) -> Result<End, StoreError> {
    if text.eq_ignore_ascii_case(b"left") {
        Ok(End::Left)
    } else if text.eq_ignore_ascii_case(b"right") {
        Ok(End::Right)
    } else {
        Err(StoreError::Syntax)
    }
}

/// Resolves a range of indexes for `len` elements to a start and an exclusive end.
///
/// Negative indexes count from the end; the range is cut to the elements.
pub(super) fn index_range(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let signed = len as i64;
    let start = if start < 0 {
        (signed.saturating_add(start)).max(0)
    } else {
        start
    };
    let stop = if stop < 0 {
        signed.saturating_add(stop)
    } else {
        stop.min(signed - 1)
    };
    if start > stop || start >= signed {
        (0, 0)
    } else {
        (start as usize, stop as usize + 1)
    }
}

/// Reads two indexes.
pub(super) fn indexes(start: &[u8], stop: &[u8]) -> Result<(i64, i64), StoreError> {
    Ok((integer(start)?, integer(stop)?))
}

/// Reads a number of keys at `count_at`. Returns these keys and the arguments after them, at least
/// one.
pub(super) fn counted_keys(
    argv: Argv<'_>,
    count_at: usize,
) -> Result<(Argv<'_>, Argv<'_>), StoreError> {
    let count = positive(argv[count_at], "ERR numkeys should be greater than 0")?;
    let rest = &argv[count_at + 1..];
    if count >= rest.len() {
        return Err(StoreError::Syntax);
    }
    Ok(rest.split_at(count))
}

/// Reads `[COUNT count]` at the end of a command that pops from one of several keys.
pub(super) fn pop_count(options: &[&[u8]]) -> Result<usize, StoreError> {
    let mut count = None;
    let mut rest = options;
    while let [name, text, more @ ..] = rest {
        if !name.eq_ignore_ascii_case(b"count") || count.is_some() {
            return Err(StoreError::Syntax);
        }
        count = Some(positive(text, "ERR count should be greater than 0")?);
        rest = more;
    }
    if rest.is_empty() {
        Ok(count.unwrap_or(1))
    } else {
        Err(StoreError::Syntax)
    }
}
