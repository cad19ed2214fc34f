//! Everything that is tested through guests, in one binary.

mod bounds;
mod entries;
mod host_functions;
mod isolation;
mod limits;
mod loading;
mod managed;
mod permissions;
mod replies;
mod rewind;
mod rewound;
mod scheduling;
mod support;
mod transactions;
mod wasi;
