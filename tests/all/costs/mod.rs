//! Operations that used to cost more with the size of the data than with what a request does.

mod beside;
mod edits;
mod memory;
mod registry;
mod turns;
mod users;
