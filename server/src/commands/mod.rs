//! The commands that are about the connection and the server, one file each.

pub(crate) mod connection;
pub(crate) mod docs;
pub(crate) mod server;
pub(crate) mod transactions;

use std::sync::Arc;

pub(crate) use server::info::resident_bytes;

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::error::Quoted;

use crate::clients::registry::Client;
use crate::clients::session::Session;
use crate::config::Right;
use crate::state::Host;

/// What a command works with.
pub(crate) struct Scope<'a> {
    pub(crate) host: &'a Arc<Host>,
    pub(crate) client: &'a Client,
    pub(crate) session: &'a mut Session,
    pub(crate) reply: &'a mut Encoder,
}

/// What becomes of the connection after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It goes on.
    Continue,
    /// It ends once the reply is sent.
    Close,
}

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
    pub(crate) run: fn(&mut Scope<'_>, &[&[u8]]) -> Flow,
}

/// Every command of the server's own.
pub(crate) static SPECS: [&Spec; 18] = [
    &connection::auth::SPEC,
    &connection::client::SPEC,
    &server::command::SPEC,
    &server::config::SPEC,
    &connection::echo::SPEC,
    &connection::hello::SPEC,
    &server::info::SPEC,
    &connection::ping::SPEC,
    &connection::quit::SPEC,
    &connection::reset::SPEC,
    &connection::select::SPEC,
    &server::shutdown::SPEC,
    &server::slowlog::SPEC,
    &transactions::multi::SPEC,
    &transactions::exec::SPEC,
    &transactions::discard::SPEC,
    &transactions::watch::SPEC,
    &transactions::unwatch::SPEC,
];

/// The command of this name, in any case.
///
/// A request for data passes here on its way, so most names are turned away by their length and
/// first letter alone.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<&'static Spec> {
    SPECS
        .iter()
        .find(|spec| {
            spec.name.len() == name.len() && spec.name.as_bytes().eq_ignore_ascii_case(name)
        })
        .copied()
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

/// The error of a request with the wrong number of arguments.
#[cold]
pub(crate) fn wrong_arity(reply: &mut Encoder, name: &str) {
    let name = name.to_ascii_lowercase();
    reply.error(format!(
        "ERR wrong number of arguments for '{name}' command"
    ));
}

/// The error of a subcommand that a command does not have.
#[cold]
pub(crate) fn unknown_subcommand(reply: &mut Encoder, name: &str, subcommand: &[u8]) {
    reply.error(format!(
        "ERR unknown subcommand {}. Try {name} HELP.",
        Quoted(subcommand)
    ));
}

/// Writes lines of help, as the `HELP` subcommands do.
pub(crate) fn help(reply: &mut Encoder, lines: &[&str]) {
    reply.array(lines.len());
    for line in lines {
        reply.simple(line);
    }
}
