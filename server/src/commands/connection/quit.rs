//! `QUIT`

use crate::commands::{Flow, Scope, Spec};

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

fn run(scope: &mut Scope<'_>, _: &[&[u8]]) -> Flow {
    scope.reply.ok();
    Flow::Close
}
