//! Matches a pattern in time that grows with the text alone, wherever that can be.
//!
//! Every part of a pattern but `*` matches exactly one byte. So the parts between two stars form a
//! piece of fixed length, and it is right to take the first place at which a piece matches. Pieces of
//! plain bytes are searched by an algorithm that is linear whatever they contain. Pieces with `?` or
//! classes are searched with a bit for each part, 64 parts in one step.

use memchr::memmem::Finder;
use smallvec::{SmallVec, smallvec};

use super::Class;

/// Parts in one step of a search.
const PARTS_PER_STEP: usize = u64::BITS as usize;

/// A pattern that is prepared for many matches. Accepts every pattern.
///
/// ```
/// use ferrite_protocol::glob::Matcher;
/// let matcher = Matcher::new(b"user:*:[0-9]");
/// assert!(matcher.matches(b"user:x:4"));
/// assert!(!matcher.matches(b"user:4"));
/// ```
#[derive(Clone, Debug)]
pub struct Matcher {
    /// True if the empty text matches; only the empty pattern and `*` alone do.
    matches_empty: bool,
    /// The piece before the first star, or the whole pattern.
    head: Piece,
    /// The pieces after the first star; `None` if there is no star.
    rest: Option<Rest>,
}

/// The pieces after the first star.
#[derive(Clone, Debug)]
struct Rest {
    /// Pieces between two stars, none of them empty.
    middle: Box<[Searched]>,
    /// The piece after the last star.
    tail: Piece,
}

/// Parts that match as many bytes.
#[derive(Clone, Debug)]
enum Piece {
    Plain(Box<[u8]>),
    Parts(Box<[Part]>),
}

/// A piece that may match anywhere.
#[derive(Clone, Debug)]
enum Searched {
    Plain(Box<Finder<'static>>),
    Bits(BitSearch),
}

/// The bytes that one part matches, a bit for each.
type ByteSet = [u64; 4];

/// A part of a pattern that matches one byte.
#[derive(Clone, Debug)]
enum Part {
    Byte(u8),
    Any,
    OneOf(Box<ByteSet>),
}

impl Part {
    fn matches(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::Any => true,
            Self::OneOf(set) => set[usize::from(byte / 64)] >> (byte % 64) & 1 != 0,
        }
    }
}

impl Piece {
    fn new(parts: Vec<Part>) -> Self {
        let plain: Option<Box<[u8]>> = parts
            .iter()
            .map(|part| match part {
                Part::Byte(byte) => Some(*byte),
                Part::Any | Part::OneOf(_) => None,
            })
            .collect();
        plain.map_or_else(|| Self::Parts(parts.into()), Self::Plain)
    }

    fn len(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Parts(parts) => parts.len(),
        }
    }

    /// Compares with a text of the same length.
    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Plain(bytes) => **bytes == *text,
            Self::Parts(parts) => parts
                .iter()
                .zip(text)
                .all(|(part, byte)| part.matches(*byte)),
        }
    }
}

impl Searched {
    fn new(piece: Piece) -> Self {
        match piece {
            Piece::Plain(bytes) => Self::Plain(Box::new(Finder::new(&bytes).into_owned())),
            Piece::Parts(parts) => Self::Bits(BitSearch::new(&parts)),
        }
    }

    /// Steps for each byte of a text.
    fn steps_per_byte(&self) -> u64 {
        match self {
            Self::Plain(_) => 1,
            Self::Bits(search) => search.words as u64,
        }
    }

    /// Parts that are compared one by one, in words of 64.
    fn parts_to_step(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Bits(search) => search.parts,
        }
    }

    /// Returns the end of the first match in `text`.
    fn end_of_first(&self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Plain(finder) => finder.find(text).map(|at| at + finder.needle().len()),
            Self::Bits(search) => search.end_of_first(text),
        }
    }
}

/// Searches for a piece with all its parts at once: bit `n` says that the parts up to `n` match the
/// bytes up to the present one.
#[derive(Clone, Debug)]
struct BitSearch {
    parts: usize,
    /// Words of 64 parts.
    words: usize,
    /// By byte, the parts that match it: `words` words for each of the 256 bytes.
    masks: Box<[u64]>,
    /// The bit of the last part in the last word.
    last: u64,
}

impl BitSearch {
    fn new(parts: &[Part]) -> Self {
        let words = parts.len().div_ceil(PARTS_PER_STEP);
        let mut masks = vec![0_u64; 256 * words].into_boxed_slice();
        for (at, part) in parts.iter().enumerate() {
            let (word, bit) = (at / PARTS_PER_STEP, 1 << (at % PARTS_PER_STEP));
            let mut add = |byte: u8| masks[usize::from(byte) * words + word] |= bit;
            match part {
                Part::Byte(byte) => add(*byte),
                Part::Any | Part::OneOf(_) => {
                    (0..=u8::MAX)
                        .filter(|byte| part.matches(*byte))
                        .for_each(add);
                }
            }
        }
        Self {
            parts: parts.len(),
            words,
            masks,
            last: 1 << ((parts.len() - 1) % PARTS_PER_STEP),
        }
    }

    fn end_of_first(&self, text: &[u8]) -> Option<usize> {
        let mut state: SmallVec<[u64; 4]> = smallvec![0; self.words];
        for (at, byte) in text.iter().enumerate() {
            let masks = &self.masks[usize::from(*byte) * self.words..][..self.words];
            let mut carry = 1;
            for (word, mask) in state.iter_mut().zip(masks) {
                let next = (*word << 1 | carry) & mask;
                carry = *word >> (PARTS_PER_STEP - 1);
                *word = next;
            }
            if state[self.words - 1] & self.last != 0 {
                return Some(at + 1);
            }
        }
        None
    }
}

/// Reason to refuse a pattern of a client: matching it could take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than [`Matcher::BYTES_MAX`].
    #[error("the pattern has {bytes} bytes, the most is {}", Matcher::BYTES_MAX)]
    TooLong {
        /// The pattern's length.
        bytes: usize,
    },
    /// A piece between two stars with more than [`Matcher::PARTS_MAX`] parts.
    #[error(
        "the pattern has {parts} parts with ? or [] between two stars, the most is {}; leave some out",
        Matcher::PARTS_MAX
    )]
    TooManyParts {
        /// Parts of the piece.
        parts: usize,
    },
}

impl Matcher {
    /// Longest pattern of a client, in bytes.
    pub const BYTES_MAX: usize = 64 << 10;
    /// Most parts between two stars if there is a `?` or a class among them: each 64 of them take
    /// another step for each byte of the text.
    pub const PARTS_MAX: usize = 1024;

    /// Prepares a pattern whose match takes at most 17 steps for each byte of the text.
    ///
    /// # Errors
    ///
    /// A pattern that is too long, or that would take more.
    pub fn parse(pattern: &[u8]) -> Result<Self, PatternError> {
        if pattern.len() > Self::BYTES_MAX {
            return Err(PatternError::TooLong {
                bytes: pattern.len(),
            });
        }
        let matcher = Self::new(pattern);
        let longest = matcher.searched().map(Searched::parts_to_step).max();
        match longest {
            Some(parts) if parts > Self::PARTS_MAX => Err(PatternError::TooManyParts { parts }),
            _ => Ok(matcher),
        }
    }

    fn searched(&self) -> impl Iterator<Item = &Searched> {
        self.rest.iter().flat_map(|rest| &*rest.middle)
    }

    /// Prepares a pattern. Takes time and memory in proportion to its length.
    #[must_use]
    pub fn new(pattern: &[u8]) -> Self {
        let mut pieces: Vec<Vec<Part>> = vec![Vec::new()];
        let mut at = 0;
        while let Some(&byte) = pattern.get(at) {
            let (part, next) = match byte {
                b'*' => {
                    pieces.push(Vec::new());
                    at += 1;
                    continue;
                }
                b'?' => (Part::Any, at + 1),
                b'[' => {
                    let class = Class::at(pattern, at);
                    (Part::OneOf(Box::new(class.set())), class.end)
                }
                b'\\' => {
                    let literal = pattern.get(at + 1).map_or(at, |_| at + 1);
                    (Part::Byte(pattern[literal]), literal + 1)
                }
                literal => (Part::Byte(literal), at + 1),
            };
            if let Some(piece) = pieces.last_mut() {
                piece.push(part);
            }
            at = next;
        }
        let mut pieces = pieces.into_iter();
        let head = Piece::new(pieces.next().unwrap_or_default());
        let mut pieces = pieces.collect::<Vec<_>>();
        let rest = pieces.pop().map(|tail| Rest {
            middle: pieces
                .into_iter()
                .filter(|piece| !piece.is_empty())
                .map(|piece| Searched::new(Piece::new(piece)))
                .collect(),
            tail: Piece::new(tail),
        });
        Self {
            matches_empty: pattern.is_empty() || pattern == b"*",
            head,
            rest,
        }
    }

    /// Returns the most steps that a match against a text of `len` bytes takes. A step is a
    /// comparison of up to 64 parts.
    #[must_use]
    pub fn steps_max(&self, len: usize) -> u64 {
        // Each byte is searched for one piece of the middle, and the ends are compared once.
        let per_byte = self
            .searched()
            .map(Searched::steps_per_byte)
            .max()
            .unwrap_or(0);
        (len as u64).saturating_mul(per_byte.saturating_add(1)) + 1
    }

    /// Returns true if the pattern matches all of `text`.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        if text.is_empty() {
            // In Redis no star matches the empty text, except where `*` is the whole pattern.
            return self.matches_empty;
        }
        let Some(rest) = &self.rest else {
            return self.head.len() == text.len() && self.head.matches(text);
        };
        let Some(inner) = text.len().checked_sub(self.head.len() + rest.tail.len()) else {
            return false;
        };
        let (head, text) = text.split_at(self.head.len());
        let (mut text, tail) = text.split_at(inner);
        if !self.head.matches(head) || !rest.tail.matches(tail) {
            return false;
        }
        for piece in &rest.middle {
            match piece.end_of_first(text) {
                Some(end) => text = &text[end..],
                None => return false,
            }
        }
        true
    }
}

impl Class<'_> {
    /// Returns the bytes that the class matches.
    fn set(&self) -> ByteSet {
        let mut set = ByteSet::default();
        let mut rest = self.members;
        while !rest.is_empty() {
            let (member, length) = super::Member::first(rest);
            for byte in member.low..=member.high {
                set[usize::from(byte / 64)] |= 1 << (byte % 64);
            }
            rest = &rest[length..];
        }
        if self.negated {
            set = set.map(|word| !word);
        }
        set
    }
}
