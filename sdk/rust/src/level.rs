//! Levels of the log.

use ferrite_wasm_abi::log_level;

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    /// The finest level.
    Trace = log_level::TRACE,
    /// For those who debug the function.
    Debug = log_level::DEBUG,
    /// For those who run the server.
    Info = log_level::INFO,
    /// Something to look at.
    Warn = log_level::WARN,
    /// Something went wrong.
    Error = log_level::ERROR,
}
