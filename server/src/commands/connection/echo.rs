//! `ECHO message`

use crate::commands::{Flow, Scope, Spec};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "ECHO",
    arity: 2,
    flags: &["fast"],
    summary: "Repeats the message.",
    arguments: "message",
    group: "connection",
    right: None,
    before_auth: false,
    run,
};

fn run(scope: &mut Scope<'_>, argv: &[&[u8]]) -> Flow {
    scope.reply.bulk(argv[1]);
    Flow::Continue
}
