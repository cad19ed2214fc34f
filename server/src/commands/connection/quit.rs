//! `QUIT`

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "QUIT",
    arity: -1,
    flags: &["fast", "noscript", "no_auth"],
    summary: "Closes the connection.",
    arguments: "",
    group: "connection",
    right: None,
    before_auth: true,
    run,
};

fn run(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    context.reply.ok();
    AfterReply::Close
}
