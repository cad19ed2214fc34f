//! Commands on the keys or scripts of all nodes of a cluster.

use redis::{Cmd, Value};

use crate::account::Account;
use crate::call::Upstream;
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

impl Upstream {
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
