//! `SCAN` for a function whose keys are restricted.
//!
//! The cursors of the host's own `SCAN`, and the number of calls that it takes to see everything, tell
//! how many keys there are that the function may not access. So it gets all keys that match in one
//! page, with the cursor 0.

use ferrite_protocol::budget::{Budget, COMMAND, Exceeded};
use ferrite_protocol::keyspace::Transaction;
use ferrite_protocol::resp::tree::{Token, Tokens};
use ferrite_protocol::resp::{BoundedReply, Encoder, Protocol, ReplyWriter as _};

/// Number of keys that the host is asked to look at for one of its pages.
const PAGE: &[u8] = b"1000";

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
    let mut cursor: Vec<u8> = b"0".to_vec();
    let mut shown: Vec<Box<[u8]>> = Vec::new();
    let mut shown_bytes = 0;
    let mut first = true;
    loop {
        let mut page = Encoder::new(Protocol::Resp2);
        // The last of two options counts.
        let request: Vec<&[u8]> = [argv[0], &cursor]
            .into_iter()
            .chain(argv.iter().skip(2).copied())
            .chain([&b"COUNT"[..], PAGE])
            .collect();
        // The first page is asked for as the function did, so that its errors are the host's.
        let request = if first { argv } else { &request };
        budget.charge(COMMAND)?;
        transaction.call(request, visible, budget, &mut page)?;
        let mut tokens = Tokens::new(page.bytes());
        let (Some(Token::Array(2)), Some(Token::Bulk(next)), Some(Token::Array(_))) =
            (tokens.next(), tokens.next(), tokens.next())
        else {
            reply.raw(page.bytes());
            return Ok(());
        };
        if first && !is_start(argv[1]) {
            // The first page had everything.
            break;
        }
        first = false;
        shown.extend(tokens.filter_map(|token| match token {
            Token::Bulk(key) => Some(Box::from(key)),
            _ => None,
        }));
        shown_bytes += page.len();
        if shown_bytes > budget.bounds().reply_bytes_max {
            return Err(budget.exceed(Exceeded::Reply));
        }
        if is_start(next) {
            break;
        }
        cursor = next.to_vec();
    }
    let mut reply = BoundedReply::new(reply, budget);
    reply.array(2);
    reply.bulk(b"0");
    reply.array(shown.len());
    for key in shown {
        reply.bulk(&key);
    }
    reply.finish()
}

/// Returns true for the cursor that begins and ends a scan.
fn is_start(cursor: &[u8]) -> bool {
    cursor.iter().all(|&digit| digit == b'0')
}
