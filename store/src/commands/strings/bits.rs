//! Strings as bit arrays.

use crate::commands::arguments::integer;
use crate::commands::spec::{Answer, Argv, DENYOOM, FAST, Keys, Out, READONLY, WRITE, commands};
use crate::commands::strings::charge_growth;
use crate::error::StoreError;
use crate::execution::view::{Missing, View};
use crate::value::Value;
use crate::value::deadline::Deadline;
use crate::value::text::Text;
use ferrite_protocol::budget::bytes as units;
use ferrite_protocol::number::parse_integer;
use ferrite_protocol::resp::ReplyWriter;

commands! {
    "setbit", 4, WRITE | DENYOOM, Keys::FIRST => setbit,
        "bitmap", "key offset value",
        "Sets a bit of a string and returns what it was.";
    "getbit", 3, READONLY | FAST, Keys::FIRST => getbit,
        "bitmap", "key offset",
        "Returns a bit of a string.";
    "bitcount", -2, READONLY, Keys::FIRST => bitcount,
        "bitmap", "key [start [end [BYTE|BIT]]]",
        "Counts the bits that are set.";
    "bitpos", -3, READONLY, Keys::FIRST => bitpos,
        "bitmap", "key bit [start [end [BYTE|BIT]]]",
        "Finds the first bit that is set, or not.";
    "bitop", -4, WRITE | DENYOOM, Keys::Positions { first: 2, last: -1, step: 1 } => bitop,
        "bitmap", "AND|OR|XOR|NOT destkey key [key ...]",
        "Combines strings bit by bit.";
}

/// Bytes that are gone through at a time.
const BYTES_PER_SLICE: usize = 64 << 10;

/// Reads the number of a bit; returns the index of its byte, and the bit's mask in it.
fn bit<V: View>(view: &V, text: &[u8]) -> Result<(usize, u8), StoreError> {
    let bits_max = view.limits().string_bytes_max.saturating_mul(8);
    let number = parse_integer(text)
        .and_then(|number| usize::try_from(number).ok())
        .filter(|number| *number < bits_max)
        .ok_or(StoreError::Refused(
            "ERR bit offset is not an integer or out of range",
        ))?;
    Ok((number / 8, 0x80 >> (number % 8)))
}

fn setbit<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (byte, mask) = bit(view, argv[2])?;
    let on = match argv[3] {
        b"0" => false,
        b"1" => true,
        _ => {
            return Err(StoreError::Refused(
                "ERR bit is not an integer or out of range",
            ));
        }
    };
    // What changes nothing is no write: it causes no event.
    if let Some(text) = view.read::<Text>(argv[1])?
        && let Some(found) = text.as_slice().get(byte)
        && (found & mask != 0) == on
    {
        out.int(i64::from(on));
        return Ok(());
    }
    let old = view.update::<Text, _>(argv[1], Missing::Create, |text| {
        charge_growth(text.len(), byte + 1, out)?;
        let bytes = text.bytes_mut(Some(byte..byte + 1));
        if bytes.len() <= byte {
            bytes.resize(byte + 1, 0);
        }
        let old = bytes[byte] & mask != 0;
        if on {
            bytes[byte] |= mask;
        } else {
            bytes[byte] &= !mask;
        }
        Ok(old)
    })?;
    out.int(i64::from(old == Some(true)));
    Ok(())
}

fn getbit<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (byte, mask) = bit(view, argv[2])?;
    let text = view.read::<Text>(argv[1])?;
    let byte = text
        .and_then(|text| text.as_slice().get(byte).copied())
        .unwrap_or(0);
    out.int(i64::from(byte & mask != 0));
    Ok(())
}

/// A range of bits of a string.
struct Span {
    start: i64,
    /// The last bit or byte, included.
    end: i64,
    in_bits: bool,
}

impl Span {
    fn parse(start: &[u8], end: Option<&[u8]>, unit: Option<&[u8]>) -> Result<Self, StoreError> {
        let start = integer(start)?;
        let in_bits = match unit {
            None => false,
            Some(unit) if unit.eq_ignore_ascii_case(b"byte") => false,
            Some(unit) if unit.eq_ignore_ascii_case(b"bit") => true,
            Some(_) => return Err(StoreError::Syntax),
        };
        let end = end.map(integer).transpose()?.unwrap_or(-1);
        Ok(Self {
            start,
            end,
            in_bits,
        })
    }

    /// The first bit and the one after the last, for a string of `len` bytes; `None` if empty.
    fn bits(&self, len: usize) -> Option<(usize, usize)> {
        // Even in bits, strings are bounded far below the range of 64 bits.
        let total = if self.in_bits {
            len as i64 * 8
        } else {
            len as i64
        };
        let from_start = |at: i64| {
            if at < 0 {
                total.saturating_add(at).max(0)
            } else {
                at
            }
        };
        let (start, end) = (from_start(self.start), from_start(self.end).min(total - 1));
        let width = if self.in_bits { 1 } else { 8 };
        (start <= end).then(|| (start as usize * width, (end as usize + 1) * width))
    }
}

fn is_set(bytes: &[u8], bit: usize) -> bool {
    bytes[bit / 8] & (0x80 >> (bit % 8)) != 0
}

fn bitcount<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let span = match argv[2..] {
        [] => Span {
            start: 0,
            end: -1,
            in_bits: false,
        },
        [start] => Span::parse(start, None, None)?,
        [start, end] => Span::parse(start, Some(end), None)?,
        [start, end, unit] => Span::parse(start, Some(end), Some(unit))?,
        _ => return Err(StoreError::Syntax),
    };
    let bytes = view.read::<Text>(argv[1])?.map_or(&b""[..], Text::as_slice);
    // Two negative indexes in the wrong order select nothing, even if both are out of range.
    let upside_down = span.start < 0 && span.end < 0 && span.start > span.end;
    let Some((start, end)) = span.bits(bytes.len()).filter(|_| !upside_down) else {
        out.int(0);
        return Ok(());
    };
    // Counts whole bytes at once, and the bits at both edges one by one.
    let (first, last) = (start.div_ceil(8), end / 8);
    let ones = if first >= last {
        (start..end).filter(|bit| is_set(bytes, *bit)).count()
    } else {
        let mut whole = 0;
        for part in bytes[first..last].chunks(BYTES_PER_SLICE) {
            out.charge(units(part.len() as u64))?;
            whole += part
                .iter()
                .map(|byte| byte.count_ones() as usize)
                .sum::<usize>();
        }
        let ragged = (start..first * 8).chain(last * 8..end);
        whole + ragged.filter(|bit| is_set(bytes, *bit)).count()
    };
    out.int(ones as i64);
    Ok(())
}

fn bitpos<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let wanted = match parse_integer(argv[2]) {
        Some(0) => false,
        Some(1) => true,
        Some(_) => return Err(StoreError::Refused("ERR The bit argument must be 1 or 0.")),
        None => return Err(StoreError::NotAnInteger),
    };
    let (span, open_ended) = match argv[3..] {
        [] => (
            Span {
                start: 0,
                end: -1,
                in_bits: false,
            },
            true,
        ),
        [start] => (Span::parse(start, None, None)?, true),
        [start, end] => (Span::parse(start, Some(end), None)?, false),
        [start, end, unit] => (Span::parse(start, Some(end), Some(unit))?, false),
        _ => return Err(StoreError::Syntax),
    };
    let Some(text) = view.read::<Text>(argv[1])? else {
        // A missing key counts as an endless row of zeros.
        out.int(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let bytes = text.as_slice();
    let Some((start, end)) = span.bits(bytes.len()) else {
        out.int(-1);
        return Ok(());
    };
    let skipped = if wanted { 0x00 } else { 0xff };
    let mut at = start;
    let mut paid = start;
    while at < end && is_set(bytes, at) != wanted {
        if at >= paid {
            paid = at + 8 * BYTES_PER_SLICE;
            out.charge(units((paid.min(end) - at) as u64 / 8))?;
        }
        at += if at % 8 == 0 && bytes[at / 8] == skipped {
            8
        } else {
            1
        };
    }
    out.int(match (at < end, wanted) {
        (true, _) => at as i64,
        // A search without an end finds a zero behind the string.
        (false, false) if open_ended => bytes.len() as i64 * 8,
        (false, _) => -1,
    });
    Ok(())
}

/// Combines each byte with the one of another string at its place, or with 0 behind its end.
fn combine_with(
    result: &mut [u8],
    other: &[u8],
    combine: fn(u8, u8) -> u8,
    out: &mut dyn ReplyWriter,
) -> Result<(), StoreError> {
    let mut rest = other;
    for part in result.chunks_mut(BYTES_PER_SLICE) {
        // A call for each byte.
        out.charge(part.len() as u64)?;
        let (others, more) = rest.split_at(part.len().min(rest.len()));
        rest = more;
        let (both, alone) = part.split_at_mut(others.len());
        for (byte, other) in both.iter_mut().zip(others) {
            *byte = combine(*byte, *other);
        }
        alone.iter_mut().for_each(|byte| *byte = combine(*byte, 0));
    }
    Ok(())
}

fn bitop<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let combine: Option<fn(u8, u8) -> u8> = match argv[1].to_ascii_lowercase().as_slice() {
        b"and" => Some(|left, right| left & right),
        b"or" => Some(|left, right| left | right),
        b"xor" => Some(|left, right| left ^ right),
        b"not" if argv.len() == 4 => None,
        b"not" => {
            return Err(StoreError::Refused(
                "ERR BITOP NOT must be called with a single source key.",
            ));
        }
        _ => return Err(StoreError::Syntax),
    };
    let mut texts: Vec<Text> = Vec::with_capacity(argv.len() - 3);
    for key in &argv[3..] {
        texts.push(view.read::<Text>(key)?.cloned().unwrap_or_default());
    }
    let len = texts.iter().map(Text::len).max().unwrap_or(0);
    // Made, and copied when it is put; its bytes are counted before.
    out.count_written(len as u64)?;
    out.charge(2 * units(len as u64))?;
    let mut result = texts[0].as_slice().to_vec();
    result.resize(len, 0);
    match combine {
        None => result.iter_mut().for_each(|byte| *byte = !*byte),
        Some(combine) => {
            for text in &texts[1..] {
                combine_with(&mut result, text.as_slice(), combine, out)?;
            }
        }
    }
    if len == 0 {
        view.remove(argv[2])?;
    } else {
        view.put(argv[2], Value::text(&result), Deadline::NEVER)?;
    }
    out.int(len as i64);
    Ok(())
}
