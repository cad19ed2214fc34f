//! The output that one client gets without asking: the messages of its channels, and the requests of others.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clients::pubsub::channels::{Channels, Kind};
use crate::clients::pubsub::mailbox::Mailbox;
use crate::clients::pubsub::monitors::{Monitor, Monitors};

/// The channels and patterns that a client listens to, and whether it watches requests. Dropping it ends
/// both.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    client: u64,
    all: Arc<Channels>,
    mailbox: Arc<Mailbox>,
    channels: BTreeSet<Arc<[u8]>>,
    patterns: BTreeSet<Arc<[u8]>>,
    monitor: Option<Monitor>,
}

impl Subscriptions {
    pub(crate) fn new(client: u64, all: Arc<Channels>) -> Self {
        Self {
            client,
            all,
            mailbox: Arc::default(),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            monitor: None,
        }
    }

    /// Lets the client watch the requests of all clients from now on.
    pub(crate) fn monitor(&mut self, monitors: &Arc<Monitors>) {
        let add = || monitors.add(self.client, Arc::clone(&self.mailbox));
        self.monitor.get_or_insert_with(add);
    }

    /// Returns true if the client may get something without asking.
    pub(crate) fn is_active(&self) -> bool {
        self.len() > 0 || self.monitor.is_some()
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Number of channels and patterns.
    pub(crate) fn len(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// The names of one kind.
    pub(crate) fn names(&mut self, kind: Kind) -> &mut BTreeSet<Arc<[u8]>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        }
    }

    pub(crate) fn add(&mut self, kind: Kind, name: &[u8]) {
        let name: Arc<[u8]> = name.into();
        if self.names(kind).insert(Arc::clone(&name)) {
            let mailbox = Arc::clone(&self.mailbox);
            self.all.add(kind, &name, self.client, mailbox);
        }
    }

    pub(crate) fn remove(&mut self, kind: Kind, name: &[u8]) {
        if self.names(kind).remove(name) {
            self.all.remove(kind, name, self.client);
        }
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        for name in &self.channels {
            self.all.remove(Kind::Channel, name, self.client);
        }
        for name in &self.patterns {
            self.all.remove(Kind::Pattern, name, self.client);
        }
    }
}
