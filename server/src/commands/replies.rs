//! Replies that several commands share.

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::error::Quoted;

/// Writes the error of a request with the wrong number of arguments.
#[cold]
pub(crate) fn wrong_arity(reply: &mut Encoder, name: &str) {
    let name = name.to_ascii_lowercase();
    reply.error(format!(
        "ERR wrong number of arguments for '{name}' command"
    ));
}

/// Writes the error of a subcommand that does not exist.
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
