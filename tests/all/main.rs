//! End-to-end tests: the real server and the real compiler, over real sockets.

mod automation;
mod bundles;
mod commands;
mod connections;
mod costs;
mod engines;
mod faults;
mod functions;
mod fuzzing;
mod languages;
mod network;
mod operations;
mod support;
mod upstream;
mod walls;
