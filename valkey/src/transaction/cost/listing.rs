//! Commands that list names, with a pattern: `KEYS`, `SCAN`, `CLUSTERSCAN`, `HSCAN`, `SSCAN` and `ZSCAN`.
//!
//! The server's own matcher may take time in proportion to the product of pattern and name, for each
//! name, and `KEYS` or a large `COUNT` go through everything at once. So the server is asked for some
//! names at a time and without the pattern, each time is charged before, and the names are matched
//! here, in linear time.

use std::collections::HashSet;

use ferrite_protocol::budget::{self, Budget, Exceeded, LOOKUP};
use ferrite_protocol::glob::Matcher;
use ferrite_protocol::number::parse_integer;
use ferrite_protocol::resp::Encoder;
use ferrite_protocol::resp::tree::{Token, Tokens};

/// Names that the server is asked for at once.
const COUNT_PER_STEP: u64 = 500;

/// Names that a scan asks for if it does not say.
const COUNT: u64 = 10;

/// Steps of a match in the time of a unit.
const STEPS_PER_UNIT: u64 = 4;

/// A command that lists names, without its pattern and its count.
#[derive(Debug, PartialEq)]
pub(crate) struct Listing<'a> {
    /// True for `KEYS`, whose reply is the names alone.
    all: bool,
    /// The scan that finds the names, up to its cursor.
    head: Vec<&'a [u8]>,
    cursor: &'a [u8],
    /// Its other options.
    options: Vec<&'a [u8]>,
    /// Elements of a reply for each name.
    width: usize,
    count: u64,
    pattern: Option<&'a [u8]>,
}

impl<'a> Listing<'a> {
    /// Reads a command; `None` if it is another one, or one that the server will refuse.
    pub(crate) fn of(argv: &[&'a [u8]]) -> Option<Self> {
        let is = |name: &str| argv[0].eq_ignore_ascii_case(name.as_bytes());
        if is("KEYS") {
            let [_, pattern] = argv else { return None };
            return Some(Self {
                all: true,
                head: vec![b"SCAN"],
                cursor: b"0",
                options: Vec::new(),
                width: 1,
                count: u64::MAX,
                pattern: (*pattern != b"*").then_some(pattern),
            });
        }
        let (head_len, mut width) = match () {
            () if is("SCAN") || is("CLUSTERSCAN") => (1, 1),
            () if is("SSCAN") => (2, 1),
            () if is("HSCAN") || is("ZSCAN") => (2, 2),
            () => return None,
        };
        let mut listing = Self {
            all: false,
            head: argv.get(..head_len)?.to_vec(),
            cursor: argv.get(head_len)?,
            options: Vec::new(),
            width,
            count: COUNT,
            pattern: None,
        };
        let mut words = argv[head_len + 1..].iter();
        while let Some(&word) = words.next() {
            if word.eq_ignore_ascii_case(b"MATCH") {
                let pattern = words.next()?;
                listing.pattern = (*pattern != b"*").then_some(pattern);
            } else if word.eq_ignore_ascii_case(b"COUNT") {
                let count = parse_integer(words.next()?)?;
                listing.count = u64::try_from(count).ok().filter(|count| *count > 0)?;
            } else {
                if word.eq_ignore_ascii_case(b"NOVALUES") || word.eq_ignore_ascii_case(b"NOSCORES")
                {
                    width = 1;
                }
                listing.options.push(word);
            }
        }
        listing.width = width;
        Some(listing)
    }

    /// Returns true for the command whose names another one finds.
    pub(crate) const fn is_keys(&self) -> bool {
        self.all
    }

    /// Runs it by scans, each of which `scan` gives to the server and hands its reply on. Returns the
    /// reply in RESP2; `None` if the server would not run one. With a budget, each scan is charged
    /// before it is done; the reply is not whole once the budget is exceeded.
    pub(crate) fn run(
        &self,
        budget: Option<&Budget<'_>>,
        mut scan: impl FnMut(&[&[u8]], &mut dyn FnMut(&[u8])) -> Option<()>,
    ) -> Option<Vec<u8>> {
        // The server leaves out what does not match, where that takes it no longer than us.
        let theirs = self.pattern.filter(|pattern| is_prefix(pattern));
        let ours = self.pattern.filter(|_| theirs.is_none());
        let matcher = match ours.map(Matcher::parse).transpose() {
            Ok(matcher) => matcher,
            Err(error) => return Some(format!("-ERR {error}\r\n").into_bytes()),
        };
        let mut found = Found::new(self.all, self.width, matcher, budget);
        let mut cursor = self.cursor.to_vec();
        let mut left = self.count;
        loop {
            let count = left.min(COUNT_PER_STEP);
            if found.charge(LOOKUP.saturating_mul(count)).is_err() {
                return Some(Vec::new());
            }
            let count_text = count.to_string();
            let mut argv = self.head.clone();
            argv.extend([&*cursor, b"COUNT", count_text.as_bytes()]);
            if let Some(pattern) = theirs {
                argv.extend([&b"MATCH"[..], pattern]);
            }
            argv.extend(&self.options);
            let mut next = None;
            scan(&argv, &mut |reply| next = Some(found.take(reply)))?;
            match next? {
                // An error of the server's, which is the reply.
                Err(Refused::Server(error)) => return Some(error),
                Err(Refused::Exceeded) => return Some(Vec::new()),
                Ok(next) => cursor = next,
            }
            left -= count;
            if cursor == b"0" || left == 0 {
                return Some(found.into_reply(&cursor));
            }
        }
    }
}

/// Returns true for a pattern that any matcher compares byte by byte, once: without special bytes, but for a
/// star at its end.
fn is_prefix(pattern: &[u8]) -> bool {
    let plain = pattern.strip_suffix(b"*").unwrap_or(pattern);
    !plain.iter().any(|byte| b"*?[]\\".contains(byte))
}

/// Reason why a step was the last one.
enum Refused {
    /// The server's reply is none of a scan.
    Server(Vec<u8>),
    /// The budget knows the reason.
    Exceeded,
}

impl From<Exceeded> for Refused {
    fn from(_: Exceeded) -> Self {
        Self::Exceeded
    }
}

/// The elements of the reply so far.
struct Found<'b> {
    /// Names that are in it, where none may be twice: a scan can find one again.
    seen: Option<HashSet<Box<[u8]>, foldhash::fast::RandomState>>,
    width: usize,
    matcher: Option<Matcher>,
    budget: Option<&'b Budget<'b>>,
    elements: Encoder,
    count: usize,
}

impl<'b> Found<'b> {
    fn new(
        once: bool,
        width: usize,
        matcher: Option<Matcher>,
        budget: Option<&'b Budget<'b>>,
    ) -> Self {
        Self {
            seen: once.then(HashSet::default),
            width,
            matcher,
            budget,
            elements: Encoder::default(),
            count: 0,
        }
    }

    fn charge(&self, units: u64) -> Result<(), Exceeded> {
        self.budget.map_or(Ok(()), |budget| budget.charge(units))
    }

    /// Takes the names of a scan's reply that match; returns the next cursor.
    fn take(&mut self, reply: &[u8]) -> Result<Vec<u8>, Refused> {
        // The reply is read, and was made, whether its names match or not.
        self.charge(budget::bytes(reply.len() as u64))?;
        let mut tokens = Tokens::new(reply);
        let (Some(Token::Array(2)), Some(Token::Bulk(cursor)), Some(Token::Array(_))) =
            (tokens.next(), tokens.next(), tokens.next())
        else {
            return Err(Refused::Server(reply.to_vec()));
        };
        while let Some(Token::Bulk(name)) = tokens.next() {
            let value = if self.width > 1 { tokens.next() } else { None };
            if let Some(matcher) = &self.matcher {
                self.charge(matcher.steps_max(name.len()) / STEPS_PER_UNIT)?;
                if !matcher.matches(name) {
                    continue;
                }
            }
            if let Some(seen) = &mut self.seen
                && !seen.insert(name.into())
            {
                continue;
            }
            self.elements.bulk(name);
            self.count += 1;
            if let Some(Token::Bulk(value)) = value {
                self.elements.bulk(value);
                self.count += 1;
            }
        }
        if let Some(budget) = self.budget
            && self.elements.len() > budget.bounds().reply_bytes_max
        {
            return Err(budget.exceed(Exceeded::Reply).into());
        }
        Ok(cursor.to_vec())
    }

    fn into_reply(mut self, cursor: &[u8]) -> Vec<u8> {
        let mut reply = Encoder::default();
        if self.seen.is_none() {
            reply.array(2);
            reply.bulk(cursor);
        }
        reply.array(self.count);
        let mut reply = reply.take();
        reply.append(&mut self.elements.take());
        reply
    }
}

#[cfg(test)]
mod tests {
    use ferrite_protocol::budget::{Bounds, Budget, Exceeded};
    use ferrite_protocol::glob::Matcher;

    use super::{Found, Listing, Refused, is_prefix};

    fn listing(line: &str) -> Option<(bool, u64, Option<String>, usize, usize)> {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Listing::of(&argv).map(|listing| {
            let pattern = listing
                .pattern
                .map(|text| String::from_utf8_lossy(text).into());
            let Listing {
                all,
                count,
                width,
                options,
                ..
            } = listing;
            (all, count, pattern, width, options.len())
        })
    }

    #[test]
    fn the_pattern_and_the_count_are_taken_out() {
        for (line, expected) in [
            ("keys a*", Some((true, u64::MAX, Some("a*".into()), 1, 0))),
            ("KEYS *", Some((true, u64::MAX, None, 1, 0))),
            ("SCAN 0", Some((false, 10, None, 1, 0))),
            (
                "scan 7 match [a] COUNT 99999 type hash",
                Some((false, 99_999, Some("[a]".into()), 1, 2)),
            ),
            (
                "HSCAN k 0 COUNT 5 MATCH x MATCH y",
                Some((false, 5, Some("y".into()), 2, 0)),
            ),
            ("HSCAN k 0 NOVALUES", Some((false, 10, None, 1, 1))),
            ("SSCAN k 0 MATCH *", Some((false, 10, None, 1, 0))),
            ("ZSCAN k 0", Some((false, 10, None, 2, 0))),
            // The server has an error for these.
            ("KEYS", None),
            ("SCAN", None),
            ("HSCAN k", None),
            ("SCAN 0 MATCH", None),
            ("SCAN 0 COUNT 0", None),
            ("SCAN 0 COUNT x", None),
            ("GET k", None),
        ] {
            assert_eq!(listing(line), expected, "{line}");
        }
    }

    #[test]
    fn the_server_matches_plain_prefixes_alone() {
        for pattern in ["user:*", "user", "*", ""] {
            assert!(is_prefix(pattern.as_bytes()), "{pattern}");
        }
        for pattern in ["*a", "a*b*", "a?", "[a]*", "a\\*", "a**"] {
            assert!(!is_prefix(pattern.as_bytes()), "{pattern}");
        }
        let mut asked = Vec::new();
        for (line, expected) in [
            ("KEYS user:*", "SCAN 0 COUNT 500 MATCH user:*"),
            ("KEYS *user", "SCAN 0 COUNT 500"),
            ("HSCAN k 7 MATCH f* COUNT 3", "HSCAN k 7 COUNT 3 MATCH f*"),
        ] {
            let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let listing = Listing::of(&argv).expect("it lists names");
            let reply = listing.run(None, |argv, take| {
                asked = argv.join(&b' ');
                take(b"*2\r\n$1\r\n0\r\n*0\r\n");
                Some(())
            });
            assert!(reply.is_some());
            assert_eq!(asked, expected.as_bytes(), "{line}");
        }
    }

    #[test]
    fn names_are_matched_charged_and_told_once() {
        let bounds = Bounds {
            work_max: 1_000,
            written_bytes_max: 0,
            reply_bytes_max: 40,
        };
        let budget = Budget::new(bounds, &|| false);
        let page: &[u8] = b"*2\r\n$1\r\n7\r\n*3\r\n$2\r\na1\r\n$2\r\nb1\r\n$2\r\na2\r\n";
        let mut found = Found::new(true, 1, Some(Matcher::new(b"a*")), Some(&budget));
        assert_eq!(found.take(page).ok(), Some(b"7".to_vec()));
        assert_eq!(found.take(page).ok(), Some(b"7".to_vec()));
        assert!(budget.work() > 0);
        let reply = found.into_reply(b"0");
        assert_eq!(reply, b"*2\r\n$2\r\na1\r\n$2\r\na2\r\n");

        // Without the set, both pages count, which is too long.
        let mut found = Found::new(false, 1, None, Some(&budget));
        assert!(found.take(page).is_ok());
        assert!(matches!(found.take(page), Err(Refused::Exceeded)));
        assert_eq!(budget.exceeded(), Some(Exceeded::Reply));
    }

    #[test]
    fn values_stay_with_their_names() {
        let page: &[u8] = b"*2\r\n$1\r\n0\r\n*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nb\r\n$1\r\nc\r\n";
        let mut found = Found::new(false, 2, Some(Matcher::new(b"b")), None);
        assert_eq!(found.take(page).ok(), Some(b"0".to_vec()));
        let reply = found.into_reply(b"0");
        assert_eq!(reply, b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n");
        let mut found = Found::new(false, 2, None, None);
        let error = found.take(b"-WRONGTYPE no\r\n");
        assert!(matches!(error, Err(Refused::Server(text)) if text == b"-WRONGTYPE no\r\n"));
    }
}
