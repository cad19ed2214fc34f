//! `EXEC`

use super::{Flow, Scope, Spec};
use crate::multi;

pub(super) static SPEC: Spec = Spec {
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
    multi::without_multi(scope, SPEC.name);
    Flow::Continue
}
