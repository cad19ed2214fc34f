//! Connections of calls: a few for each account and database, each shared by many calls at once.

mod line;
mod route;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::account::Account;
use crate::address::{Address, Deployment};
use crate::error::UpstreamError;
use crate::net::connection::OnChange;
use crate::options::PoolOptions;
use crate::topology::Topology;

pub(crate) use line::{Failure, Line};
pub(crate) use route::Route;

/// The purpose of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Purpose {
    /// The server; `None` for whichever the Sentinels call the primary.
    address: Option<Address>,
    account: Account,
    database: u32,
}

/// Connections by purpose.
#[derive(Debug)]
pub(crate) struct Pool {
    topology: Arc<Topology>,
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
            topology: Arc::new(Topology::new(options)),
            lines: Mutex::default(),
            idle: Arc::default(),
            exclusive: Arc::new(Semaphore::new(EXCLUSIVE_MAX)),
        }
    }

    pub(crate) fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Returns the server that has a slot; `None` for whichever the Sentinels call the primary.
    async fn address(
        &self,
        slot: Option<u16>,
        account: &Account,
    ) -> Result<Option<Address>, UpstreamError> {
        match self.topology.options().location.deployment {
            Deployment::Sentinel { .. } => Ok(None),
            Deployment::Single | Deployment::Cluster => {
                self.topology.server(slot, account).await.map(Some)
            }
        }
    }

    /// Returns the way of an account's requests in a database.
    pub(crate) fn route<'a>(
        &'a self,
        account: &'a Account,
        database: u32,
    ) -> Result<Route<'a>, UpstreamError> {
        let location = &self.topology.options().location;
        let address = match location.deployment {
            Deployment::Cluster => return Ok(Route::new(self, account, database, None)),
            Deployment::Sentinel { .. } => None,
            Deployment::Single => Some(location.addresses[0].clone()),
        };
        let line = self.line(address, account, database)?;
        Ok(Route::new(self, account, database, Some(line)))
    }

    /// Returns a new connection of an account in a database on which the engine tells of changes of the keys that
    /// were read there, to the only server of a database; `None` for a cluster.
    pub(crate) fn line_with_changes(
        &self,
        account: &Account,
        database: u32,
        on_change: OnChange,
    ) -> Option<Line> {
        let location = &self.topology.options().location;
        let address = match location.deployment {
            Deployment::Cluster => return None,
            Deployment::Sentinel { .. } => None,
            Deployment::Single => Some(location.addresses[0].clone()),
        };
        let line = Line::new(&self.topology, address, account, database);
        Some(line.with_changes(on_change))
    }

    /// Returns the way of an account's requests by this connection, to the only server.
    pub(crate) fn route_by<'a>(
        &'a self,
        account: &'a Account,
        database: u32,
        line: &Arc<Line>,
    ) -> Route<'a> {
        Route::new(self, account, database, Some(Arc::clone(line)))
    }

    /// Returns a connection that one call has for itself, to the server that has a slot; waits while there
    /// are too many.
    pub(crate) async fn exclusive_line(
        &self,
        slot: Option<u16>,
        account: &Account,
        database: u32,
    ) -> Result<ExclusiveLine, UpstreamError> {
        let address = self.address(slot, account).await?;
        let permit = loop {
            // The semaphore is never closed.
            if let Ok(permit) = Arc::clone(&self.exclusive).acquire_owned().await {
                break permit;
            }
        };
        let purpose = Purpose {
            address,
            account: account.clone(),
            database,
        };
        let mut idle = self.idle.lock();
        let found = idle.iter().position(|(one, _)| *one == purpose);
        let line = match found {
            Some(at) => idle.swap_remove(at).1,
            None => {
                // Others make room.
                if idle.len() >= EXCLUSIVE_MAX {
                    idle.remove(0);
                }
                Line::new(&self.topology, purpose.address.clone(), account, database)
            }
        };
        Ok(ExclusiveLine {
            purpose,
            line,
            idle: Arc::clone(&self.idle),
            _permit: permit,
        })
    }

    /// Returns a connection of an account in a database to a server, which may not be open yet.
    pub(crate) fn line(
        &self,
        address: Option<Address>,
        account: &Account,
        database: u32,
    ) -> Result<Arc<Line>, UpstreamError> {
        let purpose = Purpose {
            address,
            account: account.clone(),
            database,
        };
        let mut lines = self.lines.lock();
        let options = self.topology.options();
        let limit = options.accounts_max.max(1);
        if lines.len() >= limit && !lines.contains_key(&purpose) {
            let here = |one: &Purpose| one.address == purpose.address;
            if lines.keys().filter(|one| here(one)).count() >= limit {
                // Those that no call holds are closed.
                lines.retain(|_, lines| lines.iter().any(|line| Arc::strong_count(line) > 1));
                if lines.keys().filter(|one| here(one)).count() >= limit {
                    return Err(UpstreamError::TooManyAccounts { limit });
                }
            }
        }
        let lines = match lines.entry(purpose) {
            Entry::Occupied(found) => Arc::clone(found.get()),
            Entry::Vacant(vacant) => {
                let address = vacant.key().address.clone();
                let new = |_| {
                    let line = Line::new(&self.topology, address.clone(), account, database);
                    Arc::new(line)
                };
                let count = options.connections.max(1);
                Arc::clone(vacant.insert((0..count).map(new).collect()))
            }
        };
        Ok(Arc::clone(&lines[fastrand::usize(..lines.len())]))
    }
}
