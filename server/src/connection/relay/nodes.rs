//! The connections that one client has to the servers of an engine: one, or in a cluster one for each
//! node that it has used.

use std::io;
use std::pin::Pin;
use std::task::Poll;

use ferrite_upstream::Address;

use super::engine::EngineConnection;
use super::frames::FrameScanner;

/// The connection to one server.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: Address,
    pub(super) connection: EngineConnection,
    pub(super) frames: FrameScanner,
    /// A push of a node whose replies nobody waits for, until all of it has come.
    pub(super) push: Vec<u8>,
}

/// The connections of one client. The first one serves what belongs to no node.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    list: Vec<Node>,
    /// The one that owes replies, or would be asked next.
    active: usize,
}

impl Nodes {
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the connection that owes replies.
    pub(super) fn active(&self) -> Option<&Node> {
        self.list.get(self.active)
    }

    /// Returns the connection that owes replies.
    pub(super) fn active_mut(&mut self) -> Option<&mut Node> {
        self.list.get_mut(self.active)
    }

    /// Returns true if that connection is the active one.
    pub(super) fn is_active(&self, index: usize) -> bool {
        index == self.active
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Node> {
        self.list.get_mut(index)
    }

    /// Returns the address of the first server.
    pub(super) fn home(&self) -> Option<&Address> {
        self.list.first().map(|node| &node.address)
    }

    /// Makes the connection to a server the active one; returns false if there is none.
    pub(super) fn activate(&mut self, address: &Address) -> bool {
        let found = self.list.iter().position(|node| node.address == *address);
        if let Some(index) = found {
            self.active = index;
        }
        found.is_some()
    }

    /// Adds a connection, which becomes the active one.
    pub(super) fn add(&mut self, address: Address, connection: EngineConnection) {
        self.list.push(Node {
            address,
            connection,
            frames: FrameScanner::default(),
            push: Vec::new(),
        });
        self.active = self.list.len() - 1;
    }

    /// Closes a connection.
    pub(super) fn remove(&mut self, index: usize) {
        self.list.remove(index);
        if self.active > index {
            self.active -= 1;
        } else if self.active == index {
            self.active = 0;
        }
    }

    /// Closes all connections but the active one, because the client's state there is another by now.
    pub(super) fn keep_active(&mut self) {
        if self.active < self.list.len() {
            self.list.swap(0, self.active);
            self.list.truncate(1);
            self.active = 0;
        }
    }

    /// Returns the bytes of requests that are still to be sent.
    pub(super) fn pending_bytes(&self) -> usize {
        let pending = |node: &Node| node.connection.pending_bytes();
        self.list.iter().map(pending).sum()
    }

    /// Sends and receives, and returns the connection on which something was received, or which failed.
    /// May be dropped at any time.
    pub(super) async fn exchange(&mut self) -> (usize, io::Result<()>) {
        match self.list.as_mut_slice() {
            [] => std::future::pending().await,
            // Boxed only where there are several.
            [one] => (0, one.connection.exchange().await),
            several => {
                let exchanging = several.iter_mut().map(|node| node.connection.exchange());
                let mut exchanging: Vec<Pin<Box<_>>> = exchanging.map(Box::pin).collect();
                std::future::poll_fn(move |context| {
                    for (index, one) in exchanging.iter_mut().enumerate() {
                        if let Poll::Ready(exchanged) = one.as_mut().poll(context) {
                            return Poll::Ready((index, exchanged));
                        }
                    }
                    Poll::Pending
                })
                .await
            }
        }
    }
}
