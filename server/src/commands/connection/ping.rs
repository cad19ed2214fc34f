//! `PING [message]`

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
    match argv {
        [_] => context.reply.simple("PONG"),
        [_, message] => context.reply.bulk(message),
        _ => wrong_arity(context.reply, SPEC.name),
    }
    AfterReply::KeepOpen
}
