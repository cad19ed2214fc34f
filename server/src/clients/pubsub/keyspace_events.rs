//! Keyspace notifications: tells clients on channels what happens to keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ferrite_store::{KeyEvent, Observer};

use crate::clients::pubsub::channels::Channels;
use crate::config::EventSelection;

/// Tells the store's events to the clients that listen.
pub(crate) struct KeyspaceEvents {
    channels: Arc<Channels>,
    /// An [`EventSelection`].
    selection: AtomicU32,
}

impl KeyspaceEvents {
    pub(crate) fn new(channels: Arc<Channels>, selection: EventSelection) -> Self {
        Self {
            channels,
            selection: AtomicU32::new(selection.bits()),
        }
    }

    pub(crate) fn selection(&self) -> EventSelection {
        EventSelection::from_bits(self.selection.load(Ordering::Relaxed))
    }

    /// Chooses other events. The caller tells the store if it has to report any.
    pub(crate) fn select(&self, selection: EventSelection) {
        self.selection.store(selection.bits(), Ordering::Relaxed);
    }
}

impl Observer for KeyspaceEvents {
    fn observe(&self, event: KeyEvent<'_>) {
        let selection = self.selection();
        if !selection.has(event.class) || !self.channels.has_listeners() {
            return;
        }
        if selection.by_key() {
            let mut channel = format!("__keyspace@{}__:", event.database).into_bytes();
            channel.extend_from_slice(event.key);
            self.channels.publish(&channel, event.name.as_bytes());
        }
        if selection.by_event() {
            let channel = format!("__keyevent@{}__:{}", event.database, event.name);
            self.channels.publish(channel.as_bytes(), event.key);
        }
    }
}
