//! Cursor and options of `SCAN`, `HSCAN`, `SSCAN` and `ZSCAN`.

use crate::commands::arguments::integer;
use crate::error::StoreError;
use ferrite_protocol::glob;
use ferrite_protocol::resp::ReplyWriter;

/// Number of elements that a call visits without `COUNT`.
const COUNT: usize = 10;

/// The options of a scan.
pub(crate) struct ScanOptions<'a> {
    pub(crate) cursor: u64,
    pub(crate) count: usize,
    pattern: Option<&'a [u8]>,
    pub(crate) type_name: Option<&'a [u8]>,
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

/// Writes the reply for a key that does not exist. Options are not checked then.
pub(crate) fn tell_nothing(out: &mut dyn ReplyWriter) {
    out.array(2);
    out.bulk(b"0");
    out.array(0);
}

/// Options that a command takes besides `MATCH` and `COUNT`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    None,
    Type,
    NoValues,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options after a cursor.
    pub(crate) fn parse(
        cursor: u64,
        options: &[&'a [u8]],
        extra: Extra,
    ) -> Result<Self, StoreError> {
        let mut parsed = Self {
            cursor,
            count: COUNT,
            pattern: None,
            type_name: None,
            no_values: false,
        };
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if option.eq_ignore_ascii_case(b"novalues") && extra == Extra::NoValues {
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
                parsed.pattern = Some(value);
            } else if option.eq_ignore_ascii_case(b"type") && extra == Extra::Type {
                parsed.type_name = Some(value);
            } else {
                return Err(StoreError::Syntax);
            }
        }
        Ok(parsed)
    }

    /// Returns true if the reply should contain this element.
    pub(crate) fn matches(&self, element: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| glob::matches(pattern, element))
    }
}
