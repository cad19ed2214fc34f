//! End-to-end tests: the real server and the real compiler, over real sockets.

mod authentication;
mod bad_frames;
mod bad_functions;
mod bombs;
mod bundles;
mod clients;
mod configuration;
mod conflicts;
mod connections;
mod depth;
mod engines;
mod functions;
mod fuzzing;
mod guests;
mod hot_reload;
mod languages;
mod lifecycle;
mod missing_commands;
mod multi;
mod observation;
mod projects;
mod protocol;
mod same;
mod server_commands;
mod tls;
mod waiting;
