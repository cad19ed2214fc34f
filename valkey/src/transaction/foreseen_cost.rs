//! The cost of a command of the server, as far as its arguments and the sizes of its keys tell.
//!
//! The server runs its own commands to the end and makes their whole reply. So what can be foreseen is
//! charged before the command runs; the rest is charged by the length of its reply.

use ferrite_protocol::budget::{ACCESS, Budget, Exceeded, LOOKUP, bytes, elements, lookups};
use ferrite_protocol::number::parse_integer;

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

/// Commands that go through all of each of their keys.
const WHOLE: &[&str] = &[
    "smembers",
    "hgetall",
    "hkeys",
    "hvals",
    "sunion",
    "sdiff",
    "sunionstore",
    "sdiffstore",
    "zunion",
    "zdiff",
    "zunionstore",
    "zdiffstore",
    "sort",
    "sort_ro",
    "lrem",
    "lpos",
    "linsert",
    "bitcount",
    "bitpos",
    "bitop",
    "copy",
    "dump",
];

/// Commands that go through the smallest of their keys, and look for each element in the others.
const SMALLEST: &[&str] = &[
    "sinter",
    "sinterstore",
    "sintercard",
    "zinter",
    "zinterstore",
    "zintercard",
];

/// Commands whose reply holds every string that they name.
const STRINGS: &[&str] = &["get", "getdel", "getex", "getset", "mget"];

/// Commands that reply as many elements as a negative count asks for, with repetition.
const RANDOM: &[&str] = &["srandmember", "hrandfield", "zrandmember"];

impl Cost {
    /// Foresees the cost of a command whose keys have these sizes.
    pub(crate) fn foresee(argv: &[&[u8]], sizes: &[Size]) -> Self {
        let name = argv[0].to_ascii_lowercase();
        let is_one_of = |names: &[&str]| names.iter().any(|one| one.as_bytes() == name);
        let number = |at: usize| argv.get(at).and_then(|text| parse_integer(text));
        let mut cost = Self {
            work: ACCESS.saturating_mul(sizes.len() as u64),
            ..Self::default()
        };
        if is_one_of(WHOLE) {
            for size in sizes {
                cost.work(match *size {
                    Size::Nothing => 0,
                    Size::Bytes(len) => bytes(len as u64),
                    Size::Elements(len) => lookups(len),
                });
            }
        } else if is_one_of(SMALLEST) {
            let len = |size: &Size| match *size {
                Size::Elements(len) => len,
                Size::Nothing | Size::Bytes(_) => 0,
            };
            let smallest = sizes.iter().map(len).filter(|len| *len > 0).min();
            let lookups = lookups(smallest.unwrap_or(0));
            cost.work(lookups.saturating_mul(sizes.len() as u64));
        } else if is_one_of(STRINGS) {
            for size in sizes {
                if let Size::Bytes(len) = *size {
                    cost.reply_bytes = cost.reply_bytes.saturating_add(len as u64);
                }
            }
        } else if is_one_of(RANDOM) {
            let asked = number(2).filter(|count| *count < 0).unwrap_or(0);
            cost.work(LOOKUP.saturating_mul(asked.unsigned_abs()));
        }
        let end = match name.as_slice() {
            b"setrange" => {
                let len = argv.get(3).map_or(0, |patch| patch.len() as i64);
                number(2).and_then(|offset| offset.checked_add(len))
            }
            b"setbit" => number(2).map(|bit| bit / 8 + 1),
            b"bitfield" => argv
                .windows(3)
                .filter(|words| {
                    words[0].eq_ignore_ascii_case(b"set")
                        || words[0].eq_ignore_ascii_case(b"incrby")
                })
                .filter_map(|words| offset(words[2]))
                .max(),
            _ => None,
        };
        if let Some(end) = end {
            let len = match sizes.first() {
                Some(Size::Bytes(len)) => *len as u64,
                _ => 0,
            };
            let grown = u64::try_from(end).unwrap_or(0).saturating_sub(len);
            cost.written_bytes = grown;
            cost.work(bytes(grown.saturating_add(len)));
        }
        if name == b"lcs" {
            let len = |size: Option<&Size>| match size {
                Some(Size::Bytes(len)) => 1 + *len as u64,
                _ => 1,
            };
            cost.work(len(sizes.first()).saturating_mul(len(sizes.get(1))));
        }
        if name == b"sort" || name == b"sort_ro" {
            for size in sizes {
                if let Size::Elements(len) = *size {
                    // Comparisons, and the keys that patterns name.
                    let depth = u64::from(usize::BITS - len.leading_zeros());
                    cost.work(elements(len).saturating_mul(depth));
                    cost.work(ACCESS.saturating_mul(len as u64));
                }
            }
        }
        cost
    }

    fn work(&mut self, units: u64) {
        self.work = self.work.saturating_add(units);
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
    use super::{Cost, Size};
    use ferrite_protocol::budget::{Bounds, Budget, Exceeded};

    fn charge(line: &str, sizes: &[Size]) -> Result<u64, Exceeded> {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let bounds = Bounds {
            work_max: 10_000_000,
            written_bytes_max: 1_000,
            reply_bytes_max: 1 << 20,
        };
        let budget = Budget::new(bounds, &|| false);
        Cost::foresee(&argv, sizes).charge(&budget)?;
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
    fn what_touches_little_of_large_values_is_cheap() {
        let million = Size::Elements(1_000_000);
        for (line, sizes) in [
            ("LRANGE a 0 10", vec![million]),
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
