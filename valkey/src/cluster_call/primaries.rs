//! The primaries of the cluster with their slots, as this node knows them.

use ferrite_protocol::resp::tree::{Token, Tokens};

use crate::api::command_call::Format;
use crate::api::context::Context;
use crate::api::ffi;
use crate::transaction::server_reads;

/// Number of slots of a cluster.
const SLOTS: usize = 16_384;

/// A primary that has slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Primary {
    pub(crate) id: String,
    /// Address for clients, as host and port.
    pub(crate) address: String,
    /// The slots, as the server writes them.
    pub(crate) slots: String,
    pub(crate) is_self: bool,
    /// True if most primaries agree that it has failed, or if it has no address.
    pub(crate) has_failed: bool,
    /// True if it gives slots away or gets some. Each node knows that of itself alone.
    pub(crate) moves_slots: bool,
}

/// The nodes that have slots, and how many slots no node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(crate) primaries: Vec<Primary>,
    pub(crate) slots_missing: usize,
}

/// Returns the nodes of this server's cluster. Outside of a cluster that is the server alone.
pub(crate) fn topology(context: Context<'_>) -> Option<Topology> {
    if context.flags() & ffi::CTX_CLUSTER == 0 {
        return Some(Topology {
            primaries: vec![Primary {
                id: run_id(context)?,
                address: String::new(),
                slots: String::new(),
                is_self: true,
                has_failed: false,
                moves_slots: false,
            }],
            slots_missing: 0,
        });
    }
    text(context, &[b"CLUSTER", b"NODES"], read)
}

/// Returns true if this node has exactly these slots, and neither gives any away nor gets some.
pub(crate) fn holds_slots(context: Context<'_>, slots: &str) -> bool {
    topology(context).is_some_and(|topology| {
        let own = topology.primaries.iter().find(|one| one.is_self);
        own.is_some_and(|own| own.slots == slots && !own.moves_slots)
    })
}

fn run_id(context: Context<'_>) -> Option<String> {
    text(context, &[b"INFO", b"server"], |text| {
        let mut lines = text.lines();
        lines.find_map(|line| Some(line.strip_prefix("run_id:")?.trim().to_owned()))
    })
    .flatten()
}

/// Gives `read` the text that a command of the server replies.
fn text<R>(context: Context<'_>, argv: &[&[u8]], read: impl FnOnce(&str) -> R) -> Option<R> {
    server_reads::command(context, argv, Format::Own, |reply| {
        match Tokens::new(reply).next() {
            Some(Token::Bulk(text) | Token::Verbatim(_, text)) => {
                Some(read(&String::from_utf8_lossy(text)))
            }
            _ => None,
        }
    })?
}

/// Reads what the server says about the nodes of its cluster, a line each: id, address, flags, primary,
/// three numbers, state of the connection, slots.
fn read(nodes: &str) -> Topology {
    const FIELDS_BEFORE_SLOTS: usize = 8;
    let mut topology = Topology {
        primaries: Vec::new(),
        slots_missing: SLOTS,
    };
    for line in nodes.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some((head, slots)) = fields.split_at_checked(FIELDS_BEFORE_SLOTS) else {
            continue;
        };
        let (id, address, flags) = (head[0], head[1], head[2]);
        let has = |flag| flags.split(',').any(|one| one == flag);
        let held: Vec<&str> = slots
            .iter()
            .copied()
            .filter(|range| !range.starts_with('['))
            .collect();
        if !has("master") || held.is_empty() {
            continue;
        }
        let count: usize = held.iter().map(|range| count_of(range)).sum();
        topology.slots_missing = topology.slots_missing.saturating_sub(count);
        topology.primaries.push(Primary {
            id: id.to_owned(),
            address: address.split('@').next().unwrap_or_default().to_owned(),
            slots: held.join(" "),
            is_self: has("myself"),
            has_failed: has("fail") || has("noaddr"),
            moves_slots: held.len() < slots.len(),
        });
    }
    topology
        .primaries
        .sort_by(|one, other| one.id.cmp(&other.id));
    topology
}

/// Number of slots in a range, such as `5` or `0-5460`.
fn count_of(range: &str) -> usize {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last && last < SLOTS => last - first + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    const NODES: &str = "\
b7 127.0.0.1:7002@17002,host master,fail - 1 2 3 disconnected 5461-10922
a1 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5459 5460 [77->-b7]
c9 127.0.0.1:7003@17003 master - 0 0 3 connected 10923-16382
d2 127.0.0.1:7004@17004 slave a1 0 0 1 connected
e3 127.0.0.1:7005@17005 master,fail - 0 0 0 disconnected
";

    #[test]
    fn primaries_with_slots_are_found() {
        let topology = read(NODES);
        let ids: Vec<&str> = topology
            .primaries
            .iter()
            .map(|one| one.id.as_str())
            .collect();
        assert_eq!(ids, ["a1", "b7", "c9"]);
        assert_eq!(topology.slots_missing, 1);
        let [a, b, c] = &topology.primaries[..] else {
            panic!("three primaries");
        };
        assert_eq!(a.slots, "0-5459 5460");
        assert!(a.is_self && a.moves_slots && !a.has_failed);
        assert_eq!(b.address, "127.0.0.1:7002");
        assert!(b.has_failed && !b.moves_slots);
        assert!(!c.has_failed && !c.is_self);
    }

    #[test]
    fn whatever_a_server_says_is_read_without_a_panic() {
        for text in [
            "",
            "\n\n",
            "a b c",
            "a b master d e f g h 9-1 x-y 99999999999999999999",
        ] {
            let topology = read(text);
            assert_eq!(topology.slots_missing, 16_384, "{text}");
        }
    }
}
