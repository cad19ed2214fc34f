//! Commands on the keys or scripts of all nodes of a cluster.

use redis::{Cmd, Value};

use super::Upstream;
use crate::account::Account;
use crate::error::UpstreamError;

/// The replies of all nodes as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gathered {
    /// The sum of their numbers.
    Sum(i64),
    /// All their texts.
    List(Vec<Vec<u8>>),
    /// The status of the last one.
    Status(String),
    /// The text of the last one.
    Text(Vec<u8>),
}

/// Nodes that a cursor of `SCAN` can tell apart, more than any cluster has primaries.
const CURSOR_NODES: u64 = 16_384;

/// The place where a `SCAN` of all nodes goes on: on which node, and with which cursor there.
///
/// It is written as one number, which is 0 at the start and the end only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScanPlace {
    node: u64,
    cursor: u64,
}

impl ScanPlace {
    fn read(number: u64) -> Self {
        Self {
            node: number % CURSOR_NODES,
            cursor: number / CURSOR_NODES,
        }
    }

    /// Returns the number after a node answered with its `cursor`; `None` if it is too large.
    fn after(self, cursor: u64, nodes: usize) -> Option<u64> {
        match cursor {
            0 if self.node + 1 >= nodes as u64 => Some(0),
            0 => Some(self.node + 1),
            cursor => cursor.checked_mul(CURSOR_NODES)?.checked_add(self.node),
        }
    }
}

impl Upstream {
    /// Runs one step of a `SCAN` through the primaries of the cluster, one after the other; returns the next
    /// cursor and keys. The cursor counts primaries in the order of their addresses, so a primary that comes
    /// or goes in between may make it miss keys.
    ///
    /// # Errors
    ///
    /// The cursor is none, or the node cannot be reached or refuses the command.
    pub async fn scan(
        &self,
        account: &Account,
        database: u32,
        words: &[&[u8]],
    ) -> Result<(u64, Vec<Vec<u8>>), UpstreamError> {
        let refused = |text: &str| UpstreamError::Refused(text.into());
        let [name, cursor, options @ ..] = words else {
            return Err(refused("ERR wrong number of arguments for 'scan' command"));
        };
        let number: Option<u64> = str::from_utf8(cursor)
            .ok()
            .and_then(|digits| digits.parse().ok());
        let place = ScanPlace::read(number.ok_or_else(|| refused("ERR invalid cursor"))?);
        let mut nodes = self.topology().primaries(account).await?;
        nodes.sort_unstable_by_key(|node| (node.host.clone(), node.port));
        let Some(node) = usize::try_from(place.node)
            .ok()
            .and_then(|index| nodes.get(index))
        else {
            return Err(refused(
                "ERR invalid cursor: the cluster has fewer primaries; begin again with 0",
            ));
        };
        let mut command = Cmd::new();
        command.arg(*name).arg(place.cursor);
        for word in options {
            command.arg(*word);
        }
        let line = self.node_line(node, account, database)?;
        let sent = line.send(&command).await;
        let reply = sent.map_err(|failure| {
            self.topology().suspect();
            UpstreamError::from(failure)
        })?;
        scanned(reply)
            .and_then(|(cursor, keys)| Some((place.after(cursor, nodes.len())?, keys)))
            .ok_or_else(|| UpstreamError::Garbage {
                address: node.to_string(),
                reason: "SCAN answered no cursor and keys".into(),
            })
    }

    /// Sends a command to every primary of the cluster, one after the other, and returns their replies as
    /// one.
    ///
    /// # Errors
    ///
    /// One cannot be reached, or refuses it; those before it have run it.
    pub async fn on_every_primary(
        &self,
        account: &Account,
        database: u32,
        words: &[&[u8]],
    ) -> Result<Gathered, UpstreamError> {
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        let mut gathered = None;
        for node in self.topology().primaries(account).await? {
            let line = self.node_line(&node, account, database)?;
            let sent = line.send(&command).await;
            let reply = sent.map_err(|failure| {
                self.topology().suspect();
                UpstreamError::from(failure)
            })?;
            let garbage = || UpstreamError::Garbage {
                address: node.to_string(),
                reason: "a command for all nodes answered something else".into(),
            };
            gathered = Some(match (gathered, reply) {
                (Some(Gathered::Sum(sum)), Value::Int(more)) => {
                    Gathered::Sum(sum.saturating_add(more))
                }
                (_, Value::Int(number)) => Gathered::Sum(number),
                (known, Value::Array(more)) => {
                    let mut list = match known {
                        Some(Gathered::List(list)) => list,
                        _ => Vec::new(),
                    };
                    for one in more {
                        let Value::BulkString(text) = one else {
                            return Err(garbage());
                        };
                        list.push(text);
                    }
                    Gathered::List(list)
                }
                (_, Value::Okay) => Gathered::Status("OK".to_owned()),
                (_, Value::SimpleString(status)) => Gathered::Status(status),
                (_, Value::BulkString(text)) => Gathered::Text(text),
                _ => return Err(garbage()),
            });
        }
        gathered.ok_or_else(|| {
            UpstreamError::Refused("CLUSTERDOWN no node of the cluster has a slot".into())
        })
    }
}

/// Reads the reply to `SCAN`: the next cursor and the keys.
pub(super) fn scanned(reply: Value) -> Option<(u64, Vec<Vec<u8>>)> {
    let text = |value: Value| match value {
        Value::BulkString(text) => Some(text),
        _ => None,
    };
    let Value::Array(parts) = reply else {
        return None;
    };
    let [cursor, Value::Array(keys)] = <[Value; 2]>::try_from(parts).ok()? else {
        return None;
    };
    let cursor = String::from_utf8(text(cursor)?).ok()?.parse().ok()?;
    let keys = keys.into_iter().map(text).collect::<Option<_>>()?;
    Some((cursor, keys))
}

#[cfg(test)]
mod tests {
    use super::ScanPlace;

    #[test]
    fn a_cursor_goes_through_all_nodes_and_ends() {
        let mut number = 0;
        let mut seen = Vec::new();
        // Each node answers with these cursors.
        let mut cursors = [7, 3, 0].into_iter().cycle();
        loop {
            let place = ScanPlace::read(number);
            seen.push((place.node, place.cursor));
            let cursor = cursors.next().unwrap();
            number = place.after(cursor, 2).unwrap();
            if number == 0 {
                break;
            }
        }
        assert_eq!(seen, [(0, 0), (0, 7), (0, 3), (1, 0), (1, 7), (1, 3)]);
        assert_eq!(ScanPlace::read(0).after(u64::MAX, 2), None);
    }
}
