//! All tests through guests, in one binary.

mod bounds;
mod cost;
mod depth;
mod differential;
mod entries;
mod files;
mod fuzzed;
mod host_functions;
mod hostile;
mod isolation;
mod kept_files;
mod limits;
mod loading;
mod managed;
mod network;
mod permissions;
mod replies;
mod rewind;
mod rewound;
mod scheduling;
mod scratch;
mod specification;
mod store_heavy;
mod support;
mod transactions;
mod wasi;
