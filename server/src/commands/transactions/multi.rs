//! `MULTI`

use crate::commands::{Flow, Scope, Spec};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "MULTI",
    arity: 1,
    flags: &["noscript", "fast"],
    summary: "Begins to hold requests back.",
    arguments: "",
    group: "transactions",
    right: None,
    before_auth: false,
    run,
};

fn run(scope: &mut Scope<'_>, _: &[&[u8]]) -> Flow {
    scope.session.held = Some(Box::default());
    scope.client.set_queued(Some(0));
    scope.reply.ok();
    Flow::Continue
}
