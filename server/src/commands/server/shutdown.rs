//! `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE]`

use crate::commands::spec::Spec;
use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "SHUTDOWN",
    arity: -1,
    flags: &["admin", "noscript"],
    summary: "Stops the server, after running calls have ended and data is written to disk.",
    arguments: "[NOSAVE|SAVE] [NOW] [FORCE]",
    group: "server",
    right: Some(Right::Admin),
    before_auth: false,
    run,
};

const OPTIONS: [&[u8]; 4] = [b"NOSAVE", b"SAVE", b"NOW", b"FORCE"];

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let known = |word: &&[u8]| {
        OPTIONS
            .iter()
            .any(|option| option.eq_ignore_ascii_case(word))
    };
    if !argv[1..].iter().all(known) {
        context.reply.error("ERR syntax error");
        return AfterReply::KeepOpen;
    }
    tracing::info!(
        client = context.client.id,
        "a client asked the server to stop"
    );
    context.state.stop();
    // As with Redis, there is no reply; the connection closes.
    AfterReply::Close
}
