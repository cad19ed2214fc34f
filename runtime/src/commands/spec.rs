//! The specification of a command: its name, shape and entry in `COMMAND`, defined once.

use ferrite_protocol::arity;

use super::Command;
use super::error::CommandError;

/// A command's entry in the table.
pub struct Spec {
    /// Name, in upper case.
    pub name: &'static str,
    /// Number of words including the name, as in `COMMAND`: negative for "at least".
    pub arity: i32,
    /// Flags, as `COMMAND` shows them.
    pub flags: &'static [&'static str],
    /// Position of its keys.
    pub keys: Keys,
    /// The right that a user needs to run it.
    pub right: Right,
    /// Kind of work, which decides the thread.
    pub runs: Runs,
    /// Summary, one sentence.
    pub summary: &'static str,
    /// Arguments: `[…]` is optional, `|` separates choices, `…` repeats, capitals are literal.
    pub syntax: &'static str,
    /// Parses its arguments, whose number has been checked.
    pub(super) parse:
        for<'a> fn(&'static Self, &'a [&'a [u8]]) -> Result<Command<'a>, CommandError>,
}

/// The position of a command's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// There are none.
    None,
    /// After the word `KEYS`, up to the word `ARGS`.
    AfterWord,
    /// From argument 3 on; argument 2 is their number.
    Counted,
}

/// The right that a user needs to run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To call functions.
    Call,
    /// To inspect functions and their counters.
    Inspect,
    /// To load, change and unload functions, and to kill calls.
    Manage,
}

/// Kind of a command's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// It takes a few microseconds.
    AtOnce,
    /// It needs a thread that may block: it compiles, or accesses the disk.
    Blocking,
    /// It takes as long as a function runs, without blocking a thread.
    Async,
}

impl Spec {
    /// Returns true if the second word of a request is the name of a subcommand.
    #[must_use]
    pub fn has_subcommands(&self) -> bool {
        self.syntax.starts_with("ADD|") || self.syntax.starts_with("INFO|")
    }

    /// Returns true if a request may have this number of words, including the name.
    #[must_use]
    pub const fn takes(&self, words: usize) -> bool {
        arity::takes(self.arity, words)
    }
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)
    }
}
