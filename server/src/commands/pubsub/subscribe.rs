//! `SUBSCRIBE channel [channel …]` and `PSUBSCRIBE pattern [pattern …]`

use std::sync::Arc;

use crate::clients::pubsub::channels::Kind;
use crate::clients::pubsub::subscriptions::Subscriptions;
use crate::commands::spec::Spec;
use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "SUBSCRIBE",
    arity: -2,
    flags: &["pubsub", "noscript", "loading", "stale"],
    summary: "Listens to channels.",
    arguments: "channel [channel …]",
    group: "pubsub",
    right: Some(Right::Read),
    before_auth: false,
    run: |context, argv| run(context, argv, Kind::Channel, "subscribe"),
};

pub(in crate::commands) static PATTERN_SPEC: Spec = Spec {
    name: "PSUBSCRIBE",
    arity: -2,
    flags: &["pubsub", "noscript", "loading", "stale"],
    summary: "Listens to all channels whose names match patterns.",
    arguments: "pattern [pattern …]",
    group: "pubsub",
    right: Some(Right::Read),
    before_auth: false,
    run: |context, argv| run(context, argv, Kind::Pattern, "psubscribe"),
};

/// Writes one push for each channel or pattern.
fn run(
    context: &mut RequestContext<'_>,
    argv: &[&[u8]],
    kind: Kind,
    word: &'static str,
) -> AfterReply {
    let (client, channels) = (context.client.id, &context.state.channels);
    let subscriptions = context
        .session
        .subscriptions
        .get_or_insert_with(|| Box::new(Subscriptions::new(client, Arc::clone(channels))));
    for name in &argv[1..] {
        subscriptions.add(kind, name);
        context.reply.push(3);
        context.reply.bulk(word.as_bytes());
        context.reply.bulk(name);
        context.reply.count(subscriptions.len() as u64);
    }
    AfterReply::KeepOpen
}
