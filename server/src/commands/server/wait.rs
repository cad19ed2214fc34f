//! `WAIT numreplicas timeout`

use std::time::{SystemTime, UNIX_EPOCH};

use ferrite_protocol::number::parse_integer;

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WAIT",
    arity: 3,
    flags: &["blocking"],
    summary: "Tells how many replicas have the client's writes: none, because there are none.",
    arguments: "numreplicas timeout",
    group: "generic",
    right: None,
    before_auth: false,
    run,
};

/// Answers at once: no replica would come while the client waits.
fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    match check(argv[1], argv[2]) {
        Ok(()) => context.reply.int(0),
        Err(error) => context.reply.error(error),
    }
    AfterReply::KeepOpen
}

fn check(replicas: &[u8], timeout: &[u8]) -> Result<(), &'static str> {
    parse_integer(replicas).ok_or("ERR value is not an integer or out of range")?;
    let timeout = parse_integer(timeout).ok_or("ERR timeout is not an integer or out of range")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    if timeout < 0 {
        Err("ERR timeout is negative")
    } else if timeout.checked_add(now).is_none() {
        Err("ERR timeout is out of range")
    } else {
        Ok(())
    }
}
