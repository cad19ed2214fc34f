//! The servers of an engine: which one has a key, and which one is the primary.

mod redirection;
mod sentinel;
mod slot_map;
mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::account::Account;
use crate::address::{Address, Deployment};
use crate::error::UpstreamError;
use crate::metrics::Counter;
use crate::net::connection;
use crate::options::PoolOptions;
use slot_map::SlotMap;

pub use redirection::Redirection;
pub use slots::slot_of;
pub(crate) use slots::tag_of;

/// Shortest time between two requests for the slots of a cluster.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);

/// Redirections that one request follows.
pub const REDIRECTIONS_MAX: u32 = 8;

/// The servers of an engine.
#[derive(Debug)]
pub struct Topology {
    options: PoolOptions,
    slots: Mutex<Arc<SlotMap>>,
    /// True if the slots may have moved since they were asked for.
    suspect: AtomicBool,
    /// Requests that a node sent elsewhere.
    redirections: Counter,
    /// When they were asked for last. Held while they are.
    refreshed: tokio::sync::Mutex<Option<Instant>>,
}

impl Topology {
    pub(crate) fn new(options: PoolOptions) -> Self {
        Self {
            options,
            slots: Mutex::new(Arc::new(SlotMap::empty())),
            suspect: AtomicBool::new(false),
            redirections: Counter::default(),
            refreshed: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) const fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Returns true if the nodes of a cluster share the keys.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.options.location.deployment == Deployment::Cluster
    }

    /// Returns true if another server may take the place of one that fails.
    #[must_use]
    pub fn fails_over(&self) -> bool {
        self.options.location.deployment != Deployment::Single
    }

    /// Returns the slot of a key; `None` if there are no slots.
    #[must_use]
    pub fn slot_of(&self, key: &[u8]) -> Option<u16> {
        self.is_cluster().then(|| slot_of(key))
    }

    /// Returns the server that has a slot, or any primary for none. `account` may be used to ask for it
    /// if the URL has no credentials.
    ///
    /// # Errors
    ///
    /// No server can be reached that knows it, or the slot is no node's.
    pub async fn server(
        &self,
        slot: Option<u16>,
        account: &Account,
    ) -> Result<Address, UpstreamError> {
        let location = &self.options.location;
        match &location.deployment {
            Deployment::Single => Ok(location.addresses[0].clone()),
            Deployment::Sentinel { primary } => sentinel::primary(&self.options, primary).await,
            Deployment::Cluster => match slot {
                Some(slot) => self.node(slot, account).await,
                None => Ok(self.any_node()),
            },
        }
    }

    /// Returns any node of the cluster, as far as they are known.
    fn any_node(&self) -> Address {
        let slots = Arc::clone(&self.slots.lock());
        let known = match slots.nodes() {
            [] => &self.options.location.addresses,
            nodes => nodes,
        };
        known[fastrand::usize(..known.len())].clone()
    }

    async fn node(&self, slot: u16, account: &Account) -> Result<Address, UpstreamError> {
        let known = |slots: &SlotMap| slots.node(slot).cloned();
        let node = known(&self.slots.lock());
        match node {
            Some(node) if !self.suspect.load(Ordering::Relaxed) => return Ok(node),
            // The last map is better than none.
            Some(node) => {
                if let Err(error) = self.refresh(account).await {
                    tracing::debug!(%error, "the slots of the cluster are not known anew");
                    return Ok(node);
                }
            }
            None => self.refresh(account).await?,
        }
        known(&self.slots.lock()).ok_or_else(|| {
            let text = format!(
                "CLUSTERDOWN no node of the cluster has slot {slot}; try again later, or look at CLUSTER INFO"
            );
            UpstreamError::Refused(text.into())
        })
    }

    /// Returns the primaries of the cluster, in the order of their addresses.
    ///
    /// # Errors
    ///
    /// No node can be reached.
    pub async fn primaries(&self, account: &Account) -> Result<Vec<Address>, UpstreamError> {
        let unknown = self.slots.lock().nodes().is_empty();
        if unknown || self.suspect.load(Ordering::Relaxed) {
            self.refresh(account).await?;
        }
        Ok(self.known_primaries())
    }

    /// Returns the primaries of the cluster as of a moment after `since`.
    ///
    /// # Errors
    ///
    /// No node can be reached.
    pub(crate) async fn primaries_after(
        &self,
        since: Instant,
        account: &Account,
    ) -> Result<Vec<Address>, UpstreamError> {
        self.refresh_after(since, account).await?;
        Ok(self.known_primaries())
    }

    fn known_primaries(&self) -> Vec<Address> {
        let mut nodes = self.slots.lock().nodes().to_vec();
        nodes.sort_unstable_by(|one, other| (&one.host, one.port).cmp(&(&other.host, other.port)));
        nodes
    }

    /// Asks for the slots, unless that was done just now.
    async fn refresh(&self, account: &Account) -> Result<(), UpstreamError> {
        let now = Instant::now();
        self.refresh_after(now.checked_sub(REFRESH_PAUSE).unwrap_or(now), account)
            .await
    }

    /// Asks for the slots, unless that was done after `since`.
    async fn refresh_after(&self, since: Instant, account: &Account) -> Result<(), UpstreamError> {
        let mut refreshed = self.refreshed.lock().await;
        if refreshed.is_some_and(|at| at > since) {
            return Ok(());
        }
        // Whatever moves from now on is asked for again.
        self.suspect.store(false, Ordering::Relaxed);
        let asked_at = Instant::now();
        let asked = self.ask_for_slots(account).await;
        match &asked {
            Ok(_) => *refreshed = Some(asked_at),
            Err(_) => self.suspect.store(true, Ordering::Relaxed),
        }
        *self.slots.lock() = Arc::new(asked?);
        Ok(())
    }

    async fn ask_for_slots(&self, account: &Account) -> Result<SlotMap, UpstreamError> {
        let location = &self.options.location;
        let account = match &location.account.password {
            Some(_) => &location.account,
            None => account,
        };
        let slots = Arc::clone(&self.slots.lock());
        let mut nodes: Vec<&Address> = slots.nodes().iter().collect();
        // A node that has failed must not be the first each time.
        fastrand::shuffle(&mut nodes);
        nodes.extend(&location.addresses);
        let mut last = None;
        for node in nodes {
            match self.ask_node_for_slots(node, account).await {
                Ok(slots) => return Ok(slots),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(UpstreamError::Stopped))
    }

    async fn ask_node_for_slots(
        &self,
        node: &Address,
        account: &Account,
    ) -> Result<SlotMap, UpstreamError> {
        let options = &self.options;
        let mut opened = connection::open(options, node, account, 0, None).await?;
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let reply = connection::answer(&mut opened, &command, options, node).await?;
        SlotMap::read(&reply, node).ok_or_else(|| UpstreamError::Garbage {
            address: node.to_string(),
            reason: "CLUSTER SLOTS answered no slots".into(),
        })
    }

    /// Returns the number of requests that a node sent elsewhere.
    #[must_use]
    pub const fn redirections(&self) -> &Counter {
        &self.redirections
    }

    /// Notes that a node sent a request elsewhere.
    pub fn redirected(&self, redirection: &Redirection) {
        self.redirections.add(1);
        if let Redirection::Moved { slot, to } = redirection {
            self.moved(*slot, to);
        }
    }

    /// Notes that a node named another one for a slot.
    pub(crate) fn moved(&self, slot: u16, to: &Address) {
        let mut slots = self.slots.lock();
        if slots.node(slot) != Some(to) {
            Arc::make_mut(&mut slots).set(slot, to);
            self.suspect.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that a server has failed, so that another one may have taken its place.
    pub fn suspect(&self) {
        if self.is_cluster() {
            self.suspect.store(true, Ordering::Relaxed);
        }
    }
}
