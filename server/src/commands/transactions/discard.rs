//! `DISCARD`

use crate::commands::{Flow, Scope, Spec};
use crate::dispatch::transaction;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "DISCARD",
    arity: 1,
    flags: &["noscript", "fast"],
    summary: "Forgets the requests that were held back.",
    arguments: "",
    group: "transactions",
    right: None,
    before_auth: false,
    run,
};

fn run(scope: &mut Scope<'_>, _: &[&[u8]]) -> Flow {
    if scope.session.held.is_some() {
        transaction::forget(scope);
        scope.reply.ok();
    } else {
        transaction::without_multi(scope, SPEC.name);
    }
    Flow::Continue
}
