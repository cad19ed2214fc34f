//! What a shell needs to know about this program: completions and manual pages.

pub(crate) mod completions;
pub(crate) mod man;
