//! Host functions: results, permissions, replies, and hostile arguments.

mod each;
mod fuzzed;
mod permissions;
mod replies;
mod scripts;
