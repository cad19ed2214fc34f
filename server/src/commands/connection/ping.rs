//! `PING [message]`

use crate::commands::{Flow, Scope, Spec, wrong_arity};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "PING",
    arity: -1,
    flags: &["fast"],
    summary: "Answers, or repeats the message.",
    arguments: "[message]",
    group: "connection",
    right: None,
    before_auth: false,
    run,
};

fn run(scope: &mut Scope<'_>, argv: &[&[u8]]) -> Flow {
    match argv {
        [_] => scope.reply.simple("PONG"),
        [_, message] => scope.reply.bulk(message),
        _ => wrong_arity(scope.reply, SPEC.name),
    }
    Flow::Continue
}
