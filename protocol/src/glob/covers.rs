//! Decides if one pattern matches everything that another matches.

use super::{Class, Glob, one};

/// The bytes that one part of a pattern matches, one bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Bytes([u64; 4]);

impl Bytes {
    fn within(self, other: Self) -> bool {
        self.0
            .iter()
            .zip(other.0)
            .all(|(own, other)| own & !other == 0)
    }
}

/// A part of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Any number of any bytes.
    Star,
    /// One byte out of these.
    One(Bytes),
}

impl Glob {
    /// Returns true if this pattern certainly matches everything that `other` matches.
    ///
    /// Returns false if a comparison part by part cannot prove it: the pattern then counts as wider
    /// than it may be, which is the safe side.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if self.pattern == other.pattern || self.is_all() {
            return true;
        }
        // Only `*` alone matches the empty key.
        if other.is_all() {
            return false;
        }
        let (own, other) = (parts(&self.pattern), parts(&other.pattern));
        // `reached[j]`: the own parts so far may end before the other's part `j`.
        let mut reached = vec![false; other.len() + 1];
        reached[0] = true;
        for part in own {
            match part {
                Part::Star => {
                    let mut open = false;
                    for reached in &mut reached {
                        open |= *reached;
                        *reached = open;
                    }
                }
                Part::One(own) => {
                    for at in (0..other.len()).rev() {
                        let fits = matches!(other[at], Part::One(bytes) if bytes.within(own));
                        reached[at + 1] = fits && reached[at];
                    }
                    reached[0] = false;
                }
            }
        }
        reached[other.len()]
    }
}

impl Glob {
    /// Returns true if certainly no key matches both patterns, because they begin with different bytes.
    ///
    /// Returns false for others, even if they have no key in common.
    #[must_use]
    pub fn is_apart_from(&self, other: &Self) -> bool {
        let (own, other) = (literal_start(&self.pattern), literal_start(&other.pattern));
        own.iter().zip(other).any(|(one, another)| one != another)
    }
}

/// Returns the bytes before the first special one.
fn literal_start(pattern: &[u8]) -> &[u8] {
    let special = |byte: &u8| b"*?[\\".contains(byte);
    let end = pattern.iter().position(special);
    &pattern[..end.unwrap_or(pattern.len())]
}

fn parts(pattern: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < pattern.len() {
        if pattern[at] == b'*' {
            parts.push(Part::Star);
            at += 1;
            continue;
        }
        let mut bytes = [0; 4];
        for byte in 0..=u8::MAX {
            if one(pattern, at, byte).is_some() {
                bytes[usize::from(byte / 64)] |= 1 << (byte % 64);
            }
        }
        parts.push(Part::One(Bytes(bytes)));
        at = match pattern[at] {
            b'[' => Class::at(pattern, at).end,
            b'\\' => (at + 2).min(pattern.len()),
            _ => at + 1,
        };
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::Glob;

    fn glob(pattern: &str) -> Glob {
        Glob::parse(pattern.as_bytes()).expect("a pattern")
    }

    #[test]
    fn patterns_that_begin_differently_are_apart() {
        for (one, other, expected) in [
            ("user:*", "order:*", true),
            ("user:1", "user:2*", true),
            ("user:*", "user:*:name", false),
            ("*", "user:*", false),
            ("a[b]", "a[c]", false),
            ("a\\*", "ab", false),
            ("a", "ab", false),
            ("?", "b", false),
        ] {
            let apart = glob(one).is_apart_from(&glob(other));
            assert_eq!(apart, expected, "{one} {other}");
            assert_eq!(glob(other).is_apart_from(&glob(one)), expected);
        }
    }

    #[test]
    fn inclusion_is_seen_part_by_part() {
        for (wide, narrow, expected) in [
            ("*", "*", true),
            ("*", "a*", true),
            ("a*", "*", false),
            ("**", "*", false),
            ("user:*", "user:1", true),
            ("user:*", "user:*:name", true),
            ("user:*", "use*", false),
            ("user:*", "user:", true),
            ("user:?", "user:12", false),
            ("user:??", "user:12", true),
            ("user:?*", "user:*", false),
            ("[a-f]*", "b*", true),
            ("[a-f]*", "[b-d]x", true),
            ("[a-f]*", "[b-z]x", false),
            ("[^a]", "[b-z]", true),
            ("[^a]", "?", false),
            ("?", "[^a]", true),
            ("*:*", "a:b:c", true),
            ("*:x", "a:b:x", true),
            ("*:x", "a:*", false),
            ("\\*", "*", false),
            ("\\*a", "\\*a", true),
            ("a*b*c", "a*c", false),
            ("a*b*c", "a1*b*2c", true),
        ] {
            assert_eq!(
                glob(wide).covers(&glob(narrow)),
                expected,
                "{wide} {narrow}"
            );
        }
    }

    /// If `covers` returns true, the wide pattern matches every short text that the narrow one
    /// matches.
    #[test]
    fn what_is_covered_is_matched() {
        let letters = b"ab*";
        let mut texts: Vec<Vec<u8>> = vec![Vec::new()];
        for length in 0..4 {
            let longer: Vec<_> = texts
                .iter()
                .filter(|text| text.len() == length)
                .flat_map(|text| letters.map(|letter| [&text[..], &[letter]].concat()))
                .collect();
            texts.extend(longer);
        }
        let pieces = ["a", "b", "*", "?", "[ab]", "[^a]", "\\*"];
        let mut patterns: Vec<String> = Vec::new();
        for first in pieces {
            patterns.push(first.to_owned());
            for second in pieces {
                patterns.push(format!("{first}{second}"));
                for third in pieces {
                    patterns.push(format!("{first}{second}{third}"));
                }
            }
        }
        let globs: Vec<Glob> = patterns.iter().map(|pattern| glob(pattern)).collect();
        let matched: Vec<Vec<bool>> = globs
            .iter()
            .map(|glob| texts.iter().map(|text| glob.matches(text)).collect())
            .collect();
        let mut covered = 0;
        for (wide, by_wide) in globs.iter().zip(&matched) {
            for (narrow, by_narrow) in globs.iter().zip(&matched) {
                if wide.covers(narrow) {
                    covered += 1;
                    let all = by_wide
                        .iter()
                        .zip(by_narrow)
                        .all(|(wide, narrow)| *wide || !narrow);
                    assert!(all, "{wide:?} {narrow:?}");
                }
            }
        }
        assert!(covered > globs.len(), "more than each one itself");
    }
}
