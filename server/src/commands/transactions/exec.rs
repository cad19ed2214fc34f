//! `EXEC`

use crate::commands::{Flow, Scope, Spec};
use crate::dispatch::transaction;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "EXEC",
    arity: 1,
    flags: &["noscript"],
    summary: "Runs the requests that were held back, as one.",
    arguments: "",
    group: "transactions",
    right: None,
    before_auth: false,
    run,
};

fn run(scope: &mut Scope<'_>, _: &[&[u8]]) -> Flow {
    // With `MULTI` before it, it does not come here.
    transaction::without_multi(scope, SPEC.name);
    Flow::Continue
}
