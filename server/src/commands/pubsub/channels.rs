//! `PUBSUB CHANNELS [pattern] | NUMSUB [channel …] | NUMPAT | HELP`

use crate::commands::replies::{help, unknown_subcommand, wrong_arity};
use crate::commands::spec::Spec;
use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "PUBSUB",
    arity: -2,
    flags: &["pubsub", "loading", "stale"],
    summary: "Shows the channels that clients listen to.",
    arguments: "CHANNELS|NUMSUB|NUMPAT|HELP [argument …]",
    group: "pubsub",
    right: Some(Right::Read),
    before_auth: false,
    run,
};

const HELP: [&str; 7] = [
    "PUBSUB <subcommand> [<arg> ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Returns the channels that clients listen to by their names.",
    "NUMPAT",
    "    Returns the number of patterns that clients listen to.",
    "NUMSUB [<channel> ...]",
    "    Returns how many clients listen to each channel by its name.",
];

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let channels = &context.state.channels;
    let reply = &mut *context.reply;
    let subcommand = argv[1].to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"CHANNELS", []) => write_names(reply, &channels.active(b"*")),
        (b"CHANNELS", [pattern]) => write_names(reply, &channels.active(pattern)),
        (b"NUMSUB", names) => {
            reply.array(2 * names.len());
            for name in names {
                reply.bulk(name);
                reply.count(channels.listeners(name) as u64);
            }
        }
        (b"NUMPAT", []) => reply.count(channels.patterns() as u64),
        (b"HELP", []) => help(reply, &HELP),
        (b"CHANNELS" | b"NUMPAT" | b"HELP", _) => {
            let name = format!("pubsub|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(reply, &name);
        }
        _ => unknown_subcommand(reply, SPEC.name, argv[1]),
    }
    AfterReply::KeepOpen
}

fn write_names(reply: &mut ferrite_protocol::resp::Encoder, names: &[std::sync::Arc<[u8]>]) {
    reply.array(names.len());
    for name in names {
        reply.bulk(name);
    }
}
