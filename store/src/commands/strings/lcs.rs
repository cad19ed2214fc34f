//! `LCS`: the longest common subsequence of two strings.

use crate::commands::arguments::integer;
use crate::commands::spec::{Answer, Argv, Keys, Out, READONLY, commands};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::text::Text;
use ferrite_protocol::budget::{LOOKUP, bytes, elements};

commands! {
    "lcs", -3, READONLY, Keys::TWO => lcs,
        "string", "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        "Finds the longest common subsequence of two strings.";
}

/// The options of `LCS`.
#[derive(Default)]
struct Options {
    length: bool,
    indexes: bool,
    shortest_match: u64,
    with_lengths: bool,
}

impl Options {
    fn parse(argv: &[&[u8]]) -> Result<Self, StoreError> {
        let mut options = Self::default();
        let mut rest = argv.iter();
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"len") {
                options.length = true;
            } else if option.eq_ignore_ascii_case(b"idx") {
                options.indexes = true;
            } else if option.eq_ignore_ascii_case(b"withmatchlen") {
                options.with_lengths = true;
            } else if option.eq_ignore_ascii_case(b"minmatchlen") {
                let length = integer(rest.next().ok_or(StoreError::Syntax)?)?;
                options.shortest_match = u64::try_from(length).unwrap_or(0);
            } else {
                return Err(StoreError::Syntax);
            }
        }
        if options.length && options.indexes {
            return Err(StoreError::Refused(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

/// Lengths of the longest common subsequences of all pairs of prefixes.
struct Lengths {
    columns: usize,
    cells: Vec<u32>,
}

impl Lengths {
    fn of(left: &[u8], right: &[u8], out: Out<'_>) -> Result<Self, StoreError> {
        let columns = right.len() + 1;
        let count = columns * (left.len() + 1);
        // Cleared, which takes no longer than to go back through them.
        out.charge(bytes(size_of::<u32>() as u64 * count as u64))?;
        let mut cells = vec![0; count];
        for (row, a) in left.iter().enumerate() {
            out.charge(1 + columns as u64)?;
            let (above, below) = cells.split_at_mut((row + 1) * columns);
            let above = &above[row * columns..];
            for (column, b) in right.iter().enumerate() {
                below[column + 1] = if a == b {
                    above[column] + 1
                } else {
                    above[column + 1].max(below[column])
                };
            }
        }
        Ok(Self { columns, cells })
    }

    fn at(&self, left: usize, right: usize) -> u32 {
        self.cells[left * self.columns + right]
    }
}

/// Two equal pieces of the strings.
struct Match {
    left: usize,
    right: usize,
    len: usize,
}

/// The matching pieces, from the last to the first. Of several ways back it takes the one that
/// leaves out the end of the second string.
fn matches(lengths: &Lengths, left: &[u8], right: &[u8]) -> Vec<Match> {
    let mut found: Vec<Match> = Vec::new();
    let mut adjacent = false;
    let (mut i, mut j) = (left.len(), right.len());
    while i > 0 && j > 0 {
        if left[i - 1] == right[j - 1] {
            (i, j) = (i - 1, j - 1);
            match found.last_mut() {
                Some(last) if adjacent => {
                    (last.left, last.right) = (i, j);
                    last.len += 1;
                }
                _ => found.push(Match {
                    left: i,
                    right: j,
                    len: 1,
                }),
            }
            adjacent = true;
        } else {
            if lengths.at(i - 1, j) > lengths.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
            adjacent = false;
        }
    }
    found
}

fn lcs<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let mut read = |key: &[u8]| match view.read::<Text>(key) {
        Ok(text) => Ok(text.cloned().unwrap_or_default()),
        Err(StoreError::WrongType) => Err(StoreError::Refused(
            "ERR The specified keys must contain string values",
        )),
        Err(error) => Err(error),
    };
    let (left, right) = (read(argv[1])?, read(argv[2])?);
    let (left, right) = (left.as_slice(), right.as_slice());
    let options = Options::parse(&argv[3..])?;
    let bytes = (left.len() + 1)
        .saturating_mul(right.len() + 1)
        .saturating_mul(4);
    if bytes > view.limits().string_bytes_max {
        return Err(StoreError::Refused(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    let lengths = Lengths::of(left, right, out)?;
    // Going back takes a step for each byte of both.
    out.charge(elements(left.len() + right.len()))?;
    let length = i64::from(lengths.at(left.len(), right.len()));
    if options.indexes {
        let mut found = matches(&lengths, left, right);
        found.retain(|one| one.len as u64 >= options.shortest_match);
        out.map(2);
        out.bulk(b"matches");
        out.array(found.len());
        for one in &found {
            out.charge(LOOKUP)?;
            out.array(if options.with_lengths { 3 } else { 2 });
            for start in [one.left, one.right] {
                out.array(2);
                out.int(start as i64);
                out.int((start + one.len - 1) as i64);
            }
            if options.with_lengths {
                out.int(one.len as i64);
            }
        }
        out.bulk(b"len");
        out.int(length);
    } else if options.length {
        out.int(length);
    } else {
        let pieces = matches(&lengths, left, right);
        let pieces = pieces.iter().rev();
        let common: Vec<u8> = pieces
            .flat_map(|one| &left[one.left..one.left + one.len])
            .copied()
            .collect();
        out.bulk(&common);
    }
    Ok(())
}
