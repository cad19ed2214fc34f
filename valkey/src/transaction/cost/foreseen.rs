//! The cost of a command of the server, as far as its arguments and the sizes of its keys tell.
//!
//! The server runs its own commands to the end and makes their whole reply. So what can be foreseen is
//! charged before the command runs; the rest is charged by the length of its reply.

use ferrite_protocol::budget::{
    ACCESS, Budget, ELEMENT, Exceeded, LOOKUP, bytes, elements, lookups,
};
use ferrite_protocol::number::parse_integer;

use crate::transaction::cost::shape::Shape;

/// The size of the value at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Nothing,
    /// Bytes of a string.
    Bytes(usize),
    /// Elements of a collection.
    Elements(usize),
}

/// A cost that is known before a command runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    work: u64,
    written_bytes: u64,
    reply_bytes: u64,
}

/// A range of a sorted set as a command asks for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Between<'a> {
    /// Between two places.
    Places(&'a [u8], &'a [u8]),
    /// Between two scores or names: the command that counts the elements, and the most that are visited of
    /// them.
    Counted {
        argv: [&'a [u8]; 4],
        visited_max: u64,
    },
}

/// Reads the range that a command of a sorted set asks for; `None` if it is not one.
pub(crate) fn between<'a>(argv: &[&'a [u8]]) -> Option<Between<'a>> {
    let name = argv[0].to_ascii_lowercase();
    // The other one names the key to write first.
    let key_at = if name == b"zrangestore" { 2 } else { 1 };
    let (&key, &first, &last) = (
        argv.get(key_at)?,
        argv.get(key_at + 1)?,
        argv.get(key_at + 2)?,
    );
    let options = &argv[key_at + 3..];
    let has = |option: &str| {
        options
            .iter()
            .any(|word| word.eq_ignore_ascii_case(option.as_bytes()))
    };
    let ends_with = |end: &[u8]| name.ends_with(end);
    let count: &[u8] = match () {
        () if ends_with(b"byscore") || has("BYSCORE") => b"zcount",
        () if ends_with(b"bylex") || has("BYLEX") => b"zlexcount",
        () => return Some(Between::Places(first, last)),
    };
    let reversed = name.starts_with(b"zrev") || has("REV");
    let (min, max) = if reversed {
        (last, first)
    } else {
        (first, last)
    };
    let limit = options.windows(3).find_map(|words| {
        let number = |at: usize| u64::try_from(parse_integer(words[at])?).ok();
        words[0]
            .eq_ignore_ascii_case(b"LIMIT")
            .then(|| number(1)?.checked_add(number(2)?))
            .flatten()
    });
    Some(Between::Counted {
        argv: [count, key, min, max],
        visited_max: limit.unwrap_or(u64::MAX),
    })
}

impl Cost {
    /// Foresees the cost of a command with this number of keys, whose values have these sizes; the sizes
    /// may be left out where they do not matter.
    pub(crate) fn foresee(shape: Shape, argv: &[&[u8]], keys: usize, sizes: &[Size]) -> Self {
        let number = |at: usize| argv.get(at).and_then(|text| parse_integer(text));
        let mut cost = Self {
            work: ACCESS.saturating_mul(keys as u64),
            ..Self::default()
        };
        match shape {
            Shape::Flat => {}
            Shape::Whole => cost.whole(sizes),
            Shape::Sort => {
                cost.whole(sizes);
                for size in sizes {
                    if let Size::Elements(len) = *size {
                        // Comparisons, and the keys that patterns name.
                        let depth = u64::from(usize::BITS - len.leading_zeros());
                        cost.work(elements(len).saturating_mul(depth));
                        cost.work(ACCESS.saturating_mul(len as u64));
                    }
                }
            }
            Shape::Smallest => {
                let len = |size: &Size| match *size {
                    Size::Elements(len) => len,
                    Size::Nothing | Size::Bytes(_) => 0,
                };
                let smallest = sizes.iter().map(len).filter(|len| *len > 0).min();
                let lookups = lookups(smallest.unwrap_or(0));
                cost.work(lookups.saturating_mul(keys as u64));
            }
            Shape::Strings => {
                for size in sizes {
                    if let Size::Bytes(len) = *size {
                        cost.reply_bytes = cost.reply_bytes.saturating_add(len as u64);
                    }
                }
            }
            Shape::Elements => {
                for size in sizes {
                    cost.work(match *size {
                        Size::Nothing | Size::Bytes(_) => 0,
                        Size::Elements(len) => elements(len),
                    });
                }
            }
            Shape::Substring => {
                let (start, end) = places(number(2), number(3), total(sizes));
                let len = end.saturating_sub(start);
                cost.reply_bytes = len;
            }
            Shape::Random => {
                let asked = match number(2).unwrap_or(1) {
                    count if count < 0 => count.unsigned_abs(),
                    count => count.unsigned_abs().min(total(sizes)),
                };
                cost.work(LOOKUP.saturating_mul(asked));
            }
            Shape::Taken => {
                let count = number(2).map_or(1, i64::unsigned_abs);
                cost.work(LOOKUP.saturating_mul(count.min(total(sizes))));
            }
            Shape::CountOrOne | Shape::CountOrAll => {
                let otherwise = if shape == Shape::CountOrOne {
                    1
                } else {
                    u64::MAX
                };
                // A count that is none, or not above zero, is refused or means all.
                let count = argv
                    .windows(2)
                    .rev()
                    .find(|words| words[0].eq_ignore_ascii_case(b"COUNT"))
                    .map(|words| parse_integer(words[1]).filter(|count| *count > 0))
                    .map_or(otherwise, |count| count.map_or(u64::MAX, i64::unsigned_abs));
                let each = if shape == Shape::CountOrOne {
                    LOOKUP
                } else {
                    ELEMENT
                };
                for size in sizes {
                    let len = total(std::slice::from_ref(size));
                    cost.work(each.saturating_mul(count.min(len)));
                }
            }
            Shape::Range => {
                let len = total(sizes);
                let (start, end) = places(number(2), number(3), len);
                cost.work(start.min(len - start));
                cost.work(ELEMENT.saturating_mul(end.saturating_sub(start)));
            }
            Shape::Between => {
                let len = total(sizes);
                let visited = match between(argv) {
                    Some(Between::Places(start, end)) => {
                        let (start, end) = places(parse_integer(start), parse_integer(end), len);
                        end.saturating_sub(start)
                    }
                    Some(Between::Counted { visited_max, .. }) => len.min(visited_max),
                    None => 0,
                };
                // What is removed or stored is looked up as well.
                let reads = !argv[0].eq_ignore_ascii_case(b"zrangestore")
                    && !argv[0].to_ascii_lowercase().starts_with(b"zrem");
                let each = if reads { ELEMENT } else { LOOKUP };
                cost.work(each.saturating_mul(visited));
            }
            Shape::Outside => {
                let len = total(sizes);
                let (start, end) = places(number(2), number(3), len);
                let kept = end.saturating_sub(start);
                cost.work(ELEMENT.saturating_mul(len - kept));
            }
            Shape::Place => {
                let len = total(sizes);
                let at = number(2).unwrap_or(0);
                // From the nearer end.
                let from = at.unsigned_abs().min(len);
                cost.work(from.min(len - from));
            }
            Shape::Trim => {
                let len = total(sizes);
                let limit = |option: &str| {
                    let mut words = argv.iter();
                    words.find(|word| word.eq_ignore_ascii_case(option.as_bytes()))?;
                    words.find_map(|word| parse_integer(word))
                };
                let trims_by_id = argv.iter().any(|word| word.eq_ignore_ascii_case(b"MINID"));
                let gone = match limit("MAXLEN") {
                    _ if trims_by_id => len,
                    Some(most) => len.saturating_sub(most.unsigned_abs()),
                    None => 0,
                };
                cost.work(gone);
            }
            Shape::SetRange => {
                let len = argv.get(3).map_or(0, |patch| patch.len() as i64);
                cost.grown_to(number(2).and_then(|at| at.checked_add(len)), sizes);
            }
            Shape::SetBit => cost.grown_to(number(2).map(|bit| bit / 8 + 1), sizes),
            Shape::BitField => {
                let ends = argv.windows(3).filter_map(|words| {
                    let writes = words[0].eq_ignore_ascii_case(b"set")
                        || words[0].eq_ignore_ascii_case(b"incrby");
                    writes.then(|| offset(words[2])).flatten()
                });
                cost.grown_to(ends.max(), sizes);
            }
            Shape::CommonSubsequence => {
                let len = |size: Option<&Size>| match size {
                    Some(Size::Bytes(len)) => 1 + *len as u64,
                    _ => 1,
                };
                cost.work(len(sizes.first()).saturating_mul(len(sizes.get(1))));
            }
        }
        cost
    }

    /// Adds the work of going through all values.
    fn whole(&mut self, sizes: &[Size]) {
        for size in sizes {
            self.work(match *size {
                Size::Nothing => 0,
                Size::Bytes(len) => bytes(len as u64),
                Size::Elements(len) => lookups(len),
            });
        }
    }

    /// Adds what a string costs that has this length afterwards, if it was shorter.
    fn grown_to(&mut self, end: Option<i64>, sizes: &[Size]) {
        let Some(end) = end else { return };
        let len = match sizes.first() {
            Some(Size::Bytes(len)) => *len as u64,
            _ => 0,
        };
        let grown = u64::try_from(end).unwrap_or(0).saturating_sub(len);
        self.written_bytes = grown;
        self.work(bytes(grown.saturating_add(len)));
    }

    fn work(&mut self, units: u64) {
        self.work = self.work.saturating_add(units);
    }

    /// The cost of a reply, and of what is written, that are at least so long.
    pub(crate) const fn at_least(reply_bytes: u64, written_bytes: u64) -> Self {
        Self {
            work: 0,
            written_bytes,
            reply_bytes,
        }
    }

    /// Charges a budget for it.
    ///
    /// # Errors
    ///
    /// The reason why the command must not run.
    pub(crate) fn charge(self, budget: &Budget<'_>) -> Result<(), Exceeded> {
        budget.charge(self.work)?;
        if self.reply_bytes > budget.bounds().reply_bytes_max as u64 {
            return Err(budget.exceed(Exceeded::Reply));
        }
        budget.count_written(self.written_bytes)
    }
}

/// Number of elements or bytes of a command's only value, or of all.
fn total(sizes: &[Size]) -> u64 {
    let len = |size: &Size| match *size {
        Size::Nothing => 0,
        Size::Bytes(len) | Size::Elements(len) => len as u64,
    };
    sizes.iter().map(len).fold(0, u64::saturating_add)
}

/// The first place of a range and the one behind its last, out of `len` places that are counted from the
/// end if negative. A place that is no number is refused later, so that it costs nothing.
fn places(first: Option<i64>, last: Option<i64>, len: u64) -> (u64, u64) {
    let (Some(first), Some(last)) = (first, last) else {
        return (0, 0);
    };
    let place = |at: i64| match u64::try_from(at) {
        Ok(at) => at,
        Err(_) => len.saturating_sub(at.unsigned_abs()),
    };
    // A last place before the first element is behind none.
    let end = if last < 0 && last.unsigned_abs() > len {
        0
    } else {
        place(last).saturating_add(1)
    };
    (place(first).min(len), end.min(len))
}

/// Returns true if these places are the first and the last of a command's only value.
pub(crate) fn whole_range(first: Option<&&[u8]>, last: Option<&&[u8]>, sizes: &[Size]) -> bool {
    let place = |word: Option<&&[u8]>| word.and_then(|text| parse_integer(text));
    let len = total(sizes);
    places(place(first), place(last), len) == (0, len)
}

/// The byte in which the number of a bit, or of an integer of up to 64 bits after `#`, ends at most.
fn offset(word: &[u8]) -> Option<i64> {
    const BYTES_MAX: i64 = 8;
    match word.strip_prefix(b"#") {
        Some(index) => parse_integer(index)?.checked_add(1)?.checked_mul(BYTES_MAX),
        None => Some(parse_integer(word)? / 8 + 1 + BYTES_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::{Between, Cost, Shape, Size, between};
    use ferrite_protocol::budget::{Bounds, Budget, Exceeded};

    fn charge(line: &str, sizes: &[Size]) -> Result<u64, Exceeded> {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let bounds = Bounds {
            work_max: 10_000_000,
            written_bytes_max: 1_000,
            reply_bytes_max: 1 << 20,
        };
        let budget = Budget::new(bounds, &|| false);
        let shape = Shape::of(&argv[0].to_ascii_lowercase());
        Cost::foresee(shape, &argv, sizes.len(), sizes).charge(&budget)?;
        if !shape.needs_sizes() {
            let without = Cost::foresee(shape, &argv, sizes.len(), &[]);
            assert_eq!(without, Cost::foresee(shape, &argv, sizes.len(), sizes));
        }
        Ok(budget.work())
    }

    #[test]
    fn the_worst_is_refused_before_it_runs() {
        let million = Size::Elements(1_000_000);
        for (line, sizes, reason) in [
            (
                "SRANDMEMBER s -16777216",
                vec![Size::Elements(1)],
                Exceeded::Work,
            ),
            ("sunion a b", vec![million; 2], Exceeded::Work),
            ("SORT a ALPHA", vec![million], Exceeded::Work),
            ("LREM a 0 x", vec![million], Exceeded::Work),
            ("DUMP a", vec![million], Exceeded::Work),
            ("BITCOUNT a", vec![Size::Bytes(512 << 20)], Exceeded::Work),
            ("LCS a b", vec![Size::Bytes(100_000); 2], Exceeded::Work),
            ("SRANDMEMBER s 1000000", vec![million], Exceeded::Work),
            ("SPOP s 1000000", vec![million], Exceeded::Work),
            ("LRANGE l 0 -1", vec![million], Exceeded::Work),
            ("LTRIM l 1 0", vec![million], Exceeded::Work),
            ("ZRANGE z 0 -1", vec![million], Exceeded::Work),
            ("ZRANGESTORE y z 0 500000", vec![million], Exceeded::Work),
            ("ZREMRANGEBYSCORE z 0 1", vec![million], Exceeded::Work),
            ("ZRANGEBYSCORE z 0 1", vec![million; 2], Exceeded::Work),
            ("XRANGE x - +", vec![million], Exceeded::Work),
            ("XREAD COUNT 0 STREAMS x 0", vec![million], Exceeded::Work),
            ("LMPOP 1 l LEFT COUNT 999999", vec![million], Exceeded::Work),
            (
                "GEOSEARCH g FROMLONLAT 0 0",
                vec![million; 2],
                Exceeded::Work,
            ),
            ("DEL a b", vec![million; 2], Exceeded::Work),
            ("MODULE.COMMAND a", vec![million], Exceeded::Work),
            (
                "GETRANGE a 0 -1",
                vec![Size::Bytes(2 << 20)],
                Exceeded::Reply,
            ),
            ("MGET a a", vec![Size::Bytes(1 << 20); 2], Exceeded::Reply),
            ("SETRANGE a 1000 x", vec![Size::Nothing], Exceeded::Written),
            ("SETBIT a 8000 1", vec![Size::Nothing], Exceeded::Written),
            (
                "BITFIELD a SET u8 #4000 1",
                vec![Size::Nothing],
                Exceeded::Written,
            ),
        ] {
            assert_eq!(charge(line, &sizes), Err(reason), "{line}");
        }
    }

    #[test]
    fn the_elements_between_two_scores_can_be_counted() {
        let ask = |line: &str| {
            let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            match between(&argv)? {
                Between::Counted { argv, visited_max } => {
                    let argv = argv.map(String::from_utf8_lossy).join(" ");
                    Some((argv, visited_max))
                }
                Between::Places(..) => None,
            }
        };
        let all = u64::MAX;
        for (line, expected) in [
            ("ZRANGEBYSCORE z (1 +inf", Some(("zcount z (1 +inf", all))),
            (
                "zrevrangebyscore z 9 1 limit 2 3",
                Some(("zcount z 1 9", 5)),
            ),
            ("ZRANGE z [a [b BYLEX", Some(("zlexcount z [a [b", all))),
            ("ZRANGE z 9 1 BYSCORE REV", Some(("zcount z 1 9", all))),
            (
                "ZRANGESTORE y z 1 9 byscore LIMIT 1 -1",
                Some(("zcount z 1 9", all)),
            ),
            ("ZREMRANGEBYLEX z - +", Some(("zlexcount z - +", all))),
            ("ZREMRANGEBYRANK z 0 5", None),
            ("ZRANGE z 0 5", None),
            ("ZRANGE z", None),
        ] {
            let expected = expected.map(|(text, most)| (text.to_owned(), most));
            assert_eq!(ask(line), expected, "{line}");
        }
    }

    #[test]
    fn what_touches_little_of_large_values_is_cheap() {
        let million = Size::Elements(1_000_000);
        for (line, sizes) in [
            ("LRANGE a 0 10", vec![million]),
            ("LRANGE a -10 -1", vec![million]),
            ("LRANGE a 5 x", vec![million]),
            ("LTRIM a 0 999990", vec![million]),
            ("LINDEX a -3", vec![million]),
            ("LPOP a", vec![million]),
            ("SPOP a 9", vec![million]),
            ("ZRANGE a 10 19 REV", vec![million]),
            ("ZRANGEBYSCORE a 0 1 LIMIT 5 10", vec![million]),
            ("ZRANGE a + - BYLEX REV LIMIT 5 10", vec![million]),
            ("XRANGE a - + COUNT 3", vec![million]),
            ("XADD a MAXLEN ~ 999999 * f v", vec![million]),
            ("XADD a * f v", vec![million]),
            ("LMPOP 1 a LEFT", vec![million]),
            ("GETRANGE a 5 100", vec![Size::Bytes(2 << 20)]),
            ("UNLINK a", vec![million]),
            ("ZADD a 1 m", vec![million]),
            ("HGET a f", vec![million]),
            ("SRANDMEMBER a 5", vec![million]),
            ("SINTER a b", vec![million, Size::Elements(10)]),
            ("STRLEN a", vec![Size::Bytes(512 << 20)]),
            ("SETRANGE a 1000 x", vec![Size::Bytes(2_000)]),
            (
                "BITFIELD a SET u32 0 4000000000 GET u8 90000",
                vec![Size::Nothing],
            ),
            ("MGET a b", vec![Size::Bytes(1_000); 2]),
        ] {
            let work = charge(line, &sizes).expect("it is allowed");
            assert!(work < 2_000, "{line}: {work}");
        }
    }
}
