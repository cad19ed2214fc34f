//! Cursor and options of `SCAN`, `HSCAN`, `SSCAN` and `ZSCAN`.

use crate::commands::arguments::integer;
use crate::error::StoreError;
use crate::execution::listing::Listing;
use crate::execution::view::View;
use crate::value::Value;
use crate::value::blob::Blob;
use crate::value::fields::PACKED_LEN_MAX;
use ferrite_protocol::budget::{ELEMENT, elements};
use ferrite_protocol::glob::Matcher;
use ferrite_protocol::resp::ReplyWriter;

/// Number of elements that a call visits without `COUNT`.
const COUNT: usize = 10;

/// Number of elements of a collection that are visited at a time.
const ELEMENTS_PER_SLICE: usize = 1024;

/// Number of keys that are visited at a time, so that no lock is held for long.
pub(crate) const KEYS_PER_SLICE: usize = 1024;

/// The options of a scan.
pub(crate) struct ScanOptions<'a> {
    pub(crate) cursor: u64,
    pub(crate) count: usize,
    pub(crate) pattern: Option<Matcher>,
    /// The pattern as it was written.
    pub(crate) pattern_text: Option<&'a [u8]>,
    pub(crate) type_name: Option<&'a [u8]>,
    /// The reply leaves out values or scores.
    pub(crate) no_values: bool,
}

/// Reads a cursor.
pub(crate) fn cursor(text: &[u8]) -> Result<u64, StoreError> {
    std::str::from_utf8(text)
        .ok()
        .filter(|text| text.starts_with(|first: char| first.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or(StoreError::Refused("ERR invalid cursor"))
}

/// Prepares a pattern; `None` for the pattern that everything matches.
pub(crate) fn pattern(text: &[u8]) -> Result<Option<Matcher>, StoreError> {
    if text == b"*" {
        return Ok(None);
    }
    Matcher::parse(text)
        .map(Some)
        .map_err(|error| StoreError::with(format!("ERR {error}")))
}

/// Adds to `found` the keys that match and may be shown, out of about `count` from a cursor on;
/// returns the next cursor, 0 at the end.
///
/// Patterns are matched after the keys were collected: a view that locks the keyspace in turn holds
/// no lock then.
pub(crate) fn slice<V: View>(
    view: &mut V,
    cursor: u64,
    count: usize,
    is_wanted: impl Fn(&Value) -> bool,
    found: &mut Vec<Blob>,
    pattern: Option<&Matcher>,
) -> Result<u64, StoreError> {
    let mut visited = Vec::new();
    let next = view.scan(cursor, count, &mut |key, value| {
        if is_wanted(value) {
            visited.push(key.clone());
        }
    })?;
    for key in visited {
        view.charge(ELEMENT + pattern.map_or(0, |pattern| match_units(pattern, &key)))?;
        if pattern.is_none_or(|pattern| pattern.matches(&key)) && view.shows(&key) {
            found.push(key);
        }
    }
    Ok(next)
}

/// Returns the keys of a listing that may be shown, and the next cursor, where another engine lists them;
/// `None` where they have to be gone through by [`slice()`].
pub(crate) fn listed<V: View>(
    view: &mut V,
    listing: &dyn Fn() -> Listing,
    is_wanted: impl Fn(&Value) -> bool,
    pattern: Option<&Matcher>,
) -> Result<Option<(u64, Vec<Blob>)>, StoreError> {
    let Some(listed) = view.listed(listing)? else {
        return Ok(None);
    };
    let mut found = Vec::with_capacity(listed.keys.len());
    for (key, written) in listed.keys {
        // The engine has chosen by what it holds itself.
        let still_wanted = written.is_none_or(|value| is_wanted(&value));
        if still_wanted && view.shows(&key) {
            found.push(key);
        }
    }
    for (key, value) in listed.unlisted {
        view.charge(ELEMENT + pattern.map_or(0, |pattern| match_units(pattern, &key)))?;
        let matches = pattern.is_none_or(|pattern| pattern.matches(&key));
        if matches && is_wanted(&value) && view.shows(&key) {
            found.push(key);
        }
    }
    Ok(Some((listed.next, found)))
}

/// Units for a match against an element.
fn match_units(pattern: &Matcher, element: &[u8]) -> u64 {
    /// Steps in the time of a unit.
    const STEPS_PER_UNIT: u64 = 4;
    pattern.steps_max(element.len()) / STEPS_PER_UNIT
}

/// Goes through the elements of a collection from a cursor on, some at a time. `visit` takes a
/// cursor and a count, and returns the next cursor; the result is the cursor after all of them.
pub(crate) fn in_slices(
    options: &ScanOptions<'_>,
    out: &mut dyn ReplyWriter,
    mut visit: impl FnMut(u64, usize) -> u64,
) -> Result<u64, StoreError> {
    let (mut next, mut left) = (options.cursor, options.count);
    loop {
        let count = left.min(ELEMENTS_PER_SLICE);
        out.charge(elements(count.max(PACKED_LEN_MAX)))?;
        next = visit(next, count);
        left -= count;
        if next == 0 || left == 0 {
            return Ok(next);
        }
    }
}

/// Writes the reply for a key that does not exist. Options are not checked then.
pub(crate) fn tell_nothing(out: &mut dyn ReplyWriter) {
    out.array(2);
    out.bulk(b"0");
    out.array(0);
}

/// The command that scans; it decides the options besides `MATCH` and `COUNT`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scanned {
    Keys,
    Hash,
    Set,
    Zset,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options after a cursor.
    pub(crate) fn parse(
        cursor: u64,
        options: &[&'a [u8]],
        scanned: Scanned,
    ) -> Result<Self, StoreError> {
        let mut parsed = Self {
            cursor,
            count: COUNT,
            pattern: None,
            pattern_text: None,
            type_name: None,
            no_values: false,
        };
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if option.eq_ignore_ascii_case(b"novalues") {
                if scanned != Scanned::Hash {
                    return Err(StoreError::Refused(
                        "ERR NOVALUES option can only be used in HSCAN",
                    ));
                }
                parsed.no_values = true;
                continue;
            }
            if option.eq_ignore_ascii_case(b"noscores") {
                if scanned != Scanned::Zset {
                    return Err(StoreError::Refused(
                        "ERR NOSCORES option can only be used in ZSCAN",
                    ));
                }
                parsed.no_values = true;
                continue;
            }
            let value = options.next().ok_or(StoreError::Syntax)?;
            if option.eq_ignore_ascii_case(b"count") {
                parsed.count = usize::try_from(integer(value)?)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or(StoreError::Syntax)?;
            } else if option.eq_ignore_ascii_case(b"match") {
                parsed.pattern = pattern(value)?;
                parsed.pattern_text = Some(value);
            } else if option.eq_ignore_ascii_case(b"type") && scanned == Scanned::Keys {
                let known = ["string", "list", "set", "zset", "hash", "stream"];
                if !known
                    .iter()
                    .any(|name| value.eq_ignore_ascii_case(name.as_bytes()))
                {
                    let name = String::from_utf8_lossy(value);
                    return Err(StoreError::with(format!("ERR unknown type name '{name}'")));
                }
                parsed.type_name = Some(value);
            } else {
                return Err(StoreError::Syntax);
            }
        }
        Ok(parsed)
    }

    /// Returns true if the reply should contain this element.
    pub(crate) fn matches(
        &self,
        element: &[u8],
        out: &mut dyn ReplyWriter,
    ) -> Result<bool, StoreError> {
        let Some(pattern) = &self.pattern else {
            return Ok(true);
        };
        out.charge(match_units(pattern, element))?;
        Ok(pattern.matches(element))
    }
}
