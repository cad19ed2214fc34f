//! `EXEC`

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "EXEC",
    arity: 1,
    flags: &["noscript"],
    summary: "Runs the queued requests as one transaction.",
    arguments: "",
    group: "transactions",
    right: None,
    before_auth: false,
    run,
};

/// Answers an `EXEC` without `MULTI`; dispatch runs any other.
fn run(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    without_multi(context, SPEC.name);
    AfterReply::KeepOpen
}

/// Writes the error of a command that needs a `MULTI` before it.
pub(crate) fn without_multi(context: &mut RequestContext<'_>, name: &str) {
    context.reply.error(format!("ERR {name} without MULTI"));
}
