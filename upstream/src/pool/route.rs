//! The way of one account's requests to the servers that have their keys.

use std::sync::Arc;

use redis::{Cmd, Value};

use super::{Failure, Line, Pool};
use crate::account::Account;
use crate::error::UpstreamError;
use crate::topology::{REDIRECTIONS_MAX, Redirection};

/// The way of one account's requests in a database. It follows the redirections of a cluster.
#[derive(Debug)]
pub(crate) struct Route<'a> {
    pool: &'a Pool,
    account: &'a Account,
    database: u32,
    /// The connection, where one server has all keys.
    line: Option<Arc<Line>>,
}

impl<'a> Route<'a> {
    pub(super) const fn new(
        pool: &'a Pool,
        account: &'a Account,
        database: u32,
        line: Option<Arc<Line>>,
    ) -> Self {
        Self {
            pool,
            account,
            database,
            line,
        }
    }

    /// Returns the engine's address, for messages.
    pub(crate) fn place(&self) -> String {
        match &self.line {
            Some(line) => line.place(),
            None => self.pool.topology.options().location.places(),
        }
    }

    /// Sends a command on keys of a slot and returns its reply, which is no error. A request that a node
    /// sent elsewhere has had no effect there.
    pub(crate) async fn send(&self, slot: Option<u16>, command: &Cmd) -> Result<Value, Failure> {
        if let Some(line) = &self.line {
            return match line.send(command).await {
                Err(Failure::Refused(text)) if text.starts_with("MOVED ") => {
                    Err(Failure::NotSent(UpstreamError::Cluster {
                        address: line.place(),
                    }))
                }
                sent => sent,
            };
        }
        let topology = &self.pool.topology;
        let mut asks = None;
        let mut redirections = 0;
        loop {
            let asking = asks.is_some();
            let address = match asks.take() {
                Some(address) => address,
                None => {
                    let server = topology.server(slot, self.account).await;
                    server.map_err(Failure::NotSent)?
                }
            };
            let line = self
                .pool
                .line(Some(address.clone()), self.account, self.database)
                .map_err(Failure::NotSent)?;
            let sent = match asking {
                true => line.send_asking(command).await,
                false => line.send(command).await,
            };
            match &sent {
                Ok(_) => return sent,
                Err(Failure::NotSent(_) | Failure::Unanswered(_)) => {
                    topology.suspect();
                    return sent;
                }
                Err(Failure::Refused(text)) => {
                    let Some(redirection) = Redirection::read(text, &address) else {
                        return sent;
                    };
                    topology.redirected(&redirection);
                    if redirections == REDIRECTIONS_MAX {
                        return sent;
                    }
                    redirections += 1;
                    if let Redirection::Ask { to } = redirection {
                        asks = Some(to);
                    }
                }
            }
        }
    }
}
