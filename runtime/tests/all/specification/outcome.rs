//! Outcomes of calls: those that a module shows, and those that the suite expects.

use wasmtime::Trap;

use super::values::{Pattern, types};
use crate::support::number::{Number, numbers};

/// The end of a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Returned(Vec<Number>),
    Trapped(String),
}

impl Outcome {
    pub(super) fn of(error: &wasmtime::Error) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(trap) => Self::Trapped(trap.to_string()),
            None => Self::Trapped(format!("{error:#}")),
        }
    }
}

/// The outcome of a call by the suite.
#[derive(Debug)]
pub(super) enum Expected {
    Returns(Vec<Pattern>),
    /// Traps with a message that begins so.
    Traps(String),
    Exhausts,
    /// It may do anything that it does without us.
    Anything,
}

impl Expected {
    pub(super) fn holds(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::Returns(patterns), Outcome::Returned(results)) => {
                patterns.len() == results.len()
                    && patterns
                        .iter()
                        .zip(results)
                        .all(|(pattern, result)| pattern.matches(*result))
            }
            (Self::Traps(message), Outcome::Trapped(text)) => text.contains(message),
            (Self::Exhausts, Outcome::Trapped(text)) => text.contains("call stack exhausted"),
            (Self::Anything, _) => true,
            _ => false,
        }
    }

    /// Compares a reply.
    pub(super) fn holds_in(&self, reply: &str) -> bool {
        match self {
            Self::Returns(patterns) => numbers(reply, &types(patterns))
                .is_some_and(|results| self.holds(&Outcome::Returned(results))),
            Self::Traps(message) => reply.starts_with("-TRAP ") && reply.contains(message.as_str()),
            Self::Exhausts => reply.starts_with("-STACK "),
            Self::Anything => true,
        }
    }
}

/// Returns true if a reply shows what a module does without us. A NaN that an instruction computed may
/// be any.
pub(super) fn same(reply: &str, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Returned(results) => numbers(reply, results).is_some_and(|numbers| {
            numbers
                .iter()
                .zip(results)
                .all(|(one, other)| one == other || (one.is_nan() && other.is_nan()))
        }),
        Outcome::Trapped(text) if text.contains("call stack exhausted") => {
            reply.starts_with("-STACK ")
        }
        Outcome::Trapped(text) => {
            let text = text.trim_start_matches("wasm trap: ");
            let text = if text.contains("unreachable") {
                "unreachable was executed, as a panic or abort of the function does; its log may say why"
            } else {
                text
            };
            reply.starts_with("-TRAP ") && reply.ends_with(text)
        }
    }
}
