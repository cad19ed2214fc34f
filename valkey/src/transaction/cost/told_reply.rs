//! The length of a reply as far as it can be told before the server makes it.
//!
//! The server makes a whole reply before the module gets any of it. So what makes a reply longer than the
//! data it comes from, such as one field that is named a thousand times, is summed up before; and of what
//! shows the whole value of a key, the least that it can be.

use ferrite_protocol::budget::ACCESS;

use crate::transaction::cost::foreseen::{Between, Size, between, whole_range};

/// Bytes of the server's memory for an element at most, besides its text.
const OVERHEAD_PER_ELEMENT: u64 = 160;

/// Bytes of the server's memory for a key at most, besides its elements.
const OVERHEAD_PER_KEY: u64 = 4096;

/// Elements up to which the memory of a value is not asked for. It costs thousands of instructions, as much as a
/// short command, and the reply is no longer than the value.
const FEW_ELEMENTS: usize = 128;

/// Questions to the server about its data.
pub(crate) trait Ask {
    /// Bytes of memory that a key takes up.
    fn memory(&mut self, key: &[u8]) -> u64;
    /// Length of the string at a key.
    fn string(&mut self, key: &[u8]) -> u64;
    /// Length of a field of a hash.
    fn field(&mut self, key: &[u8], field: &[u8]) -> u64;
    /// The elements that a command of this kind replies.
    fn elements(&mut self, argv: &[&[u8]]) -> Vec<Vec<u8>>;
    /// Pays for work. Returns false if there is not enough left, or the reply has become too long.
    fn may_go_on(&mut self, work: u64, reply_bytes: u64) -> bool;
}

/// Lengths that are known before a command runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The reply has at least this length, in bytes.
    pub(crate) reply_bytes: u64,
    /// The command writes at least this, in bytes.
    pub(crate) written_bytes: u64,
}

/// Returns what can be told of a command whose keys have these sizes.
pub(crate) fn tell(argv: &[&[u8]], keys: &[&[u8]], sizes: &[Size], ask: &mut impl Ask) -> Told {
    let name = argv[0].to_ascii_lowercase();
    let reply_bytes = match &name[..] {
        b"hmget" => repeated_fields(argv, ask),
        b"hgetall" | b"hvals" | b"smembers" | b"sunion" => whole(keys, sizes, ask),
        b"lrange" if whole_range(argv.get(2), argv.get(3), sizes) => whole(keys, sizes, ask),
        b"zrange" | b"zrevrange" => match between(argv) {
            Some(Between::Places(first, last)) if whole_range(Some(&first), Some(&last), sizes) => {
                whole(keys, sizes, ask)
            }
            _ => 0,
        },
        b"xread" | b"xreadgroup" => repeated_keys(keys, sizes, ask),
        b"sort" | b"sort_ro" => return sorted(argv, ask),
        _ => 0,
    };
    Told {
        reply_bytes,
        written_bytes: 0,
    }
}

/// The least that the values of keys with many elements are as text. Of several, only the longest counts: others may
/// have the same elements.
fn whole(keys: &[&[u8]], sizes: &[Size], ask: &mut impl Ask) -> u64 {
    let least = |(key, size): (&&[u8], &Size)| match *size {
        Size::Elements(len) if len > FEW_ELEMENTS => least(ask.memory(key), len),
        Size::Elements(_) | Size::Nothing | Size::Bytes(_) => 0,
    };
    keys.iter().zip(sizes).map(least).max().unwrap_or(0)
}

/// The least length of elements that take up so much memory. The allocator rounds up by a quarter at most.
fn least(memory: u64, elements: usize) -> u64 {
    let overhead = OVERHEAD_PER_ELEMENT
        .saturating_mul(elements as u64)
        .saturating_add(OVERHEAD_PER_KEY);
    memory.saturating_sub(overhead) / 5 * 4
}

/// Returns the words that are there more than once, with their number.
fn repeated<'a>(words: &[&'a [u8]]) -> Vec<(&'a [u8], u64)> {
    let mut sorted: Vec<&[u8]> = words.to_vec();
    sorted.sort_unstable();
    let groups = sorted.chunk_by(|a, b| a == b);
    groups
        .filter(|group| group.len() > 1)
        .map(|group| (group[0], group.len() as u64))
        .collect()
}

fn repeated_fields(argv: &[&[u8]], ask: &mut impl Ask) -> u64 {
    let Some((key, fields)) = argv.get(1).zip(argv.get(2..)) else {
        return 0;
    };
    let lens = repeated(fields)
        .into_iter()
        .map(|(field, count)| ask.field(key, field).saturating_mul(count));
    lens.fold(0, u64::saturating_add)
}

fn repeated_keys(keys: &[&[u8]], sizes: &[Size], ask: &mut impl Ask) -> u64 {
    let lens = repeated(keys).into_iter().map(|(key, count)| {
        let size = keys.iter().position(|other| *other == key);
        match size.and_then(|at| sizes.get(at)) {
            Some(Size::Elements(len)) => least(ask.memory(key), *len).saturating_mul(count),
            _ => 0,
        }
    });
    lens.fold(0, u64::saturating_add)
}

/// Sums up the values that a sort shows, or stores, of the keys that its patterns name.
fn sorted(argv: &[&[u8]], ask: &mut impl Ask) -> Told {
    let is = |word: &[u8], option: &str| word.eq_ignore_ascii_case(option.as_bytes());
    let (mut patterns, mut stores) = (Vec::new(), false);
    let mut plain: Vec<&[u8]> = argv.iter().take(2).copied().collect();
    let mut words = argv.iter().skip(2).copied();
    while let Some(word) = words.next() {
        let operands = match () {
            () if is(word, "GET") => {
                patterns.extend(words.next());
                continue;
            }
            () if is(word, "STORE") => {
                stores = true;
                words.next();
                continue;
            }
            () if is(word, "BY") => 1,
            () if is(word, "LIMIT") => 2,
            () => 0,
        };
        plain.push(word);
        plain.extend(words.by_ref().take(operands));
    }
    let mut told = Told::default();
    if patterns.is_empty() {
        return told;
    }
    for element in ask.elements(&plain) {
        for pattern in &patterns {
            let shown = match Named::by(pattern, &element) {
                Some(Named::Element) => element.len() as u64,
                Some(Named::Key(key)) => ask.string(&key),
                Some(Named::Field(key, field)) => ask.field(&key, field),
                None => 0,
            };
            told.reply_bytes = told.reply_bytes.saturating_add(shown);
            let replied = if stores { 0 } else { told.reply_bytes };
            if !ask.may_go_on(ACCESS, replied) {
                return told;
            }
        }
    }
    if stores {
        told.written_bytes = std::mem::take(&mut told.reply_bytes);
    }
    told
}

/// The value that a pattern of a sort names for an element.
#[derive(Debug, PartialEq, Eq)]
enum Named<'a> {
    Element,
    Key(Vec<u8>),
    Field(Vec<u8>, &'a [u8]),
}

impl<'a> Named<'a> {
    /// Puts an element into a pattern; `None` if it names nothing.
    fn by(pattern: &'a [u8], element: &[u8]) -> Option<Self> {
        if pattern == b"#" {
            return Some(Self::Element);
        }
        let star = pattern.iter().position(|byte| *byte == b'*')?;
        let (head, tail) = (&pattern[..star], &pattern[star + 1..]);
        let arrow = tail.windows(2).position(|two| two == b"->");
        match arrow.filter(|at| at + 2 < tail.len()) {
            Some(at) => Some(Self::Field(
                [head, element, &tail[..at]].concat(),
                &tail[at + 2..],
            )),
            None => Some(Self::Key([head, element, tail].concat())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ask, FEW_ELEMENTS, Named, Told, tell};
    use crate::transaction::cost::foreseen::Size;

    /// A server with values of one size.
    struct Server {
        len: u64,
        asked: Vec<String>,
        work_left: u64,
    }

    impl Server {
        fn note(&mut self, what: &str, words: &[&[u8]]) {
            let words = words.join(&b' ');
            self.asked
                .push(format!("{what} {}", String::from_utf8_lossy(&words)));
        }
    }

    impl Ask for Server {
        fn memory(&mut self, key: &[u8]) -> u64 {
            self.note("memory", &[key]);
            self.len
        }

        fn string(&mut self, key: &[u8]) -> u64 {
            self.note("string", &[key]);
            self.len
        }

        fn field(&mut self, key: &[u8], field: &[u8]) -> u64 {
            self.note("field", &[key, field]);
            self.len
        }

        fn elements(&mut self, argv: &[&[u8]]) -> Vec<Vec<u8>> {
            self.note("elements", argv);
            vec![b"1".to_vec(), b"1".to_vec(), b"2".to_vec()]
        }

        fn may_go_on(&mut self, work: u64, _: u64) -> bool {
            self.work_left = self.work_left.saturating_sub(work);
            self.work_left > 0
        }
    }

    fn ask(line: &str, keys: &str, sizes: &[Size]) -> (Told, Vec<String>) {
        let split = |line: &'_ str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        let (line, keys) = (split(line), split(keys));
        let [words, keys] =
            [&line, &keys].map(|texts| texts.iter().map(String::as_bytes).collect::<Vec<_>>());
        let mut server = Server {
            len: 1_000_000,
            asked: Vec::new(),
            work_left: u64::MAX,
        };
        let told = tell(&words, &keys, sizes, &mut server);
        (told, server.asked)
    }

    #[test]
    fn what_a_reply_repeats_is_summed_up() {
        for (line, keys, reply, asked) in [
            ("HMGET h f g", "h", 0, &[][..]),
            ("hmget h f g f f", "h", 3_000_000, &["field h f"]),
            ("XREAD STREAMS x y 0 0", "x y", 0, &[]),
            (
                "XREAD STREAMS x y x 0 0 0",
                "x y x",
                1_590_880,
                &["memory x"],
            ),
            ("SORT l BY nosort", "l", 0, &[]),
            (
                "SORT l BY w* LIMIT 0 3 GET big GET b* DESC",
                "l",
                3_000_000,
                &[
                    "elements SORT l BY w* LIMIT 0 3 DESC",
                    "string b1",
                    "string b1",
                    "string b2",
                ],
            ),
            (
                "sort_ro l GET # GET h*->f",
                "l",
                3_000_003,
                &[
                    "elements sort_ro l",
                    "field h1 f",
                    "field h1 f",
                    "field h2 f",
                ],
            ),
        ] {
            let len = keys.split(' ').count();
            let (told, seen) = ask(line, keys, &vec![Size::Elements(10); len]);
            // Less the most that the server takes up for itself.
            let close = reply / 100 * 99..=reply;
            assert!(close.contains(&told.reply_bytes), "{line}: {told:?}");
            assert_eq!(seen, asked, "{line}");
        }
    }

    #[test]
    fn what_shows_all_of_a_value_is_at_least_most_of_its_memory() {
        for (line, expected) in [
            ("HGETALL k", true),
            ("HVALS k", true),
            ("HKEYS k", false),
            ("SMEMBERS k", true),
            ("LRANGE k 0 -1", true),
            ("LRANGE k -200 200", true),
            ("LRANGE k 1 -1", false),
            ("LRANGE k 0 198", false),
            ("ZRANGE k 0 -1", true),
            ("ZREVRANGE k 0 -1 WITHSCORES", true),
            ("ZRANGE k 0 1", false),
            ("ZRANGE k 0 1 BYSCORE", false),
        ] {
            let (told, _) = ask(line, "k", &[Size::Elements(200)]);
            let is_told = (700_000..1_000_000).contains(&told.reply_bytes);
            assert_eq!(is_told, expected, "{line}: {told:?}");
        }
        // Of few elements nothing is asked.
        let (told, asked) = ask("HGETALL k", "k", &[Size::Elements(FEW_ELEMENTS)]);
        assert_eq!((told.reply_bytes, asked.len()), (0, 0));
        // Small elements take up memory that is no reply.
        let (told, _) = ask("SMEMBERS k", "k", &[Size::Elements(10_000)]);
        assert_eq!(told.reply_bytes, 0);
    }

    #[test]
    fn what_a_sort_stores_is_written() {
        let (told, _) = ask("SORT l GET b* STORE to", "l to", &[Size::Elements(3); 2]);
        let expected = Told {
            reply_bytes: 0,
            written_bytes: 3_000_000,
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn sums_end_with_the_work_that_is_left() {
        let mut server = Server {
            len: 1,
            asked: Vec::new(),
            work_left: 300,
        };
        let argv = [&b"SORT"[..], b"l", b"GET", b"b*"];
        tell(&argv, &[b"l"], &[Size::Elements(3)], &mut server);
        assert_eq!(server.asked.len(), 3, "{:?}", server.asked);
    }

    #[test]
    fn patterns_name_what_the_server_reads() {
        let key = |text: &str| Some(Named::Key(text.into()));
        for (pattern, expected) in [
            ("#", Some(Named::Element)),
            ("plain", None),
            ("w_*", key("w_7")),
            ("*", key("7")),
            ("a*b*", key("a7b*")),
            ("h*->f", Some(Named::Field(b"h7".to_vec(), b"f"))),
            ("h*x->f", Some(Named::Field(b"h7x".to_vec(), b"f"))),
            ("h*->", key("h7->")),
            ("h->f*", key("h->f7")),
        ] {
            assert_eq!(Named::by(pattern.as_bytes(), b"7"), expected, "{pattern}");
        }
    }
}
