//! `PUBLISH channel message`

use crate::commands::spec::Spec;
use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "PUBLISH",
    arity: 3,
    flags: &["pubsub", "loading", "stale", "fast"],
    summary: "Sends a message to all clients that listen to a channel.",
    arguments: "channel message",
    group: "pubsub",
    right: Some(Right::Write),
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let reached = context.state.channels.publish(argv[1], argv[2]);
    context.reply.count(reached as u64);
    AfterReply::KeepOpen
}
