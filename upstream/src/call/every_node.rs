//! Commands on the keys or scripts of all nodes of a cluster.

use std::time::Instant;

use redis::{Cmd, Value};

use super::Upstream;
use crate::account::Account;
use crate::address::Address;
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

/// Times that a question to all primaries is asked again because they changed meanwhile.
const QUESTIONS_MAX: u32 = 3;

/// Nodes that a cursor of `SCAN` can tell apart, more than a cluster can have primaries and work.
const CURSOR_NODES: u64 = 1024;

/// Fingerprints of the primaries that a cursor of `SCAN` can tell apart.
const CURSOR_PRINTS: u64 = 16_384;

/// The place where a `SCAN` of all nodes goes on: on which node, and with which cursor there.
///
/// It is written as one number, which is 0 at the start and the end only. The number has a fingerprint of the
/// primaries, because another one that comes or goes would turn the node into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScanPlace {
    node: u64,
    print: u64,
    cursor: u64,
}

impl ScanPlace {
    fn read(number: u64) -> Self {
        Self {
            node: number % CURSOR_NODES,
            print: number / CURSOR_NODES % CURSOR_PRINTS,
            cursor: number / CURSOR_NODES / CURSOR_PRINTS,
        }
    }

    /// Returns true at the start of a scan, which needs no knowledge of the primaries.
    const fn is_start(self) -> bool {
        self.node == 0 && self.print == 0 && self.cursor == 0
    }

    /// Returns the number after a node answered with its `cursor`; `None` if it is too large.
    fn after(self, cursor: u64, nodes: &[Address]) -> Option<u64> {
        let node = match cursor {
            0 => self.node + 1,
            _ => self.node,
        };
        if node >= nodes.len() as u64 {
            return Some(0);
        }
        if node >= CURSOR_NODES {
            return None;
        }
        let number = cursor.checked_mul(CURSOR_NODES * CURSOR_PRINTS)?;
        number.checked_add(fingerprint(nodes) * CURSOR_NODES + node)
    }
}

/// Returns a number below [`CURSOR_PRINTS`] that hardly any other nodes have. All servers agree on it.
fn fingerprint(nodes: &[Address]) -> u64 {
    let mut digest = sha1_smol::Sha1::new();
    for node in nodes {
        digest.update(node.to_string().as_bytes());
        digest.update(b" ");
    }
    let [first, second, ..] = digest.digest().bytes();
    u64::from(u16::from_be_bytes([first, second])) % CURSOR_PRINTS
}

/// A question about the keys of all primaries, which is asked again if primaries came or went meanwhile.
pub(super) struct Question<'a> {
    upstream: &'a Upstream,
    account: &'a Account,
    nodes: Vec<Address>,
    times: u32,
}

impl<'a> Question<'a> {
    pub(super) async fn begin(
        upstream: &'a Upstream,
        account: &'a Account,
    ) -> Result<Self, UpstreamError> {
        Ok(Self {
            upstream,
            account,
            nodes: upstream.topology().primaries(account).await?,
            times: 0,
        })
    }

    /// Returns the primaries to be asked.
    pub(super) fn nodes(&self) -> &[Address] {
        &self.nodes
    }

    /// Returns true once all primaries have answered that there are now, and false if they have to be asked
    /// again.
    ///
    /// # Errors
    ///
    /// They change again and again, or no node can be reached.
    pub(super) async fn is_answered(&mut self) -> Result<bool, UpstreamError> {
        let topology = self.upstream.topology();
        let now = topology.primaries_after(Instant::now(), self.account);
        let before = std::mem::replace(&mut self.nodes, now.await?);
        self.times += 1;
        match before == self.nodes {
            true => Ok(true),
            false if self.times < QUESTIONS_MAX => Ok(false),
            false => Err(UpstreamError::PrimariesChange { times: self.times }),
        }
    }
}

impl Upstream {
    /// Runs one step of a `SCAN` through the primaries of the cluster, one after the other in the order of
    /// their addresses; returns the next cursor and keys.
    ///
    /// # Errors
    ///
    /// The cursor is none or of other primaries, or the node cannot be reached or refuses the command.
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
        let nodes = self.topology().primaries(account).await?;
        let node = usize::try_from(place.node).ok();
        let node = node.and_then(|index| nodes.get(index));
        let is_current = place.is_start() || place.print == fingerprint(&nodes);
        let Some(node) = node.filter(|_| is_current) else {
            return Err(UpstreamError::ScanOutdated);
        };
        let mut command = Cmd::new();
        command.arg(*name).arg(place.cursor);
        for word in options {
            command.arg(*word);
        }
        let reply = self.ask(node, account, database, &command).await?;
        scanned(reply)
            .and_then(|(cursor, keys)| Some((place.after(cursor, &nodes)?, keys)))
            .ok_or_else(|| UpstreamError::Garbage {
                address: node.to_string(),
                reason: "SCAN answered no keys, or a cursor that is too large".into(),
            })
    }

    /// Sends a command to every primary of the cluster, one after the other, and returns their replies as
    /// one. `KEYS` and `DBSIZE` are asked again if primaries came or went meanwhile.
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
        let is = |name: &[u8]| {
            words
                .first()
                .is_some_and(|word| word.eq_ignore_ascii_case(name))
        };
        if is(b"KEYS") || is(b"DBSIZE") {
            let mut question = Question::begin(self, account).await?;
            loop {
                let nodes = question.nodes();
                let answer = self.gathered(nodes, account, database, &command).await?;
                if question.is_answered().await? {
                    return Ok(answer);
                }
            }
        }
        let nodes = self.topology().primaries(account).await?;
        self.gathered(&nodes, account, database, &command).await
    }

    /// Sends a command to one primary, and returns its reply, which is no error.
    pub(super) async fn ask(
        &self,
        node: &Address,
        account: &Account,
        database: u32,
        command: &Cmd,
    ) -> Result<Value, UpstreamError> {
        let line = self.node_line(node, account, database)?;
        line.send(command).await.map_err(|failure| {
            self.topology().suspect();
            UpstreamError::from(failure)
        })
    }

    async fn gathered(
        &self,
        nodes: &[Address],
        account: &Account,
        database: u32,
        command: &Cmd,
    ) -> Result<Gathered, UpstreamError> {
        let mut gathered = None;
        for node in nodes {
            let reply = self.ask(node, account, database, command).await?;
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
    use super::{Address, CURSOR_PRINTS, ScanPlace, fingerprint};

    fn nodes(ports: &[u16]) -> Vec<Address> {
        let host = || "127.0.0.1".to_owned();
        let node = |port: &u16| Address {
            host: host(),
            port: *port,
        };
        ports.iter().map(node).collect()
    }

    #[test]
    fn a_cursor_goes_through_all_nodes_and_ends() {
        let nodes = nodes(&[7000, 7001]);
        let mut number = 0;
        let mut seen = Vec::new();
        // Each node answers with these cursors.
        let mut cursors = [7, 3, 0].into_iter().cycle();
        loop {
            let place = ScanPlace::read(number);
            assert_eq!(place.is_start(), seen.is_empty());
            assert!(place.is_start() || place.print == fingerprint(&nodes));
            seen.push((place.node, place.cursor));
            let cursor = cursors.next().unwrap();
            number = place.after(cursor, &nodes).unwrap();
            if number == 0 {
                break;
            }
        }
        assert_eq!(seen, [(0, 0), (0, 7), (0, 3), (1, 0), (1, 7), (1, 3)]);
        assert_eq!(ScanPlace::read(0).after(u64::MAX, &nodes), None);
    }

    #[test]
    fn a_cursor_tells_other_primaries() {
        let known = fingerprint(&nodes(&[7000, 7001]));
        assert!(known < CURSOR_PRINTS);
        for others in [&[7000][..], &[7000, 7002], &[7000, 7001, 7002]] {
            assert_ne!(fingerprint(&nodes(others)), known, "{others:?}");
        }
    }
}
