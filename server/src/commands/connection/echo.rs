//! `ECHO message`

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "ECHO",
    arity: 2,
    flags: &["fast"],
    summary: "Returns the message.",
    arguments: "message",
    group: "connection",
    right: None,
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    context.reply.bulk(argv[1]);
    AfterReply::KeepOpen
}
