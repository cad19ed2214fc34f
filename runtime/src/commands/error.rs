//! Why a request is not a command of ours.

use crate::error::{CallError, Quoted};
use crate::policy::quantity::QuantityError;

/// Why a request is not one of these commands. The text is the whole error reply.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No command of this name.
    #[error("ERR unknown command {}; WASM.HELP lists the commands", Quoted(.name))]
    Unknown {
        /// The name as it was given.
        name: Box<[u8]>,
    },
    /// Too few words or too many.
    #[error("ERR wrong number of arguments for '{}' command", .command.to_ascii_lowercase())]
    Arity {
        /// The command.
        command: &'static str,
    },
    /// A word where an option should stand.
    #[error("ERR {command}: unknown option {}; {}", Quoted(.option), hint(.nearest, .known))]
    Option {
        /// The command.
        command: &'static str,
        /// The word.
        option: Box<[u8]>,
        /// What was probably meant.
        nearest: Option<&'static str>,
        /// What may stand there.
        known: &'static [&'static str],
    },
    /// An option that stands twice.
    #[error("ERR {command}: option {option} is given twice")]
    Twice {
        /// The command.
        command: &'static str,
        /// The option.
        option: &'static str,
    },
    /// An option without its value.
    #[error("ERR {command}: option {option} needs a value")]
    NoValue {
        /// The command.
        command: &'static str,
        /// The option.
        option: &'static str,
    },
    /// An option's value that is no quantity.
    #[error("ERR {command}: option {option}: {problem}")]
    Quantity {
        /// The command.
        command: &'static str,
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        problem: QuantityError,
    },
    /// A time that is too short to do anything in.
    #[error("ERR {command}: option {option} must be at least 1 ms")]
    Zero {
        /// The command.
        command: &'static str,
        /// The option.
        option: &'static str,
    },
    /// A number of keys that is none, in the words of Redis.
    #[error("ERR Bad number of keys provided")]
    KeyCount,
    /// A negative number of keys, in the words of Redis.
    #[error("ERR Number of keys can't be negative")]
    KeyCountNegative,
    /// More keys than arguments, in the words of Redis.
    #[error("ERR Number of keys can't be greater than number of args")]
    KeyCountTooLarge,
    /// What was asked for makes no sense.
    #[error(transparent)]
    Invalid(#[from] CallError),
}

fn hint(nearest: &Option<&'static str>, known: &[&'static str]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if known.is_empty() => "it takes none".to_owned(),
        None => format!("it takes {}", known.join(", ")),
    }
}
