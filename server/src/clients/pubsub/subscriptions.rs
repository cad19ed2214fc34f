//! The subscriptions of one client.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clients::pubsub::channels::{Channels, Kind};
use crate::clients::pubsub::mailbox::Mailbox;

/// The channels and patterns that a client listens to. Dropping it ends that.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    client: u64,
    all: Arc<Channels>,
    mailbox: Arc<Mailbox>,
    channels: BTreeSet<Arc<[u8]>>,
    patterns: BTreeSet<Arc<[u8]>>,
}

impl Subscriptions {
    pub(crate) fn new(client: u64, all: Arc<Channels>) -> Self {
        Self {
            client,
            all,
            mailbox: Arc::default(),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
        }
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
