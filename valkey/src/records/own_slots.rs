//! The slots that this node of a cluster serves or gets, to tell a client's removal of a key from the server's.
//!
//! A server removes the keys of a slot that is another node's by now, or of which it got a part in vain, and tells
//! modules of each. For the cluster nothing has happened to them.

use std::ops::RangeInclusive;

use ferrite_protocol::resp::tree::{Token, Tokens};

use crate::api::command_call::Format;
use crate::api::context::Context;
use crate::api::locked_cell::LockedCell;
use crate::records::slot;

/// The answer of the server, until [`forget`]: there may be very many keys in a slot.
static KNOWN: LockedCell<Option<Box<OwnSlots>>> = LockedCell::new(None);

/// Returns true if the slot of a key is another node's, and this one does not get it key by key.
pub(crate) fn is_anothers(context: Context<'_>, key: &[u8]) -> bool {
    let known = KNOWN.take(context);
    let Some(known) = known.or_else(|| ask(context).map(Box::new)) else {
        return false;
    };
    let is_anothers = !known.has(slot::of(key));
    KNOWN.set(context, Some(known));
    is_anothers
}

/// Asks again the next time.
pub(crate) fn forget(context: Context<'_>) {
    KNOWN.take(context);
}

fn ask(context: Context<'_>) -> Option<OwnSlots> {
    let argv = [context.string(b"NODES")];
    let reply = context.call(c"CLUSTER", Format::Own, &argv)?;
    match Tokens::new(reply.bytes()).next() {
        Some(Token::Bulk(text) | Token::Verbatim(_, text)) => {
            OwnSlots::read(&String::from_utf8_lossy(text))
        }
        _ => None,
    }
}

/// Slots that this node has, those that leave it key by key included, and those that come key by key.
#[derive(Debug, PartialEq, Eq)]
struct OwnSlots(Vec<RangeInclusive<u16>>);

impl OwnSlots {
    /// Reads the line about this node: id, address, flags, primary, three numbers, state of the connection,
    /// slots. Those that come are written as `[slot-<-node]`.
    fn read(nodes: &str) -> Option<Self> {
        let own = nodes.lines().find(|line| {
            let flags = line.split_ascii_whitespace().nth(2);
            flags.is_some_and(|flags| flags.split(',').any(|flag| flag == "myself"))
        })?;
        let slots = own.split_ascii_whitespace().skip(8);
        Some(Self(slots.filter_map(range).collect()))
    }

    fn has(&self, slot: u16) -> bool {
        self.0.iter().any(|range| range.contains(&slot))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = match text.strip_prefix('[') {
        Some(moving) => {
            let slot = moving.split('-').next()?;
            (slot, slot)
        }
        None => text.split_once('-').unwrap_or((text, text)),
    };
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::OwnSlots;

    #[test]
    fn own_slots_are_read_from_the_line_of_this_node() {
        let nodes = "\
b7 127.0.0.1:7002@17002 master - 1 2 3 connected 5461-10922
a1 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-100 200 [77->-b7] [9000-<-b7]
";
        let slots = OwnSlots::read(nodes).expect("there is a line");
        for own in [0, 77, 100, 200, 9000] {
            assert!(slots.has(own), "{own}");
        }
        for other in [101, 199, 201, 5461, 16_383] {
            assert!(!slots.has(other), "{other}");
        }
        let none = "a1 127.0.0.1:7001@17001 myself,master - 0 0 1 connected\n";
        assert_eq!(OwnSlots::read(none), Some(OwnSlots(Vec::new())));
        for text in ["", "\n", "a b", "a b myself c d e f g [ x-y 99999 [-<-"] {
            let read = OwnSlots::read(text);
            assert!(read.is_none_or(|slots| slots.0.is_empty()), "{text}");
        }
    }
}
