//! Joins the active data segments of a module into a few large ones.
//!
//! An instance is made with one copy for each segment, and the code that does it is compiled. Linkers
//! write up to 100,000 segments (Go's does for a large program), which would take the compiler seconds.
//!
//! Nobody can see the difference: a memory is zero before its segments are written, in their order, and
//! the code runs after all of them. A segment that does not fit into the memory ends the instance before
//! any code runs, so it alone matters then.

use ferrite_cache::WASM_PAGE_BYTES;
use wasm_encoder::{ConstExpr, Encode};
use wasmparser::{ConstExpr as SourceExpr, Data, DataKind, Error, Operator};

/// Longest gap between segments that is always filled with zeros: a page of the host, which one of
/// them touches anyway.
const GAP_BYTES: u64 = 4096;

/// Number of segments above which longer gaps are filled too …
const SEGMENTS_ENOUGH: usize = 16;

/// … up to this sum, or the sum of the data if that is more.
const FILLING_BYTES: u64 = 1 << 20;

/// The data segments of a module.
#[derive(Debug, Default)]
pub(super) struct Segments<'a> {
    active: Vec<Active<'a>>,
    /// Each segment in the order of the source: the bytes of a passive one, `None` for an active one.
    all: Vec<Option<&'a [u8]>>,
    /// True if the offset of a segment is not known before the module runs.
    unknown: bool,
}

/// A segment that is written when an instance is made.
#[derive(Clone, Copy, Debug)]
struct Active<'a> {
    start: u64,
    bytes: &'a [u8],
}

impl Active<'_> {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// A joined segment.
#[derive(Debug, PartialEq, Eq)]
struct Joined {
    start: u64,
    bytes: Vec<u8>,
}

/// Content of the new data section.
pub(super) struct DataSection {
    /// Number of segments.
    pub(super) count: u32,
    /// The section without its header.
    pub(super) content: Vec<u8>,
}

impl<'a> Segments<'a> {
    /// Adds the next segment of the source.
    pub(super) fn add(&mut self, data: &Data<'a>) -> Result<(), Error> {
        match &data.kind {
            DataKind::Passive => self.all.push(Some(data.data)),
            DataKind::Active { offset_expr, .. } => {
                self.all.push(None);
                match constant_offset(offset_expr)? {
                    Some(start) => self.active.push(Active {
                        start: u64::from(start),
                        bytes: data.data,
                    }),
                    None => self.unknown = true,
                }
            }
        }
        Ok(())
    }

    /// Returns the section for a memory of `memory_pages`; `None` if the source's stays.
    ///
    /// `indices_matter` is true if code names segments. They then keep their indices, and an active one
    /// that is joined to another becomes an empty passive one: to code, both are empty.
    pub(super) fn joined(&self, memory_pages: u64, indices_matter: bool) -> Option<DataSection> {
        if self.active.is_empty() || self.unknown {
            return None;
        }
        let mut joined =
            join(&self.active, memory_pages.saturating_mul(WASM_PAGE_BYTES)).into_iter();
        let mut content = Vec::new();
        let mut count = 0_u32;
        let mut any_active = false;
        let mut write = |segment: Segment<'_>| {
            let active = matches!(segment, Segment::Active(_));
            segment.write(&mut content, active && !any_active);
            any_active |= active;
            count += 1;
        };
        if indices_matter {
            for segment in &self.all {
                write(match segment {
                    Some(bytes) => Segment::Passive(bytes),
                    None => joined.next().map_or(Segment::Passive(&[]), Segment::Active),
                });
            }
        }
        joined.map(Segment::Active).for_each(write);
        let mut section = Vec::with_capacity(content.len() + 5);
        count.encode(&mut section);
        section.extend(content);
        Some(DataSection {
            count,
            content: section,
        })
    }
}

/// A segment to write.
enum Segment<'a> {
    Active(Joined),
    Passive(&'a [u8]),
}

impl Segment<'_> {
    fn write(&self, out: &mut Vec<u8>, computed: bool) {
        const ACTIVE: u32 = 0;
        const PASSIVE: u32 = 1;
        match self {
            Self::Active(Joined { start, bytes }) => {
                ACTIVE.encode(out);
                let offset = ConstExpr::i32_const(*start as u32 as i32);
                let offset = if computed {
                    offset.with_i32_const(0).with_i32_add()
                } else {
                    offset
                };
                offset.encode(out);
                bytes.as_slice().encode(out);
            }
            Self::Passive(bytes) => {
                PASSIVE.encode(out);
                bytes.encode(out);
            }
        }
    }
}

/// Joins segments that are written in this order into a memory of `memory_bytes`.
fn join(segments: &[Active<'_>], memory_bytes: u64) -> Vec<Joined> {
    if let Some(outside) = segments.iter().find(|segment| segment.end() > memory_bytes) {
        return vec![Joined {
            start: outside.start,
            bytes: outside.bytes.to_vec(),
        }];
    }
    let mut places: Vec<(u64, u64)> = segments
        .iter()
        .filter(|segment| !segment.bytes.is_empty())
        .map(|segment| (segment.start, segment.end()))
        .collect();
    places.sort_unstable();
    let sum = places.iter().map(|(start, end)| end - start).sum();
    let mut places = close_gaps(&places, GAP_BYTES);
    if places.len() > SEGMENTS_ENOUGH {
        places = close_gaps(&places, longest_gap(&places, FILLING_BYTES.max(sum)));
    }
    let mut joined: Vec<Joined> = places
        .iter()
        .map(|&(start, end)| Joined {
            start,
            bytes: vec![0; (end - start) as usize],
        })
        .collect();
    for segment in segments {
        let after = joined.partition_point(|joined| joined.start <= segment.start);
        if let Some(index) = after.checked_sub(1)
            && let Some(joined) = joined.get_mut(index)
        {
            let start = (segment.start - joined.start) as usize;
            // An empty segment may lie outside all of the places.
            if let Some(bytes) = joined.bytes.get_mut(start..start + segment.bytes.len()) {
                bytes.copy_from_slice(segment.bytes);
            }
        }
    }
    joined.retain_mut(trim);
    joined
}

/// Joins sorted places (start, end) that overlap or are at most `gap` apart.
fn close_gaps(places: &[(u64, u64)], gap: u64) -> Vec<(u64, u64)> {
    let mut closed: Vec<(u64, u64)> = Vec::new();
    for &(start, end) in places {
        match closed.last_mut() {
            Some(last) if start <= last.1.saturating_add(gap) => last.1 = last.1.max(end),
            _ => closed.push((start, end)),
        }
    }
    closed
}

/// Returns the length up to which gaps are filled so that about [`SEGMENTS_ENOUGH`] places remain, or
/// `filling_bytes` are spent.
fn longest_gap(places: &[(u64, u64)], filling_bytes: u64) -> u64 {
    let mut gaps: Vec<u64> = places
        .windows(2)
        .map(|pair| pair[1].0.saturating_sub(pair[0].1))
        .collect();
    gaps.sort_unstable();
    let wanted = places.len() - SEGMENTS_ENOUGH;
    let mut left = filling_bytes;
    let mut longest = GAP_BYTES;
    // All gaps of one length are filled or none.
    for gaps in gaps[..wanted.min(gaps.len())].chunk_by(|one, other| one == other) {
        let sum = gaps[0].saturating_mul(gaps.len() as u64);
        if sum > left {
            break;
        }
        left -= sum;
        longest = gaps[0];
    }
    longest
}

/// Removes zeros at both ends, which the memory holds already. Returns false if nothing is left.
fn trim(joined: &mut Joined) -> bool {
    let Some(last) = joined.bytes.iter().rposition(|&byte| byte != 0) else {
        return false;
    };
    joined.bytes.truncate(last + 1);
    let first = joined.bytes.iter().position(|&byte| byte != 0).unwrap_or(0);
    joined.bytes.drain(..first);
    joined.start += first as u64;
    true
}

/// Returns the value of an expression of `i32` constants.
pub(crate) fn constant_offset(expression: &SourceExpr<'_>) -> Result<Option<u32>, Error> {
    let mut stack: Vec<u32> = Vec::new();
    for operator in expression.get_operators_reader() {
        let operator = operator?;
        if let Operator::I32Const { value } = operator {
            stack.push(value.cast_unsigned());
            continue;
        }
        if let Operator::End = operator {
            break;
        }
        let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else {
            return Ok(None);
        };
        stack.push(match operator {
            Operator::I32Add => left.wrapping_add(right),
            Operator::I32Sub => left.wrapping_sub(right),
            Operator::I32Mul => left.wrapping_mul(right),
            _ => return Ok(None),
        });
    }
    Ok(stack.pop())
}

#[cfg(test)]
mod tests {
    use super::{Active, FILLING_BYTES, Joined, SEGMENTS_ENOUGH, join};

    fn segments<'a>(list: &[(u64, &'a [u8])]) -> Vec<Active<'a>> {
        list.iter()
            .map(|&(start, bytes)| Active { start, bytes })
            .collect()
    }

    fn joined(start: u64, bytes: &[u8]) -> Joined {
        Joined {
            start,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn later_segments_overwrite_earlier_ones() {
        let list = segments(&[(10, b"abcdef"), (12, b"XY"), (8, b"12"), (16, b"")]);
        assert_eq!(join(&list, 65_536), [joined(8, b"12abXYef")]);
        let list = segments(&[(12, b"XY"), (10, b"abcdef")]);
        assert_eq!(join(&list, 65_536), [joined(10, b"abcdef")]);
    }

    #[test]
    fn zeros_at_the_ends_are_left_out_and_gaps_filled() {
        let list = segments(&[(0, b"\0\0a\0"), (100, b"b\0"), (60_000, b"\0\0")]);
        let mut expected = vec![0; 99];
        expected[0] = b'a';
        expected[98] = b'b';
        assert_eq!(join(&list, 65_536), [joined(2, &expected)]);
        assert_eq!(join(&segments(&[(5, b"\0")]), 65_536), []);
        let far = segments(&[(60_000, b"b"), (0, b"a")]);
        assert_eq!(
            join(&far, 65_536),
            [joined(0, b"a"), joined(60_000, b"b")],
            "few stay as far apart as they are"
        );
    }

    #[test]
    fn a_segment_outside_is_the_only_one() {
        let list = segments(&[(0, b"a"), (65_535, b"bc"), (65_600, b"d")]);
        assert_eq!(join(&list, 65_536), [joined(65_535, b"bc")]);
        assert_eq!(join(&segments(&[(1, b"")]), 0), [joined(1, b"")]);
    }

    #[test]
    fn many_become_few_as_long_as_the_zeros_between_them_are_few() {
        for (distance, count, most) in [
            (100, 50_000, 1),
            (8_000, 100, SEGMENTS_ENOUGH),
            // Filling all of these would take gigabytes.
            (40_000, 100_000, 100_000),
        ] {
            let list: Vec<_> = (0..count)
                .map(|number| Active {
                    start: number * distance,
                    bytes: b"x",
                })
                .collect();
            let joined = join(&list, 4 << 30);
            assert!(joined.len() <= most, "{distance}: {}", joined.len());
            let bytes: u64 = joined.iter().map(|joined| joined.bytes.len() as u64).sum();
            assert!(bytes <= count * 4096 + FILLING_BYTES, "{distance}: {bytes}");
        }
    }
}
