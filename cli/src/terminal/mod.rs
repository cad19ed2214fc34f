//! What a person sees and types: output, progress, sizes and times, passwords.

pub(crate) mod console;
pub(crate) mod password;
pub(crate) mod progress;
pub(crate) mod units;
