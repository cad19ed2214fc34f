//! Connections of calls: a few for each account and database, each shared by many calls at once.

mod line;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::rustls::ClientConfig;

use crate::account::Account;
use crate::address::{Address, Location};
use crate::error::UpstreamError;

pub(crate) use line::{Failure, Line};

/// Settings of connections.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The engine.
    pub location: Location,
    /// Trusted certificates; needed if the location says TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// Connections for each account and database.
    pub connections: usize,
    /// Most accounts and databases that are connected at once.
    pub accounts_max: usize,
    /// Longest time to connect.
    pub connect_time_max: Duration,
    /// Longest time to wait for an answer.
    pub answer_time_max: Duration,
}

/// The purpose of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Purpose {
    address: Address,
    account: Account,
    database: u32,
}

/// Connections by purpose.
#[derive(Debug)]
pub(crate) struct Pool {
    options: PoolOptions,
    lines: Mutex<HashMap<Purpose, Arc<[Arc<Line>]>>>,
    /// Connections of one call each, that no call has now.
    idle: Arc<Mutex<Vec<(Purpose, Line)>>>,
    exclusive: Arc<Semaphore>,
}

/// Most connections of one call each.
const EXCLUSIVE_MAX: usize = 64;

/// A connection that one call has for itself.
#[derive(Debug)]
pub(crate) struct ExclusiveLine {
    purpose: Purpose,
    line: Line,
    idle: Arc<Mutex<Vec<(Purpose, Line)>>>,
    _permit: OwnedSemaphorePermit,
}

impl ExclusiveLine {
    pub(crate) const fn line(&self) -> &Line {
        &self.line
    }

    /// Keeps the connection for other calls. Otherwise, it is closed.
    pub(crate) fn give_back(self) {
        let mut idle = self.idle.lock();
        if idle.len() < EXCLUSIVE_MAX {
            idle.push((self.purpose, self.line));
        }
    }
}

impl Pool {
    pub(crate) fn new(options: PoolOptions) -> Self {
        Self {
            options,
            lines: Mutex::default(),
            idle: Arc::default(),
            exclusive: Arc::new(Semaphore::new(EXCLUSIVE_MAX)),
        }
    }

    fn purpose(&self, account: &Account, database: u32) -> Purpose {
        Purpose {
            address: self.options.location.address.clone(),
            account: account.clone(),
            database,
        }
    }

    /// Returns a connection that one call has for itself; waits while there are too many.
    pub(crate) async fn exclusive_line(&self, account: &Account, database: u32) -> ExclusiveLine {
        let permit = loop {
            // The semaphore is never closed.
            if let Ok(permit) = Arc::clone(&self.exclusive).acquire_owned().await {
                break permit;
            }
        };
        let purpose = self.purpose(account, database);
        let mut idle = self.idle.lock();
        let found = idle.iter().position(|(one, _)| *one == purpose);
        let line = match found {
            Some(at) => idle.swap_remove(at).1,
            None => {
                // Others make room.
                if idle.len() >= EXCLUSIVE_MAX {
                    idle.remove(0);
                }
                Line::new(&self.options, account, database)
            }
        };
        ExclusiveLine {
            purpose,
            line,
            idle: Arc::clone(&self.idle),
            _permit: permit,
        }
    }

    pub(crate) fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Returns a connection of an account in a database, which may not be open yet.
    pub(crate) fn line(
        &self,
        account: &Account,
        database: u32,
    ) -> Result<Arc<Line>, UpstreamError> {
        let purpose = self.purpose(account, database);
        let mut lines = self.lines.lock();
        let limit = self.options.accounts_max.max(1);
        if lines.len() >= limit && !lines.contains_key(&purpose) {
            // Those that no call holds are closed.
            lines.retain(|_, lines| lines.iter().any(|line| Arc::strong_count(line) > 1));
            if lines.len() >= limit {
                return Err(UpstreamError::TooManyAccounts { limit });
            }
        }
        let lines = match lines.entry(purpose) {
            Entry::Occupied(found) => Arc::clone(found.get()),
            Entry::Vacant(vacant) => {
                let count = self.options.connections.max(1);
                let new = (0..count).map(|_| Arc::new(Line::new(&self.options, account, database)));
                Arc::clone(vacant.insert(new.collect()))
            }
        };
        Ok(Arc::clone(&lines[fastrand::usize(..lines.len())]))
    }
}
