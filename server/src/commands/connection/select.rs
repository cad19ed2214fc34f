//! `SELECT index`

use crate::commands::{Flow, Scope, Spec};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "SELECT",
    arity: 2,
    flags: &["loading", "stale", "fast"],
    summary: "Chooses the database of the commands that follow.",
    arguments: "index",
    group: "connection",
    right: None,
    before_auth: false,
    run,
};

fn run(scope: &mut Scope<'_>, argv: &[&[u8]]) -> Flow {
    match scope.host.store.select(&mut scope.session.store, argv[1]) {
        Ok(()) => {
            let database = scope.session.store.database();
            scope.client.set_database(database);
            scope.reply.ok();
        }
        Err(error) => scope.reply.error_display(&error),
    }
    Flow::Continue
}
