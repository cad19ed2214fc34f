//! `MONITOR`

use std::sync::Arc;

use crate::clients::pubsub::subscriptions::Subscriptions;
use crate::commands::spec::Spec;
use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "MONITOR",
    arity: 1,
    flags: &["admin", "noscript", "loading", "stale"],
    summary: "Shows the requests of all clients as they come.",
    arguments: "",
    group: "server",
    right: Some(Right::Admin),
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    let (client, state) = (context.client.id, context.state);
    context
        .session
        .subscriptions
        .get_or_insert_with(|| Box::new(Subscriptions::new(client, Arc::clone(&state.channels))))
        .monitor(&state.monitors);
    context.reply.ok();
    AfterReply::KeepOpen
}
