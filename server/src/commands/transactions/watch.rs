//! `WATCH key [key ...]`

use crate::commands::{Flow, Scope, Spec};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WATCH",
    arity: -2,
    flags: &["noscript", "fast"],
    summary: "Makes the next EXEC run only if these keys stay as they are.",
    arguments: "key [key ...]",
    group: "transactions",
    right: None,
    before_auth: false,
    run,
};

fn run(scope: &mut Scope<'_>, argv: &[&[u8]]) -> Flow {
    scope.host.store.watch(&mut scope.session.store, &argv[1..]);
    scope.reply.ok();
    Flow::Continue
}
