//! The client that a line of a log is about.

use std::net::SocketAddr;

use crate::clients::registry::{Client, Labels};

/// A client as logs name it.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) client: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) labels: Labels,
}

impl Caller {
    pub(crate) fn of(client: &Client) -> Self {
        Self {
            client: client.id,
            peer: client.peer,
            labels: client.labels(),
        }
    }
}
