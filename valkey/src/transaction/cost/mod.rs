//! The cost of the server's own commands, which it runs to their ends.

pub(crate) mod foreseen;
pub(crate) mod listing;
pub(crate) mod random;
pub(crate) mod shape;
pub(crate) mod told_reply;
