//! `MULTI`

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "MULTI",
    arity: 1,
    flags: &["noscript", "fast"],
    summary: "Starts a transaction: later requests are queued until EXEC.",
    arguments: "",
    group: "transactions",
    right: None,
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    context.session.queued = Some(Box::default());
    context.client.set_queued(Some(0));
    context.reply.ok();
    AfterReply::KeepOpen
}
