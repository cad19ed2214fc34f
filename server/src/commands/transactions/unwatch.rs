//! `UNWATCH`

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "UNWATCH",
    arity: 1,
    flags: &["noscript", "fast"],
    summary: "Stops watching all keys.",
    arguments: "",
    group: "transactions",
    right: None,
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    context.state.store.unwatch(&mut context.session.store);
    context.reply.ok();
    AfterReply::KeepOpen
}
