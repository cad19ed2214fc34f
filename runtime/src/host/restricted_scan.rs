//! `SCAN` for a function whose keys are restricted.
//!
//! The cursors of the host's own `SCAN`, and the number of calls that it takes to see everything, tell
//! how many keys there are that the function may not access. So it gets all keys that match in one
//! page, with the cursor 0.

use ferrite_protocol::keyspace::Transaction;
use ferrite_protocol::resp::tree::{Token, Tokens};
use ferrite_protocol::resp::{Encoder, Protocol};

/// Number of keys that the host is asked to look at for one of its pages.
const PAGE: &[u8] = b"1000";

/// Returns true for a request of `SCAN`.
pub(super) fn is_scan(argv: &[&[u8]]) -> bool {
    argv[0].eq_ignore_ascii_case(b"SCAN")
}

/// Answers a `SCAN` whose number of arguments was checked, and returns the number of the host's pages
/// that it took.
pub(super) fn answer<T: Transaction>(
    transaction: &mut T,
    argv: &[&[u8]],
    visible: &dyn Fn(&[u8]) -> bool,
    reply: &mut Encoder,
) -> u64 {
    let mut cursor: Vec<u8> = b"0".to_vec();
    let mut shown: Vec<Box<[u8]>> = Vec::new();
    let mut pages = 0;
    loop {
        let mut page = Encoder::new(Protocol::Resp2);
        // The last of two options counts.
        let request: Vec<&[u8]> = [argv[0], &cursor]
            .into_iter()
            .chain(argv.iter().skip(2).copied())
            .chain([&b"COUNT"[..], PAGE])
            .collect();
        // The first page is asked for as the function did, so that its errors are the host's.
        let request = if pages == 0 { argv } else { &request };
        pages += 1;
        transaction.call(request, visible, &mut page);
        let mut tokens = Tokens::new(page.bytes());
        let (Some(Token::Array(2)), Some(Token::Bulk(next)), Some(Token::Array(_))) =
            (tokens.next(), tokens.next(), tokens.next())
        else {
            reply.raw(page.bytes());
            return pages;
        };
        if pages == 1 && !is_start(argv[1]) {
            // The first page had everything.
            break;
        }
        shown.extend(tokens.filter_map(|token| match token {
            Token::Bulk(key) => Some(Box::from(key)),
            _ => None,
        }));
        if is_start(next) {
            break;
        }
        cursor = next.to_vec();
    }
    reply.array(2);
    reply.bulk(b"0");
    reply.array(shown.len());
    for key in shown {
        reply.bulk(&key);
    }
    pages
}

/// Returns true for the cursor that begins and ends a scan.
fn is_start(cursor: &[u8]) -> bool {
    cursor.iter().all(|&digit| digit == b'0')
}
