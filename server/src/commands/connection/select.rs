//! `SELECT index`

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "SELECT",
    arity: 2,
    flags: &["loading", "stale", "fast"],
    summary: "Selects the database of later commands.",
    arguments: "index",
    group: "connection",
    right: None,
    before_auth: false,
    run,
};

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    match context
        .state
        .store
        .select(&mut context.session.store, argv[1])
    {
        Ok(()) => {
            let database = context.session.store.database();
            context.client.set_database(database);
            context.reply.ok();
        }
        Err(error) => context.reply.error_display(&error),
    }
    AfterReply::KeepOpen
}
