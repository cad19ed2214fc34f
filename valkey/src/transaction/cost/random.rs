//! Commands that choose elements with repetition: the server is asked for some at a time.
//!
//! Such a command may choose one long element any number of times. Its reply is put together here, and ends
//! when it has become too long.

use ferrite_protocol::budget::{Budget, Exceeded};
use ferrite_protocol::number::parse_integer;
use ferrite_protocol::resp::Encoder;
use ferrite_protocol::resp::tree::{Token, Tokens};

/// Most elements that the server is asked for at a time, and those of the first time.
const COUNT_PER_STEP: u64 = 64;
const COUNT_AT_FIRST: u64 = 2;

/// Bytes of a step, as far as the elements so far tell how long they are.
const BYTES_PER_STEP: u64 = 1 << 20;

/// A command that chooses elements with repetition, more of them than one step has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RandomElements<'a> {
    name: &'a [u8],
    key: &'a [u8],
    options: &'a [&'a [u8]],
    count: u64,
}

impl<'a> RandomElements<'a> {
    /// Reads a command; `None` if it is another one, or chooses few.
    pub(crate) fn of(argv: &'a [&'a [u8]]) -> Option<Self> {
        let [name, key, count, options @ ..] = argv else {
            return None;
        };
        let names = ["SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER"];
        let is_one = names
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        let count = parse_integer(count).filter(|count| is_one && *count < 0)?;
        (count.unsigned_abs() > COUNT_PER_STEP).then(|| Self {
            name,
            key,
            options,
            count: count.unsigned_abs(),
        })
    }

    /// Runs it in steps, each of which `step` gives to the server and hands its reply on. Returns the reply
    /// in RESP2; `None` if the server would not run a step. The reply is not whole once the budget is
    /// exceeded.
    pub(crate) fn run(
        &self,
        budget: Option<&Budget<'_>>,
        mut step: impl FnMut(&[&[u8]], &mut dyn FnMut(&[u8])) -> Option<()>,
    ) -> Option<Vec<u8>> {
        let (mut elements, mut len) = (Vec::new(), 0);
        let mut left = self.count;
        let mut count_max = COUNT_AT_FIRST;
        let mut longest = 1;
        while left > 0 {
            let count = left.min(count_max);
            let text = format!("-{count}");
            let mut argv = vec![self.name, self.key, text.as_bytes()];
            argv.extend(self.options);
            let mut other = None;
            step(&argv, &mut |reply| match rest_of_array(reply) {
                Some((found, rest)) => {
                    len += found;
                    elements.extend_from_slice(rest);
                    longest = longest.max(rest.len() as u64 / count);
                }
                None => other = Some(reply.to_vec()),
            })?;
            // An error of the server's, which is the reply.
            if other.is_some() {
                return other;
            }
            // There is no such key.
            if len == 0 {
                break;
            }
            if let Some(budget) = budget
                && elements.len() > budget.bounds().reply_bytes_max
            {
                budget.exceed(Exceeded::Reply);
                return Some(Vec::new());
            }
            left -= count;
            count_max = (BYTES_PER_STEP / longest).clamp(1, COUNT_PER_STEP);
        }
        let mut reply = Encoder::default();
        reply.array(len);
        let mut reply = reply.take();
        reply.append(&mut elements);
        Some(reply)
    }
}

/// Returns the number of an array's elements, and what follows its head.
fn rest_of_array(reply: &[u8]) -> Option<(usize, &[u8])> {
    let Some(Token::Array(len)) = Tokens::new(reply).next() else {
        return None;
    };
    let head = reply.iter().position(|byte| *byte == b'\n')?;
    Some((len, &reply[head + 1..]))
}

#[cfg(test)]
mod tests {
    use ferrite_protocol::budget::{Bounds, Budget, Exceeded};

    use super::RandomElements;

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn only_many_with_repetition_are_asked_for_in_steps() {
        for line in ["SRANDMEMBER s -65", "hrandfield h -1000 WITHVALUES"] {
            assert!(RandomElements::of(&words(line)).is_some(), "{line}");
        }
        for line in [
            "SRANDMEMBER s -64",
            "SRANDMEMBER s 1000",
            "SRANDMEMBER s x",
            "SRANDMEMBER s",
            "LRANGE l -100",
        ] {
            assert!(RandomElements::of(&words(line)).is_none(), "{line}");
        }
    }

    #[test]
    fn the_reply_is_that_of_one_command() {
        let argv = words("ZRANDMEMBER z -130 WITHSCORES");
        let mut asked = Vec::new();
        let reply = RandomElements::of(&argv).and_then(|random| {
            random.run(None, |argv, take| {
                asked.push(String::from_utf8(argv.join(&b' ')).expect("text"));
                take(b"*2\r\n$1\r\na\r\n$1\r\n1\r\n");
                Some(())
            })
        });
        let expected = [
            "ZRANDMEMBER z -2 WITHSCORES",
            "ZRANDMEMBER z -64 WITHSCORES",
            "ZRANDMEMBER z -64 WITHSCORES",
        ];
        assert_eq!(asked, expected);
        let pair = "$1\r\na\r\n$1\r\n1\r\n";
        assert_eq!(reply, Some(format!("*6\r\n{}", pair.repeat(3)).into()));
    }

    #[test]
    fn long_elements_are_asked_for_one_by_one() {
        let argv = words("SRANDMEMBER s -70");
        let long = format!("*1\r\n${}\r\n{}\r\n", 1 << 21, "x".repeat(1 << 21));
        let mut counts = Vec::new();
        let random = RandomElements::of(&argv).expect("it is one");
        random.run(None, |argv, take| {
            counts.push(argv[2].to_vec());
            take(long.as_bytes());
            Some(())
        });
        assert_eq!(counts.len(), 69);
        assert_eq!((&*counts[0], &*counts[1]), (&b"-2"[..], &b"-1"[..]));
    }

    #[test]
    fn errors_and_missing_keys_end_it() {
        let argv = words("SRANDMEMBER s -1000");
        for answer in ["-WRONGTYPE no\r\n", "*0\r\n"] {
            let mut steps = 0;
            let reply = RandomElements::of(&argv).and_then(|random| {
                random.run(None, |_, take| {
                    steps += 1;
                    take(answer.as_bytes());
                    Some(())
                })
            });
            assert_eq!((reply, steps), (Some(answer.into()), 1));
        }
    }

    #[test]
    fn a_reply_ends_when_it_is_too_long() {
        let bounds = Bounds {
            work_max: 1_000,
            written_bytes_max: 0,
            reply_bytes_max: 40,
        };
        let budget = Budget::new(bounds, &|| false);
        let argv = words("SRANDMEMBER s -1000000");
        let mut steps = 0;
        let random = RandomElements::of(&argv).expect("it is one");
        random.run(Some(&budget), |_, take| {
            steps += 1;
            take(b"*1\r\n$10\r\n0123456789\r\n");
            Some(())
        });
        assert_eq!((steps, budget.exceeded()), (3, Some(Exceeded::Reply)));
    }
}
