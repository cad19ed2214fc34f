//! `DISCARD`

use crate::commands::spec::Spec;
use crate::commands::transactions::exec::without_multi;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "DISCARD",
    arity: 1,
    flags: &["noscript", "fast"],
    summary: "Discards the queued requests.",
    arguments: "",
    group: "transactions",
    right: None,
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    if context.session.queued.is_some() {
        discard(context);
        context.reply.ok();
    } else {
        without_multi(context, SPEC.name);
    }
    AfterReply::KeepOpen
}

/// Discards the queued requests and stops watching keys.
pub(crate) fn discard(context: &mut RequestContext<'_>) {
    context.session.queued = None;
    context.state.store.unwatch(&mut context.session.store);
    context.client.set_queued(None);
}
