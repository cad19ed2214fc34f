//! WebAssembly functions beside the data of a store: the library that any Rust data store can embed.
//!
//! A host implements [`keyspace::Keyspace`] for its data, makes a [`Runtime`], loads functions by
//! name, and calls them. Functions are native code that was compiled ahead of time: this crate has
//! no compiler. Each function has its own permissions and limits, and each call is a transaction
//! that commits as a whole or leaves no trace.
//!
//! # A call
//!
//! ```text
//! CallRequest ── Runtime::call ──▶ registry ──▶ the function's pool: a permit, maybe an instance
//!                                                        │
//!                      rewound, reused or new instance ◀─┘
//!                                 │
//!      guest entry ◀──▶ host functions ──▶ AccessPolicy ──▶ Transaction of the Keyspace
//!                                 │
//!                 commit, or again after a conflict ──▶ reply in RESP ──▶ CallOutcome
//! ```
//!
//! # The parts
//!
//! | module | what it is for |
//! |---|---|
//! | `service` | [`Runtime`]: loads, calls, reloads and unloads functions |
//! | [`commands`] | `WASM.*` and `FCALL`, from words to a reply, for hosts that speak RESP |
//! | [`automation`] | what no client asks for: schedules, triggers, the outbox |
//! | `registry` | functions by name, and the file that keeps them across restarts |
//! | [`artifact`] | from a source to verified native code: cache, bundle or compile worker |
//! | `executor` | runs one call on an instance, from the pool to the commit |
//! | [`instance`] | engines, linked modules and instances; errors of a guest as clients see them |
//! | [`rewind`] | puts a used instance back to its first state without making a new one |
//! | `host` | the functions that guests import |
//! | [`call`] | one call: request, state while the guest runs, reply |
//! | [`scheduling`] | pools, waiting, the timer, kill switches |
//! | [`policy`] | permissions, limits, isolation |
//! | [`metrics`] | counters and histograms |
//! | [`error`] | [`CallError`]: a code for programs, a text for people |
//!
//! # Example
//!
//! The same program is `runtime/examples/embed.rs`.
//!
//! ```
#![doc = include_str!("../examples/embed.rs")]
//! ```

pub mod artifact;
pub mod automation;
pub mod call;
pub mod commands;
pub mod error;
mod executor;
mod host;
pub mod instance;
pub mod metrics;
mod platform;
pub mod policy;
pub mod registry;
pub mod rewind;
pub mod scheduling;
pub mod service;

pub use ferrite_protocol::{keyspace, resp};

pub use artifact::source::Source;
pub use call::outer_transaction::OuterTransaction;
pub use call::request::{CallOutcome, CallProfile, CallRequest, ReceiptOf};
pub use error::{CallError, Code};
pub use executor::ExecutorError;
pub use executor::function::{EffectiveIsolation, Entry, Function};
pub use metrics::compile_stats::CompileStats;
pub use metrics::function_stats::FunctionStats;
pub use policy::function_spec::{FunctionSpec, Isolation};
pub use policy::limits::{LimitSettings, Limits};
pub use policy::network::call_requests::CallResponses;
pub use policy::network::options::{NetworkLimits, NetworkOptions};
pub use policy::permissions::{AccessPolicy, Permissions};
pub use policy::server_limits::ServerLimits;
pub use registry::file::RegistryFileError;
pub use registry::record::{FunctionName, Record};
pub use registry::release::Release;
pub use scheduling::cancellation::CallHandle;
pub use scheduling::moment::Moment;
pub use scheduling::user_share::{CallUser, UserShare};
pub use service::background_calls::{BackgroundCalls, BackgroundOptions, BackgroundUsage};
pub use service::call::{BesideData, JoinedCall};
pub use service::call_target::{CallTarget, HeldEntry, HeldFunction};
pub use service::guard::Refusal;
pub use service::options::RuntimeOptions;
pub use service::outbox::delivery::DueRequest;
pub use service::outbox::records::{RecordChange, RequestRecords, VisitRecord};
pub use service::registered_function::RegisteredFunction;
pub use service::schedules::ScheduledRun;
pub use service::triggers::Delivery;
pub use service::{LoadRequest, Runtime, StartError};
