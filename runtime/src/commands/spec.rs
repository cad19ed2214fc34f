//! What a command is: its name, shape and place in `COMMAND`, written once.

use super::Command;
use super::error::CommandError;

/// A command's entry in the table.
pub struct Spec {
    /// Its name, in upper case.
    pub name: &'static str,
    /// Number of words with the name, as `COMMAND` has it: negative for "at least".
    pub arity: i32,
    /// Flags, as `COMMAND` shows them.
    pub flags: &'static [&'static str],
    /// Where its keys are.
    pub keys: Keys,
    /// What a user needs to be allowed to run it.
    pub right: Right,
    /// How it runs.
    pub runs: Runs,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Its arguments: `[…]` may be left out, `|` separates choices, `…` repeats, capitals stand for
    /// themselves.
    pub syntax: &'static str,
    /// Reads its arguments; their number has been checked.
    pub(super) parse:
        for<'a> fn(&'static Self, &'a [&'a [u8]]) -> Result<Command<'a>, CommandError>,
}

/// Where a command's keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It names none.
    None,
    /// After the word `KEYS`, up to the word `ARGS`.
    AfterWord,
    /// As many as argument 2 says, from argument 3 on.
    Counted,
}

/// What a user needs to be allowed to run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To call functions.
    Call,
    /// To look at functions and their figures.
    Inspect,
    /// To load, change and end functions.
    Manage,
}

/// How a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// In a few microseconds.
    AtOnce,
    /// On a thread that may block: it compiles, or touches the disk.
    Blocking,
    /// As long as a function does, without blocking a thread.
    Async,
}

impl Spec {
    /// Whether so many words, the name included, make a request.
    #[must_use]
    pub const fn takes(&self, words: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 {
            words >= wanted
        } else {
            words == wanted
        }
    }
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)
    }
}
