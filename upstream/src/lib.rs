//! Runs functions on data that stays in a Redis-compatible engine, which needs no module for it.
//!
//! A call reads its keys from the engine by one script, runs on an overlay of the embedded store that
//! holds what was read, and writes by another script, which first compares everything with what was
//! read. So every call is a transaction, and any number of servers can stand before one engine.
//!
//! ```text
//! keys after KEYS ─▶ fetch script ─▶ overlay ◀─▶ function ─▶ commit script ─▶ reply
//!                        ▲              │ a key that is not there       │
//!                        └──────────────┴───────────────────────────────┘ a key that has changed
//! ```

// rustdoc looks through the types of the store for auto traits, which is deeper than its default.
#![recursion_limit = "256"]

mod account;
mod address;
mod call;
mod error;
mod marker;
mod metrics;
mod net;
mod options;
mod pool;
mod request_state;
mod requests;
mod scripts;
mod shared_functions;
mod topology;
mod value_cache;

pub use account::Account;
pub use address::{Address, Deployment, Location, LocationError};
pub use call::every_node::Gathered;
pub use call::snapshot::Bounds;
pub use call::{GuestThreads, SameThread, Upstream, UpstreamOptions};
pub use error::UpstreamError;
pub use metrics::{Counter, Metrics};
pub use net::EngineStream;
pub use options::PoolOptions;
pub use requests::{EngineRequests, Look};
pub use shared_functions::{Changes, Edition, NewFunction, SharedFunctions, StoredFunctions};
pub use topology::{REDIRECTIONS_MAX, Redirection, Topology, slot_of};
