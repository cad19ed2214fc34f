//! Errors of parsing a request.

use crate::error::{CallError, Quoted};
use crate::policy::quantity::QuantityError;

/// Reason why a request does not parse. The text is the whole error reply.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No command of this name.
    #[error("ERR unknown command {}; WASM.HELP lists the commands", Quoted(.name))]
    Unknown {
        /// The name as it was given.
        name: Box<[u8]>,
    },
    /// The number of words is wrong.
    #[error("ERR wrong number of arguments for '{}' command{}", .command.to_ascii_lowercase(), form(.command, .syntax))]
    Arity {
        /// The command.
        command: &'static str,
        /// Its arguments, as its specification has them.
        syntax: &'static str,
    },
    /// An option is unknown.
    #[error("ERR {command}: unknown option {}; {}", Quoted(.option), hint(.nearest, .known))]
    Option {
        /// The command.
        command: &'static str,
        /// The word.
        option: Box<[u8]>,
        /// The option that was probably meant.
        nearest: Option<&'static str>,
        /// The options allowed there.
        known: &'static [&'static str],
    },
    /// An option is given twice.
    #[error("ERR {command}: option {option} is given twice")]
    Twice {
        /// The command.
        command: &'static str,
        /// The option.
        option: &'static str,
    },
    /// An option has no value.
    #[error("ERR {command}: option {option} needs a value")]
    NoValue {
        /// The command.
        command: &'static str,
        /// The option.
        option: &'static str,
    },
    /// An option's value is not a quantity.
    #[error("ERR {command}: option {option}: {problem}")]
    Quantity {
        /// The command.
        command: &'static str,
        /// The option.
        option: &'static str,
        /// The problem.
        problem: QuantityError,
    },
    /// A time is too short for any work.
    #[error("ERR {command}: option {option} must be at least 1 ms")]
    Zero {
        /// The command.
        command: &'static str,
        /// The option.
        option: &'static str,
    },
    /// The number of keys is not a number; the text is that of Redis.
    #[error("ERR Bad number of keys provided")]
    KeyCount,
    /// The number of keys is negative; the text is that of Redis.
    #[error("ERR Number of keys can't be negative")]
    KeyCountNegative,
    /// There are fewer arguments than keys; the text is that of Redis.
    #[error("ERR Number of keys can't be greater than number of args")]
    KeyCountTooLarge,
    /// A value is invalid.
    #[error(transparent)]
    Invalid(#[from] CallError),
}

/// Returns the form of a command of our own, to follow the text that clients know from Redis.
fn form(command: &str, syntax: &str) -> String {
    if command.starts_with("WASM.") {
        format!("; it is {}", format!("{command} {syntax}").trim_end())
    } else {
        String::new()
    }
}

fn hint(nearest: &Option<&'static str>, known: &[&'static str]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if known.is_empty() => "it takes none".to_owned(),
        None => format!("it takes {}", known.join(", ")),
    }
}
