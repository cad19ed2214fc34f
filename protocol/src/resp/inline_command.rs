//! Splits an inline command into its arguments, with quotes and escapes.

use std::ops::Range;

/// A quote is not closed, or not followed by a blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// Splits a line like Redis's `sdssplitargs`: blanks separate, `"…"` has escapes such as `\n` and
/// `\xff`, `'…'` only `\'`, a closing quote ends the argument, a zero byte ends the line.
pub(super) fn split_arguments(
    line: &[u8],
    bytes: &mut Vec<u8>,
    arguments: &mut Vec<Range<usize>>,
) -> Result<(), Unbalanced> {
    let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        // `trim_ascii_start` does not remove the vertical tab, which is a blank for `isspace`.
        while let [0x0b, after @ ..] = rest {
            rest = after.trim_ascii_start();
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = bytes.len();
        rest = one_argument(rest, bytes)?;
        arguments.push(start..bytes.len());
    }
}

/// Appends the first argument in `rest` to `bytes`. Returns the text after it.
fn one_argument<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match *rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', ref quoted @ ..] => return double_quoted(quoted, bytes),
            [b'\'', ref quoted @ ..] => return single_quoted(quoted, bytes),
            [byte, ref after @ ..] => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let byte;
        (byte, rest) = match *rest {
            [] => return Err(Unbalanced),
            [b'"', ref after @ ..] => return after_quote(after),
            [b'\\', b'x', high, low, ref after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex_digit(high) << 4 | hex_digit(low), after)
            }
            [b'\\', escaped, ref after @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                };
                (byte, after)
            }
            [byte, ref after @ ..] => (byte, after),
        };
        bytes.push(byte);
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let byte;
        (byte, rest) = match *rest {
            [] => return Err(Unbalanced),
            [b'\'', ref after @ ..] => return after_quote(after),
            [b'\\', b'\'', ref after @ ..] => (b'\'', after),
            [byte, ref after @ ..] => (byte, after),
        };
        bytes.push(byte);
    }
}

/// Checks that an argument ends at its closing quote.
fn after_quote(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest.first() {
        None | Some(b'\t'..=b'\r' | b' ') => Ok(rest),
        Some(_) => Err(Unbalanced),
    }
}

const fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte - b'A' + 10,
    }
}
