//! Choosing elements at random.

use std::collections::HashSet;

use super::arguments::symmetric;
use crate::error::StoreError;
use ferrite_protocol::budget::lookups;
use ferrite_protocol::resp::{Protocol, ReplyWriter};

/// Number of elements that a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    /// This many, each once.
    Distinct(usize),
    /// This many, with repetition.
    Repeated(usize),
}

/// Most elements in a reply with repetition. Redis has no such bound, and tries.
const REPEATED_LEN_MAX: usize = 1 << 24;

/// Reads a count; a negative one allows repetition.
pub(super) fn count(text: &[u8]) -> Result<Count, StoreError> {
    let number = symmetric(text)?;
    from_number(number)
}

/// Reads a count, and a word behind it that asks for pairs; returns true with it for the latter.
pub(super) fn count_and_word(argv: &[&[u8]], word: &[u8]) -> Result<(Count, bool), StoreError> {
    let number = symmetric(argv[0])?;
    match argv[1..] {
        [] => return Ok((from_number(number)?, false)),
        [option] if option.eq_ignore_ascii_case(word) => {}
        _ => return Err(StoreError::Syntax),
    }
    if number.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(StoreError::Refused("ERR value is out of range"));
    }
    Ok((from_number(number)?, true))
}

fn from_number(number: i64) -> Result<Count, StoreError> {
    let size = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    match number < 0 {
        true if size > REPEATED_LEN_MAX => Err(StoreError::Refused("ERR value is out of range")),
        true => Ok(Count::Repeated(size)),
        false => Ok(Count::Distinct(size)),
    }
}

/// Begins a reply of elements, or of pairs; returns true if each pair is an array of its own.
pub(super) fn begin(len: usize, pairs: bool, out: &mut dyn ReplyWriter) -> bool {
    let nested = pairs && out.protocol() == Protocol::Resp3;
    out.array(if pairs && !nested { 2 * len } else { len });
    nested
}

/// Positions below `len`, which is not 0.
pub(super) fn choose(
    len: usize,
    count: Count,
    out: &mut dyn ReplyWriter,
) -> Result<Box<dyn ExactSizeIterator<Item = usize>>, StoreError> {
    Ok(match count {
        Count::Distinct(count) => {
            out.charge(lookups(count.min(len)))?;
            Box::new(distinct(len, count))
        }
        Count::Repeated(count) => Box::new(Repeated { len, left: count }),
    })
}

/// Up to `count` different positions below `len`.
pub(super) fn distinct(len: usize, count: usize) -> std::vec::IntoIter<usize> {
    if count >= len {
        return (0..len).collect::<Vec<_>>().into_iter();
    }
    // Floyd's algorithm: each step draws one position that was not drawn before.
    let mut drawn = HashSet::with_capacity(count);
    let mut chosen = Vec::with_capacity(count);
    for limit in len - count..len {
        let at = fastrand::usize(..=limit);
        let at = if drawn.insert(at) { at } else { limit };
        drawn.insert(at);
        chosen.push(at);
    }
    fastrand::shuffle(&mut chosen);
    chosen.into_iter()
}

struct Repeated {
    len: usize,
    left: usize,
}

impl Iterator for Repeated {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        Some(fastrand::usize(..self.len))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Repeated {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_positions_are_distinct_and_all_occur() {
        let mut counts = [0; 10];
        for _ in 0..2_000 {
            let chosen: HashSet<usize> = distinct(10, 4).collect();
            assert_eq!(chosen.len(), 4);
            chosen.iter().for_each(|&at| counts[at] += 1);
        }
        assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
        assert_eq!(distinct(3, 9).count(), 3);
    }
}
