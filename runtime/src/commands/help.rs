//! `WASM.HELP`: lists the commands.

use super::error::CommandError;
use super::spec::{Keys, Right, Runs, Spec};
use super::{COMMANDS, Command};
use ferrite_protocol::resp::Encoder;

pub(super) static SPEC: Spec = Spec {
    name: "WASM.HELP",
    arity: 1,
    flags: &["fast"],
    keys: Keys::None,
    right: Right::Inspect,
    runs: Runs::AtOnce,
    summary: "Lists the commands.",
    syntax: "",
    parse,
};

/// Remarks after the list.
const NOTES: [&str; 4] = [
    "KEYS and ARGS stand once each, in either order; what follows the second is taken as it is. So",
    "KEYS … ARGS … is the order for arguments from outside, and FCALL counts its keys.",
    "Sizes are written 512KB or 16MB, times 250ms or 5s; plain numbers are bytes and milliseconds.",
    "Permissions are read-only, read-write or none, or JSON: {\"allowed_keys\": [\"user:*\"], \"denied_keys\": [], \"allow_write\": true}.",
];

/// Request for the list of commands.
#[derive(Clone, Copy, Debug)]
pub struct Help;

fn parse<'a>(_: &'static Spec, _: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    Ok(Command::Help(Help))
}

impl Help {
    pub(super) fn run(self, reply: &mut Encoder) {
        reply.array(COMMANDS.len() * 2 + NOTES.len());
        for spec in COMMANDS {
            reply.simple(format!("{} {}", spec.name, spec.syntax).trim_end());
            reply.simple(format!("    {}", spec.summary));
        }
        for note in NOTES {
            reply.simple(note);
        }
    }
}
