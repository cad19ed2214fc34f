//! All tests through guests, in one binary.

mod differential;
mod entries;
mod files;
mod host_functions;
mod isolation;
mod limits;
mod loading;
mod managed;
mod network;
mod specification;
mod store_heavy;
mod support;
mod transactions;
