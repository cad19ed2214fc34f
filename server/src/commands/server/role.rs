//! `ROLE`

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "ROLE",
    arity: 1,
    flags: &["noscript", "loading", "stale", "fast"],
    summary: "Returns the role of the server: a primary without replicas.",
    arguments: "",
    group: "server",
    right: None,
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    context.reply.array(3);
    context.reply.bulk(b"master");
    context.reply.int(0);
    context.reply.array(0);
    AfterReply::KeepOpen
}
