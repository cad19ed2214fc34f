//! Clients that wait for a key to hold something, and how they are served.
//!
//! A command that finds nothing to take leaves behind what it wishes for, under the same locks, so
//! that no push is missed. Whoever commits a key into being takes the element out again at once on
//! behalf of the client that has waited longest, as Redis does: nobody else's next command sees it.

mod registry;
mod wish;

use smallvec::SmallVec;

use crate::value::blob::Blob;

pub(crate) use registry::{Registry, Waiter};
pub(crate) use wish::{BlockedRequest, Served, Wish};

/// Keys of databases that came to hold a value a blocked client may wait for.
pub(crate) type Ready = SmallVec<[(u32, Blob); 1]>;
