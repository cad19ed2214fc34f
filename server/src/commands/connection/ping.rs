//! `PING [message]`

use ferrite_protocol::resp::Protocol;

use crate::commands::replies::wrong_arity;
use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "PING",
    arity: -1,
    flags: &["fast"],
    summary: "Replies PONG, or returns the message.",
    arguments: "[message]",
    group: "connection",
    right: None,
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    // Among messages of RESP2 the reply looks like one.
    if context.session.listens() && context.reply.protocol() == Protocol::Resp2 && argv.len() < 3 {
        context.reply.array(2);
        context.reply.bulk(b"pong");
        context.reply.bulk(argv.get(1).copied().unwrap_or_default());
        return AfterReply::KeepOpen;
    }
    match argv {
        [_] => context.reply.simple("PONG"),
        [_, message] => context.reply.bulk(message),
        _ => wrong_arity(context.reply, SPEC.name),
    }
    AfterReply::KeepOpen
}
