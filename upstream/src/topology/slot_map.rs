//! The nodes that have the slots of a cluster.

use redis::Value;

use super::slots::SLOTS;
use crate::address::Address;

/// The node of each slot.
#[derive(Clone, Debug)]
pub(super) struct SlotMap {
    nodes: Vec<Address>,
    /// An index into the nodes, plus one; 0 for a slot that no node has.
    by_slot: Box<[u16]>,
}

impl SlotMap {
    /// Returns a map without nodes.
    pub(super) fn empty() -> Self {
        Self {
            nodes: Vec::new(),
            by_slot: vec![0; usize::from(SLOTS)].into_boxed_slice(),
        }
    }

    /// Reads the reply to `CLUSTER SLOTS` of the node at `asked`; `None` if it is none.
    pub(super) fn read(reply: &Value, asked: &Address) -> Option<Self> {
        let Value::Array(ranges) = reply else {
            return None;
        };
        let mut map = Self::empty();
        for range in ranges {
            let Value::Array(parts) = range else {
                return None;
            };
            let [
                Value::Int(first),
                Value::Int(last),
                Value::Array(primary),
                ..,
            ] = parts.as_slice()
            else {
                return None;
            };
            let [host, Value::Int(port), ..] = primary.as_slice() else {
                return None;
            };
            let host = match host {
                Value::BulkString(host) => std::str::from_utf8(host).ok()?,
                Value::SimpleString(host) => host,
                Value::Nil => "",
                _ => return None,
            };
            let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
            let port = u16::try_from(*port).ok()?;
            if first > last || last >= SLOTS {
                return None;
            }
            // A node whose port for this kind of connection is not known.
            if port == 0 {
                continue;
            }
            // A node that does not know its own name is where it was asked.
            let host = match host {
                "" | "?" => asked.host.clone(),
                host => host.to_owned(),
            };
            let index = map.index(Address { host, port })?;
            map.by_slot[usize::from(first)..=usize::from(last)].fill(index);
        }
        Some(map)
    }

    fn index(&mut self, node: Address) -> Option<u16> {
        let at = match self.nodes.iter().position(|known| *known == node) {
            Some(at) => at,
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        u16::try_from(at + 1).ok()
    }

    /// Notes that a slot has moved.
    pub(super) fn set(&mut self, slot: u16, node: &Address) {
        if slot < SLOTS
            && let Some(index) = self.index(node.clone())
        {
            self.by_slot[usize::from(slot)] = index;
        }
    }

    /// Returns the node of a slot.
    pub(super) fn node(&self, slot: u16) -> Option<&Address> {
        let index = usize::from(*self.by_slot.get(usize::from(slot))?);
        self.nodes.get(index.checked_sub(1)?)
    }

    /// Returns all primaries.
    pub(super) fn nodes(&self) -> &[Address] {
        &self.nodes
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::{Address, SlotMap};

    fn asked() -> Address {
        Address {
            host: "seed".to_owned(),
            port: 1,
        }
    }

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        let node = Value::Array(vec![host, Value::Int(port), Value::Nil]);
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            node.clone(),
            node,
        ])
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn ranges_are_read_and_slots_move() {
        let reply = Value::Array(vec![
            range(0, 9, text("a"), 7),
            range(10, 19, Value::Nil, 8),
            range(30, 39, text("a"), 7),
            range(40, 49, text("no port"), 0),
        ]);
        let mut map = SlotMap::read(&reply, &asked()).unwrap();
        let at = |map: &SlotMap, slot| map.node(slot).map(Address::to_string);
        assert_eq!(at(&map, 9).as_deref(), Some("a:7"));
        assert_eq!(at(&map, 10).as_deref(), Some("seed:8"));
        assert_eq!(at(&map, 20), None);
        assert_eq!(at(&map, 39).as_deref(), Some("a:7"));
        assert_eq!(at(&map, 40), None);
        assert_eq!(at(&map, u16::MAX), None);
        assert_eq!(map.nodes().len(), 2);
        map.set(9, &asked());
        assert_eq!(at(&map, 9).as_deref(), Some("seed:1"));
        assert_eq!(at(&map, 8).as_deref(), Some("a:7"));
        map.set(u16::MAX, &asked());
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for reply in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![range(5, 4, text("a"), 7)]),
            Value::Array(vec![range(0, 16_384, text("a"), 7)]),
            Value::Array(vec![range(-1, 4, text("a"), 7)]),
            Value::Array(vec![range(0, 4, text("a"), 70_000)]),
            Value::Array(vec![range(0, 4, Value::Int(1), 7)]),
        ] {
            assert!(SlotMap::read(&reply, &asked()).is_none(), "{reply:?}");
        }
    }
}
