//! A command that the server answers itself: its row in the table of commands.

use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

/// A command of the server's own.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Its name, in upper case.
    pub(crate) name: &'static str,
    /// The number of words with the name; negative for "at least".
    pub(crate) arity: i32,
    /// Flags as `COMMAND` shows them.
    pub(crate) flags: &'static [&'static str],
    /// What `COMMAND DOCS` says it is for.
    pub(crate) summary: &'static str,
    /// Its arguments, as a person would read them.
    pub(crate) arguments: &'static str,
    /// The group in `COMMAND DOCS`.
    pub(crate) group: &'static str,
    /// What a user needs to run it; nothing for what everyone may.
    pub(crate) right: Option<Right>,
    /// Whether it can be run before the client has said who it is.
    pub(crate) before_auth: bool,
    /// Runs it. The number of arguments has been checked.
    pub(crate) run: fn(&mut RequestContext<'_>, &[&[u8]]) -> AfterReply,
}

impl Spec {
    /// Whether so many words, the name included, make a request.
    pub(crate) const fn takes(&self, words: usize) -> bool {
        takes(self.arity, words)
    }
}

/// Whether `arity`, as `COMMAND` has it, allows so many words.
pub(crate) const fn takes(arity: i32, words: usize) -> bool {
    let wanted = arity.unsigned_abs() as usize;
    if arity < 0 {
        words >= wanted
    } else {
        words == wanted
    }
}
