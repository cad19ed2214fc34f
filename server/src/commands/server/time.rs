//! `TIME`

use std::time::{SystemTime, UNIX_EPOCH};

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "TIME",
    arity: 1,
    flags: &["loading", "stale", "fast"],
    summary: "Returns the server's time: seconds since 1970, and microseconds.",
    arguments: "",
    group: "server",
    right: None,
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    context.reply.array(2);
    for number in [since.as_secs(), u64::from(since.subsec_micros())] {
        context.reply.bulk(number.to_string().as_bytes());
    }
    AfterReply::KeepOpen
}
