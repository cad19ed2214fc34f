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

/// The way in which a command's cost is foreseen: by its keys, their sizes, or its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The number of its keys alone.
    Flat,
    /// All of each of its keys.
    Whole,
    /// All of each of its keys in order, with the keys that patterns name.
    Sort,
    /// The smallest of its keys, each of whose elements is looked for in the others.
    Smallest,
    /// The strings at its keys, which its reply holds.
    Strings,
    /// The count of elements that it asks for, with repetition if it is negative.
    Random,
    /// The end of the bytes that it overwrites.
    SetRange,
    /// The bit that it sets.
    SetBit,
    /// The furthest integer that it writes.
    BitField,
    /// The product of its strings' lengths.
    CommonSubsequence,
}

impl Shape {
    /// Returns the shape of the command of this name, in lower case.
    pub(crate) fn of(name: &[u8]) -> Self {
        match name {
            b"smembers" | b"hgetall" | b"hkeys" | b"hvals" | b"sunion" | b"sdiff"
            | b"sunionstore" | b"sdiffstore" | b"zunion" | b"zdiff" | b"zunionstore"
            | b"zdiffstore" | b"lrem" | b"lpos" | b"linsert" | b"bitcount" | b"bitpos"
            | b"bitop" | b"copy" | b"dump" => Self::Whole,
            b"sort" | b"sort_ro" => Self::Sort,
            b"sinter" | b"sinterstore" | b"sintercard" | b"zinter" | b"zinterstore"
            | b"zintercard" => Self::Smallest,
            b"get" | b"getdel" | b"getex" | b"getset" | b"mget" => Self::Strings,
            b"srandmember" | b"hrandfield" | b"zrandmember" => Self::Random,
            b"setrange" => Self::SetRange,
            b"setbit" => Self::SetBit,
            b"bitfield" => Self::BitField,
            b"lcs" => Self::CommonSubsequence,
            _ => Self::Flat,
        }
    }

    /// Returns true if the sizes of its keys' values matter.
    pub(crate) const fn needs_sizes(self) -> bool {
        !matches!(self, Self::Flat | Self::Random)
    }
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
            Shape::Random => {
                let asked = number(2).filter(|count| *count < 0).unwrap_or(0);
                cost.work(LOOKUP.saturating_mul(asked.unsigned_abs()));
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
    use super::{Cost, Shape, Size};
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
