//! `UNWATCH`

use crate::commands::{Flow, Scope, Spec};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "UNWATCH",
    arity: 1,
    flags: &["noscript", "fast"],
    summary: "Forgets the keys that are watched.",
    arguments: "",
    group: "transactions",
    right: None,
    before_auth: false,
    run,
};

fn run(scope: &mut Scope<'_>, _: &[&[u8]]) -> Flow {
    scope.host.store.unwatch(&mut scope.session.store);
    scope.reply.ok();
    Flow::Continue
}
