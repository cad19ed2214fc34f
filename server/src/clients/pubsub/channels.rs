//! All subscriptions, by channel and by pattern.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrite_protocol::glob::Matcher;
use parking_lot::RwLock;

use crate::clients::pubsub::mailbox::{Mailbox, Message, Published};

/// The mailboxes of the clients that listen, by the clients' ids.
type Listeners = BTreeMap<u64, Arc<Mailbox>>;

/// The channels and patterns that clients listen to.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    names: RwLock<Names>,
    /// Number of channels and patterns; read without the lock, so that publishing costs little while
    /// nobody listens.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Names {
    channels: HashMap<Arc<[u8]>, Listeners>,
    patterns: BTreeMap<Arc<[u8]>, (Matcher, Listeners)>,
}

/// A channel, or a pattern of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Channel,
    Pattern,
}

impl Channels {
    pub(super) fn add(&self, kind: Kind, name: &Arc<[u8]>, client: u64, mailbox: Arc<Mailbox>) {
        let mut names = self.names.write();
        let listeners = match kind {
            Kind::Channel => names.channels.entry(Arc::clone(name)).or_default(),
            Kind::Pattern => {
                let new = || (Matcher::new(name), Listeners::new());
                &mut names.patterns.entry(Arc::clone(name)).or_insert_with(new).1
            }
        };
        listeners.insert(client, mailbox);
        self.recount(&names);
    }

    pub(super) fn remove(&self, kind: Kind, name: &[u8], client: u64) {
        let mut names = self.names.write();
        match kind {
            Kind::Channel => {
                if let Some(listeners) = names.channels.get_mut(name) {
                    listeners.remove(&client);
                    if listeners.is_empty() {
                        names.channels.remove(name);
                    }
                }
            }
            Kind::Pattern => {
                if let Some((_, listeners)) = names.patterns.get_mut(name) {
                    listeners.remove(&client);
                    if listeners.is_empty() {
                        names.patterns.remove(name);
                    }
                }
            }
        }
        self.recount(&names);
    }

    /// Returns true if anybody listens to anything.
    pub(crate) fn has_listeners(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    fn recount(&self, names: &Names) {
        let count = names.channels.len() + names.patterns.len();
        self.count.store(count, Ordering::Release);
    }

    /// Puts a message into the mailbox of every client that listens; returns their number. A client
    /// counts once for the channel and once for each pattern.
    pub(crate) fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        if !self.has_listeners() {
            return 0;
        }
        let names = self.names.read();
        let mut message = None;
        let mut reached = 0;
        let mut put = |pattern: Option<&Arc<[u8]>>, listeners: &Listeners| {
            let message = message.get_or_insert_with(|| Published {
                pattern: None,
                channel: channel.into(),
                payload: payload.into(),
            });
            for mailbox in listeners.values() {
                mailbox.put(Message::Published(Published {
                    pattern: pattern.cloned(),
                    ..message.clone()
                }));
            }
            reached += listeners.len();
        };
        if let Some(listeners) = names.channels.get(channel) {
            put(None, listeners);
        }
        for (pattern, (matcher, listeners)) in &names.patterns {
            if matcher.matches(channel) {
                put(Some(pattern), listeners);
            }
        }
        reached
    }

    /// Number of clients that a message would reach now.
    pub(crate) fn reach(&self, channel: &[u8]) -> usize {
        let names = self.names.read();
        let patterns = names.patterns.values();
        let matching = patterns.filter(|(matcher, _)| matcher.matches(channel));
        let by_pattern: usize = matching.map(|(_, listeners)| listeners.len()).sum();
        names.channels.get(channel).map_or(0, BTreeMap::len) + by_pattern
    }

    /// The channels that clients listen to and that a pattern matches.
    pub(crate) fn active(&self, pattern: &[u8]) -> Vec<Arc<[u8]>> {
        let matcher = Matcher::new(pattern);
        let names = self.names.read();
        let matching = names.channels.keys().filter(|name| matcher.matches(name));
        matching.cloned().collect()
    }

    /// Clients that listen to a channel by its name.
    pub(crate) fn listeners(&self, channel: &[u8]) -> usize {
        self.names
            .read()
            .channels
            .get(channel)
            .map_or(0, BTreeMap::len)
    }

    /// Number of patterns that clients listen to.
    pub(crate) fn patterns(&self) -> usize {
        self.names.read().patterns.len()
    }
}
