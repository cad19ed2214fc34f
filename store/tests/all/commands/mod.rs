//! Replies of commands, with common, odd and huge input.

mod basics;
mod edits;
mod field_expiry;
mod globs;
mod limits;
