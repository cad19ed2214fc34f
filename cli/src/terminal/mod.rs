//! The terminal: output, progress, sizes and times as text, passwords.

pub(crate) mod console;
pub(crate) mod password;
pub(crate) mod progress;
pub(crate) mod units;
