//! Clients that wait for a key to hold something, and the queue in which they are served.
//!
//! A command that finds nothing to take leaves its wish behind under the same locks, so no push is
//! missed. The thread that commits a new key takes the element out again at once, for the client
//! that has waited longest, as Redis does: no other command sees it.

mod registry;
mod wish;

use smallvec::SmallVec;

use crate::value::blob::Blob;

pub(crate) use registry::{Registry, Waiter};
pub(crate) use wish::{BlockedRequest, Served, Wish};

/// Keys, with their databases, that now hold a value a blocked client may wait for.
pub(crate) type Ready = SmallVec<[(u32, Blob); 1]>;
