//! A command that the server answers itself: its row in the table of commands.

use ferrite_protocol::arity;

use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

/// A command that the server answers itself.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Its name, in upper case.
    pub(crate) name: &'static str,
    /// Number of words with the name; if negative, that many or more.
    pub(crate) arity: i32,
    /// Flags that `COMMAND` shows.
    pub(crate) flags: &'static [&'static str],
    /// A sentence that describes it, for `COMMAND DOCS`.
    pub(crate) summary: &'static str,
    /// Its arguments: `[…]` are optional, `|` separates choices, `…` repeats, capitals stand for
    /// themselves.
    pub(crate) arguments: &'static str,
    /// Its group in `COMMAND DOCS`.
    pub(crate) group: &'static str,
    /// The right that a user needs to run it; `None` if every user may.
    pub(crate) right: Option<Right>,
    /// True if a client may run it before it has authenticated.
    pub(crate) before_auth: bool,
    /// Runs it. The caller has checked the number of words and the right.
    pub(crate) run: fn(&mut RequestContext<'_>, &[&[u8]]) -> AfterReply,
}

impl Spec {
    /// Returns the key of a request. Commands of the server have none but for `MEMORY USAGE`.
    pub(crate) fn key<'a>(&self, argv: &[&'a [u8]]) -> Option<&'a [u8]> {
        match argv {
            [_, subcommand, key, ..]
                if self.name == "MEMORY" && subcommand.eq_ignore_ascii_case(b"USAGE") =>
            {
                Some(key)
            }
            _ => None,
        }
    }

    /// Returns true if a request may have this number of words, the name included.
    pub(crate) const fn takes(&self, words: usize) -> bool {
        arity::takes(self.arity, words)
    }
}
