//! `SCAN` for a function whose keys are restricted.
//!
//! The cursors of the host's own `SCAN`, and the number of calls that it takes to see everything, tell
//! how many keys there are that the function may not access. So it gets cursors that tell nothing, and
//! every page but the last has as many keys as it asks for.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use ferrite_protocol::budget::{Budget, COMMAND, Exceeded};
use ferrite_protocol::keyspace::Transaction;
use ferrite_protocol::resp::tree::{Token, Tokens};
use ferrite_protocol::resp::{BoundedReply, Encoder, Protocol, ReplyWriter as _};

/// Number of keys that the host is asked to look at for one of its pages.
const PAGE: &[u8] = b"1000";

/// Number of keys on a page of a function that asks for none.
const COUNT: usize = 10;

/// Returns true for a request of `SCAN`.
pub(super) fn is_scan(argv: &[&[u8]]) -> bool {
    argv[0].eq_ignore_ascii_case(b"SCAN")
}

/// Answers a `SCAN` whose number of arguments was checked.
///
/// # Errors
///
/// The reason why the command ended before it was through.
pub(super) fn answer<T: Transaction>(
    transaction: &mut T,
    argv: &[&[u8]],
    visible: &dyn Fn(&[u8]) -> bool,
    budget: &Budget<'_>,
    reply: &mut Encoder,
) -> Result<(), Exceeded> {
    let mut cursor = match number(argv[1]) {
        None | Some(0) => argv[1].to_vec(),
        Some(sealed) => open(sealed).to_string().into_bytes(),
    };
    let wanted = count(argv);
    let mut shown: Vec<Box<[u8]>> = Vec::new();
    let mut shown_bytes = 0;
    // The first page is asked for as the function did, so that its errors are the host's.
    let mut count: &[&[u8]] = &[];
    let sealed = loop {
        let mut page = Encoder::new(Protocol::Resp2);
        // The last of two options counts.
        let request: Vec<&[u8]> = [argv[0], &cursor]
            .into_iter()
            .chain(argv.iter().skip(2).chain(count).copied())
            .collect();
        budget.charge(COMMAND)?;
        transaction.call(&request, visible, budget, &mut page)?;
        let mut tokens = Tokens::new(page.bytes());
        let (Some(Token::Array(2)), Some(Token::Bulk(next)), Some(Token::Array(_))) =
            (tokens.next(), tokens.next(), tokens.next())
        else {
            reply.raw(page.bytes());
            return Ok(());
        };
        shown.extend(tokens.filter_map(|token| match token {
            Token::Bulk(key) => Some(Box::from(key)),
            _ => None,
        }));
        shown_bytes += page.len();
        if shown_bytes > budget.bounds().reply_bytes_max {
            return Err(budget.exceed(Exceeded::Reply));
        }
        match number(next) {
            Some(0) => break "0".to_owned(),
            // Its length tells nothing either.
            Some(next) if shown.len() >= wanted => break format!("{:020}", seal(next)),
            _ => {}
        }
        cursor = next.to_vec();
        count = &[b"COUNT", PAGE];
    };
    let mut reply = BoundedReply::new(reply, budget);
    reply.array(2);
    reply.bulk(sealed.as_bytes());
    reply.array(shown.len());
    for key in shown {
        reply.bulk(&key);
    }
    reply.finish()
}

/// Returns the number that a cursor is. It is 0 where a scan begins and ends.
fn number(cursor: &[u8]) -> Option<u64> {
    std::str::from_utf8(cursor).ok()?.parse().ok()
}

/// Returns the number of keys that a function asks for.
fn count(argv: &[&[u8]]) -> usize {
    let mut counts = argv
        .windows(2)
        .skip(2)
        .filter(|words| words[0].eq_ignore_ascii_case(b"COUNT"));
    counts
        .next_back()
        .and_then(|words| std::str::from_utf8(words[1]).ok()?.parse().ok())
        .unwrap_or(COUNT)
}

/// Makes functions' cursors of the host's, differently in each process.
static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// With four rounds, a Feistel network whose function nobody can tell from a random one is a permutation
/// that nobody can (Luby and Rackoff, 1988).
const ROUNDS: u8 = 4;

fn scramble(round: u8, half: u32) -> u32 {
    SECRET.hash_one((round, half)) as u32
}

fn permute(number: u64) -> u64 {
    let (mut left, mut right) = ((number >> u32::BITS) as u32, number as u32);
    for round in 0..ROUNDS {
        (left, right) = (right, left ^ scramble(round, right));
    }
    u64::from(left) << u32::BITS | u64::from(right)
}

fn unpermute(number: u64) -> u64 {
    let (mut left, mut right) = ((number >> u32::BITS) as u32, number as u32);
    for round in (0..ROUNDS).rev() {
        (left, right) = (right ^ scramble(round, left), left);
    }
    u64::from(left) << u32::BITS | u64::from(right)
}

/// Returns the function's cursor for one of the host's, neither of which is 0.
fn seal(cursor: u64) -> u64 {
    match permute(cursor) {
        0 => permute(0),
        sealed => sealed,
    }
}

/// Returns the host's cursor for one of a function. For another number it is anything.
fn open(sealed: u64) -> u64 {
    match unpermute(sealed) {
        0 => unpermute(0),
        cursor => cursor,
    }
}

#[cfg(test)]
mod tests {
    use super::{count, number, open, permute, seal, unpermute};

    #[test]
    fn cursors_come_back_and_are_never_the_end() {
        for cursor in (1..2_000).chain([1 << 32, u64::MAX]) {
            let sealed = seal(cursor);
            assert!(sealed != 0 && open(sealed) == cursor, "{cursor} {sealed}");
        }
        // The one whose place 0 has.
        let last = unpermute(0);
        assert_eq!(seal(last), permute(0));
        assert_eq!(open(seal(last)), last);
        let alike = (1..2_000).filter(|&cursor| seal(cursor) >> 32 == seal(cursor + 1) >> 32);
        assert!(alike.count() < 3, "they tell nothing of their distance");
    }

    #[test]
    fn requests_are_read() {
        assert_eq!(count(&[b"SCAN", b"0", b"MATCH", b"count"]), 10);
        assert_eq!(count(&[b"SCAN", b"0", b"count", b"3", b"Count", b"70"]), 70);
        assert_eq!(number(b"00000000000000000007"), Some(7));
        assert_eq!(number(b"x"), None);
    }
}
