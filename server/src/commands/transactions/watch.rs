//! `WATCH key [key ...]`

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WATCH",
    arity: -2,
    flags: &["noscript", "fast"],
    summary: "Watches keys: the next EXEC runs only if none of them has changed.",
    arguments: "key [key ...]",
    group: "transactions",
    right: None,
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    context
        .state
        .store
        .watch(&mut context.session.store, &argv[1..]);
    context.reply.ok();
    AfterReply::KeepOpen
}
