//! `UNSUBSCRIBE [channel …]` and `PUNSUBSCRIBE [pattern …]`

use std::sync::Arc;

use crate::clients::pubsub::channels::Kind;
use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "UNSUBSCRIBE",
    arity: -1,
    flags: &["pubsub", "noscript", "loading", "stale"],
    summary: "Stops listening to channels, or to all of them.",
    arguments: "[channel …]",
    group: "pubsub",
    right: None,
    before_auth: false,
    run: |context, argv| run(context, argv, Kind::Channel, "unsubscribe"),
};

pub(in crate::commands) static PATTERN_SPEC: Spec = Spec {
    name: "PUNSUBSCRIBE",
    arity: -1,
    flags: &["pubsub", "noscript", "loading", "stale"],
    summary: "Stops listening to patterns of channels, or to all of them.",
    arguments: "[pattern …]",
    group: "pubsub",
    right: None,
    before_auth: false,
    run: |context, argv| run(context, argv, Kind::Pattern, "punsubscribe"),
};

/// Writes one push for each channel or pattern; one with a null if there is none.
fn run(
    context: &mut RequestContext<'_>,
    argv: &[&[u8]],
    kind: Kind,
    word: &'static str,
) -> AfterReply {
    let subscriptions = &mut context.session.subscriptions;
    let names: Vec<Option<Arc<[u8]>>> = match (&argv[1..], subscriptions.as_mut()) {
        ([], Some(subscriptions)) => subscriptions
            .names(kind)
            .iter()
            .cloned()
            .map(Some)
            .collect(),
        (names, _) => names.iter().map(|&name| Some(name.into())).collect(),
    };
    let names = if names.is_empty() { vec![None] } else { names };
    for name in &names {
        let left = subscriptions.as_mut().map_or(0, |subscriptions| {
            if let Some(name) = name {
                subscriptions.remove(kind, name);
            }
            subscriptions.len()
        });
        context.reply.push(3);
        context.reply.bulk(word.as_bytes());
        match name {
            Some(name) => context.reply.bulk(name),
            None => context.reply.null(),
        }
        context.reply.count(left as u64);
    }
    AfterReply::KeepOpen
}
