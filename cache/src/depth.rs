//! Exports and offsets that the compiler adds so that the host can limit the depth of calls.

use serde::{Deserialize, Serialize};

/// Name of the exported global that holds the remaining call depth: a mutable `i32`, read as
/// unsigned.
///
/// The host sets it to the limit before any code of the instance runs. All its bits are one after
/// a trap for exceeding the limit, and only then.
pub const DEPTH_REMAINING_EXPORT: &str = "__ferrite_depth_left";

/// Name of the exported start function, which the host runs after it has set the limit.
pub const DEPTH_START_EXPORT: &str = "__ferrite_depth_start";

/// Describes what the compiler added to a module that counts its call depth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthPlan {
    /// True if the module's start function is exported as [`DEPTH_START_EXPORT`] instead.
    pub start: bool,
    /// Maps code offsets to those before the counting was added.
    pub moves: CodeOffsetMap,
}

/// Maps offsets of moved code to its original offsets.
///
/// The text holds two numbers for each position where the distance changes: the bytes since the
/// previous position, and the change of the distance between new and original offset. Numbers are
/// written as in source maps (<https://tc39.es/ecma426/>, base64 VLQ): digits of 5 bits, lowest
/// first, the sign in the lowest bit, and 32 added to every digit but the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeOffsetMap(String);

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl CodeOffsetMap {
    /// Returns the original offset of the code that is at `offset` now. Added code has the offset of
    /// the code after it.
    ///
    /// A malformed number ends the list.
    #[must_use]
    pub fn original_offset(&self, offset: u64) -> u64 {
        let original =
            |offset: u64, distance: i64| offset.saturating_add_signed(distance.saturating_neg());
        let mut digits = self.0.bytes();
        let (mut at, mut distance) = (0_u64, 0_i64);
        while let (Some(gap), Some(grown)) = (number(&mut digits), number(&mut digits)) {
            at = at.saturating_add_signed(gap);
            let next = distance.saturating_add(grown);
            if at > offset {
                return original(offset, distance).min(original(at, next));
            }
            distance = next;
        }
        original(offset, distance)
    }

    /// Returns the length of the text, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if no code moved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Builds a [`CodeOffsetMap`] from positions in rising order.
#[derive(Debug, Default)]
pub struct CodeOffsetMapWriter {
    text: String,
    at: i64,
    distance: i64,
}

impl CodeOffsetMapWriter {
    /// Records that code moved from `before` to `now`; writes nothing if the distance is the same
    /// as at the previous position.
    pub fn push(&mut self, before: usize, now: usize) {
        let (before, now) = (before as i64, now as i64);
        let distance = now - before;
        if distance != self.distance {
            self.number(now - self.at);
            self.number(distance - self.distance);
            (self.at, self.distance) = (now, distance);
        }
    }

    fn number(&mut self, number: i64) {
        let mut rest = (number.unsigned_abs() << 1) | u64::from(number < 0);
        loop {
            let more = u64::from(rest >= 32) * 32;
            let digit = (rest % 32 + more) as usize;
            self.text.push(char::from(DIGITS[digit]));
            rest >>= 5;
            if rest == 0 {
                return;
            }
        }
    }

    /// Returns the map.
    #[must_use]
    pub fn finish(self) -> CodeOffsetMap {
        CodeOffsetMap(self.text)
    }
}

/// Decodes the next number; `None` at the end and for a malformed one.
fn number(digits: &mut impl Iterator<Item = u8>) -> Option<i64> {
    let (mut number, mut shift) = (0_u64, 0_u32);
    loop {
        let digit = digits.next()?;
        let value = DIGITS.iter().position(|&one| one == digit)? as u64;
        number |= (value % 32).checked_shl(shift)?;
        if value < 32 {
            let magnitude = (number >> 1).cast_signed();
            return Some(if number & 1 == 1 {
                -magnitude
            } else {
                magnitude
            });
        }
        shift += 5;
    }
}

#[cfg(test)]
mod tests {
    use super::{CodeOffsetMap, CodeOffsetMapWriter};

    #[test]
    fn offsets_lead_back_from_their_place_on() {
        let mut writer = CodeOffsetMapWriter::default();
        // The first place moved towards the start, as after a section that was written shorter.
        for (before, now) in [(100, 90), (200, 190), (300, 319), (1_000_000, 1_000_020)] {
            writer.push(before, now);
        }
        let moves = writer.finish();
        for (now, before) in [
            (0, 0),
            (89, 89),
            (90, 100),
            (190, 200),
            (318, 300),
            (319, 300),
            (1_000_019, 1_000_000),
            (1_000_020, 1_000_000),
            (2_000_020, 2_000_000),
        ] {
            assert_eq!(moves.original_offset(now), before, "{now}");
        }
        assert_eq!(CodeOffsetMap::default().original_offset(7), 7);
    }

    #[test]
    fn text_from_elsewhere_is_no_danger() {
        for text in [
            "?",
            "g",
            "gggggggggggggggggggggggggggA",
            "//////////P//////////P",
            "é",
        ] {
            let moves = CodeOffsetMap(text.repeat(3));
            for offset in [0, 1, u64::MAX] {
                let _ = moves.original_offset(offset);
            }
        }
    }
}
