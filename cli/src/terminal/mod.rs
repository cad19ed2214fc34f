//! The terminal: output, colours, progress, sizes and times as text, passwords.

mod color;
pub(crate) mod console;
pub(crate) mod password;
pub(crate) mod progress;
pub(crate) mod units;
