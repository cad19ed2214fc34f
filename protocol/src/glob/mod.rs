//! Glob patterns with the meaning that Redis gives them in `KEYS`, `SCAN MATCH` and ACLs.
//!
//! No library has that meaning: `[^a]` rather than `[!a]`, ranges in either direction, `*` across
//! every byte, an unclosed `[` that ends with the pattern, and bytes instead of characters.

mod covers;
mod matcher;

pub use matcher::{Matcher, PatternError};

/// A checked pattern, prepared for many matches.
///
/// ```
/// use ferrite_protocol::glob::Glob;
/// let glob = Glob::parse(b"user:[0-9]*")?;
/// assert!(glob.matches(b"user:42"));
/// assert!(!glob.matches(b"user:x"));
/// # Ok::<(), ferrite_protocol::glob::GlobError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Glob {
    pattern: Box<[u8]>,
    shape: Shape,
}

/// Two globs are equal if their patterns are.
impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for Glob {}

/// Kind of a pattern. Most patterns of permissions need no matcher at all.
#[derive(Clone, Debug)]
enum Shape {
    /// `*` alone.
    All,
    /// No special byte.
    Exact,
    /// No special byte but a `*` at the end.
    Prefix,
    /// Anything else.
    Any(Box<Matcher>),
}

/// Reason to refuse a pattern: a typing error that could grant or deny access unnoticed.
///
/// Redis itself accepts every pattern, and so does [`matches()`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// The empty pattern, which matches only the empty key.
    #[error("it is empty; write * for every key")]
    Empty,
    /// Longer than [`Glob::BYTES_MAX`].
    #[error("it has {bytes} bytes, the limit is {}", Glob::BYTES_MAX)]
    TooLong {
        /// The pattern's length.
        bytes: usize,
    },
    /// A `[` without its `]`.
    #[error("the [ at byte {offset} is not closed; write \\[ for the character itself")]
    Unclosed {
        /// Offset of the `[`.
        offset: usize,
    },
    /// A class such as `[]` or `[^]`, which matches nothing or everything.
    #[error("the [] at byte {offset} names no characters; write ? for any one of them")]
    EmptyClass {
        /// Offset of the `[`.
        offset: usize,
    },
    /// A `\` with nothing after it.
    #[error("it ends with a single \\; write \\\\ for the character itself")]
    Dangling,
}

impl Glob {
    /// Longest pattern, in bytes.
    pub const BYTES_MAX: usize = 1024;

    /// Checks a pattern and prepares it.
    pub fn parse(pattern: &[u8]) -> Result<Self, GlobError> {
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        if pattern.len() > Self::BYTES_MAX {
            return Err(GlobError::TooLong {
                bytes: pattern.len(),
            });
        }
        check(pattern)?;
        let special = pattern.iter().position(|byte| b"*?[\\".contains(byte));
        let shape = match special {
            None => Shape::Exact,
            Some(_) if pattern == b"*" => Shape::All,
            Some(at) if at + 1 == pattern.len() && pattern[at] == b'*' => Shape::Prefix,
            Some(_) => Shape::Any(Box::new(Matcher::new(pattern))),
        };
        Ok(Self {
            pattern: pattern.into(),
            shape,
        })
    }

    /// Returns true if the pattern matches all of `text`.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.shape {
            Shape::All => true,
            Shape::Exact => *self.pattern == *text,
            Shape::Prefix => text.starts_with(&self.pattern[..self.pattern.len() - 1]),
            Shape::Any(matcher) => matcher.matches(text),
        }
    }

    /// Returns true if the pattern is `*`, which matches everything.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(self.shape, Shape::All)
    }

    /// Returns the pattern as it was given.
    #[must_use]
    pub fn pattern(&self) -> &[u8] {
        &self.pattern
    }
}

fn check(pattern: &[u8]) -> Result<(), GlobError> {
    let mut at = 0;
    while at < pattern.len() {
        match pattern[at] {
            b'\\' if at + 1 == pattern.len() => return Err(GlobError::Dangling),
            b'\\' => at += 2,
            b'[' => {
                let class = Class::at(pattern, at);
                if !class.closed {
                    return Err(GlobError::Unclosed { offset: at });
                }
                if class.members.is_empty() {
                    return Err(GlobError::EmptyClass { offset: at });
                }
                at = class.end;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// Returns true if `pattern` matches all of `text`, by the rules of Redis's `stringmatchlen`.
///
/// For one match against a short text: it takes up to the product of both lengths. Prepare a
/// [`Matcher`] for anything else.
///
/// Accepts every pattern. Two differences, which no sensible pattern meets: bytes from 0x80 up are
/// compared as unsigned on every machine, and the number of `*` has no bound.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        // In Redis no star matches the empty text, except where `*` is the whole pattern.
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut pattern_at, mut text_at) = (0, 0);
    // The state to retry from if a byte does not match: after the last star, one byte further on.
    // Only the last star is ever retried: every other part of a pattern matches exactly one byte.
    let mut retry: Option<(usize, usize)> = None;
    while text_at < text.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            retry = Some((pattern_at, text_at));
            continue;
        }
        match one(pattern, pattern_at, text[text_at]) {
            Some(next) => {
                pattern_at = next;
                text_at += 1;
            }
            None => match &mut retry {
                Some((after_star, from)) => {
                    *from += 1;
                    pattern_at = *after_star;
                    text_at = *from;
                }
                None => return false,
            },
        }
    }
    pattern[pattern_at..].iter().all(|&byte| byte == b'*')
}

/// Matches one byte against the part of the pattern at `at`. Returns the start of the next part.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => {
            let class = Class::at(pattern, at);
            class.contains(byte).then_some(class.end)
        }
        b'\\' => {
            let literal = pattern.get(at + 1).map_or(at, |_| at + 1);
            (pattern[literal] == byte).then_some(literal + 1)
        }
        literal => (literal == byte).then_some(at + 1),
    }
}

/// A bracketed class within a pattern.
struct Class<'a> {
    negated: bool,
    members: &'a [u8],
    /// Start of the part after the class.
    end: usize,
    closed: bool,
}

impl<'a> Class<'a> {
    /// Parses the class whose `[` is at `at`.
    fn at(pattern: &'a [u8], at: usize) -> Self {
        let mut start = at + 1;
        let negated = pattern.get(start) == Some(&b'^');
        if negated {
            start += 1;
        }
        let mut cursor = start;
        loop {
            let rest = &pattern[cursor..];
            if rest.is_empty() || rest[0] == b']' {
                return Self {
                    negated,
                    members: &pattern[start..cursor],
                    end: (cursor + 1).min(pattern.len()),
                    closed: !rest.is_empty(),
                };
            }
            cursor += Member::first(rest).1;
        }
    }

    fn contains(&self, byte: u8) -> bool {
        let mut rest = self.members;
        let mut found = false;
        while !rest.is_empty() {
            let (member, length) = Member::first(rest);
            found |= member.contains(byte);
            rest = &rest[length..];
        }
        found != self.negated
    }
}

/// One element of a class; a single byte is a range of one.
struct Member {
    low: u8,
    high: u8,
}

impl Member {
    /// Parses the first element of `class`. Returns it and its length in bytes.
    fn first(class: &[u8]) -> (Self, usize) {
        match *class {
            [b'\\', literal, ..] => (Self::range(literal, literal), 2),
            [low, b'-', high, ..] => (Self::range(low, high), 3),
            [literal, ..] => (Self::range(literal, literal), 1),
            [] => (Self { low: 1, high: 0 }, 0),
        }
    }

    fn range(one: u8, other: u8) -> Self {
        Self {
            low: one.min(other),
            high: one.max(other),
        }
    }

    fn contains(&self, byte: u8) -> bool {
        (self.low..=self.high).contains(&byte)
    }
}

#[cfg(test)]
mod tests {
    use super::{Glob, GlobError, Matcher, PatternError, matches};

    /// Pattern, text, and true if they match in Valkey 9.1. Each character stands for one byte. The
    /// mock stores of the SDKs are tested with the same table.
    fn cases() -> Vec<(Vec<u8>, Vec<u8>, bool)> {
        let table = include_str!("../../../sdk/glob-cases.json");
        let cases: Vec<(String, String, bool)> =
            serde_json::from_str(table).expect("the table is JSON");
        let bytes = |text: String| {
            let byte = |character| u8::try_from(character).expect("no character above U+00FF");
            text.chars().map(byte).collect()
        };
        cases
            .into_iter()
            .map(|(pattern, text, matches)| (bytes(pattern), bytes(text), matches))
            .collect()
    }

    #[test]
    fn matches_as_valkey_does() {
        for (pattern, text, expected) in cases() {
            let case = format!("{} {}", pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(matches(&pattern, &text), expected, "{case}");
            assert_eq!(Matcher::new(&pattern).matches(&text), expected, "{case}");
        }
    }

    #[test]
    fn a_checked_pattern_matches_as_the_plain_one() {
        for (pattern, text, expected) in cases() {
            if let Ok(glob) = Glob::parse(&pattern) {
                let case = format!("{} {}", pattern.escape_ascii(), text.escape_ascii());
                assert_eq!(glob.matches(&text), expected, "{case}");
            }
        }
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        let pattern = b"a*".repeat(200);
        let text = vec![b'a'; 20_000];
        let refused = [pattern.as_slice(), b"b"].concat();
        assert!(Matcher::new(&pattern).matches(&text));
        assert!(!Matcher::new(&refused).matches(&text));
    }

    #[test]
    fn what_would_take_too_long_is_refused() {
        let piece = |parts| [b"*".as_slice(), &b"?".repeat(parts), b"*"].concat();
        assert!(Matcher::parse(&piece(Matcher::PARTS_MAX)).is_ok());
        assert_eq!(
            Matcher::parse(&piece(Matcher::PARTS_MAX + 1)).err(),
            Some(PatternError::TooManyParts {
                parts: Matcher::PARTS_MAX + 1
            })
        );
        assert_eq!(
            Matcher::parse(&[b'a'; Matcher::BYTES_MAX + 1]).err(),
            Some(PatternError::TooLong {
                bytes: Matcher::BYTES_MAX + 1
            })
        );
        assert!(Matcher::parse(&[b'?'; Matcher::BYTES_MAX]).is_ok());
    }

    #[test]
    fn the_steps_of_a_match_grow_with_the_text_alone_up_to_64_parts_between_stars() {
        let text = vec![b'a'; 100_000];
        let class = [b"*[".as_slice(), &[b'b'; 40_000], b"]*"].concat();
        let plain = [b"*".as_slice(), &[b'a'; 40_000], b"b*"].concat();
        let mixed = [b"*".as_slice(), &b"[ab]?".repeat(32), b"*"].concat();
        for pattern in [class, plain, mixed] {
            let matcher = Matcher::new(&pattern);
            assert_eq!(matcher.steps_max(text.len()), 200_001);
            assert_eq!(matcher.matches(&text), pattern.contains(&b'?'));
        }
        let long = Matcher::new(&[b"*".as_slice(), &b"?".repeat(6_400), b"*"].concat());
        assert_eq!(long.steps_max(text.len()), 101 * 100_000 + 1);
        assert!(long.matches(&text));
        assert!(!long.matches(&text[..6_399]));
    }

    #[test]
    fn random_patterns_never_panic_and_agree_with_plain_recursion() {
        let alphabet = b"ab*?[]^-\\";
        let mut state: u64 = 1;
        let mut next = move |bound: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        for round in 0..200_000 {
            // Now and then a text and a piece that need more than one word of bits.
            let long = round % 100 == 0;
            let mut pattern: Vec<u8> = (0..next(9)).map(|_| alphabet[next(9)]).collect();
            let mut text: Vec<u8> = (0..1 + next(6)).map(|_| alphabet[next(9)]).collect();
            if long {
                pattern = [b"*", pattern.as_slice(), &b"?".repeat(58 + next(9)), b"*"].concat();
                text.extend((0..60 + next(9)).map(|_| alphabet[next(3)]));
            }
            let found = [
                matches(&pattern, &text),
                Matcher::new(&pattern).matches(&text),
            ];
            assert_eq!(
                found,
                [recursive(&pattern, &text); 2],
                "{} {}",
                pattern.escape_ascii(),
                text.escape_ascii()
            );
        }
    }

    /// The same meaning in its simplest form: a star takes any number of bytes.
    fn recursive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|taken| recursive(rest, &text[taken..])),
            _ => text.split_first().is_some_and(|(&byte, rest)| {
                super::one(pattern, 0, byte).is_some_and(|next| recursive(&pattern[next..], rest))
            }),
        }
    }

    #[test]
    fn doubtful_patterns_are_refused() {
        assert_eq!(Glob::parse(b""), Err(GlobError::Empty));
        assert_eq!(Glob::parse(b"a\\"), Err(GlobError::Dangling));
        assert_eq!(Glob::parse(b"a[bc"), Err(GlobError::Unclosed { offset: 1 }));
        assert_eq!(
            Glob::parse(b"[^]"),
            Err(GlobError::EmptyClass { offset: 0 })
        );
        assert_eq!(
            Glob::parse(&[b'a'; 1025]),
            Err(GlobError::TooLong { bytes: 1025 })
        );
        assert!(Glob::parse(b"a\\[b[a-c\\]]?*").is_ok());
    }
}
