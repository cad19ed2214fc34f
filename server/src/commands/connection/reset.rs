//! `RESET`

use std::sync::atomic::Ordering;

use ferrite_protocol::resp::Protocol;

use crate::clients::session::Session;
use crate::commands::{Flow, Scope, Spec};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "RESET",
    arity: 1,
    flags: &["fast", "noscript", "no_auth"],
    summary: "Takes the connection back to how it began.",
    arguments: "",
    group: "connection",
    right: None,
    before_auth: true,
    run,
};

fn run(scope: &mut Scope<'_>, _: &[&[u8]]) -> Flow {
    *scope.session = Session::new(scope.host.users.unnamed());
    scope.client.relabel(|labels| {
        labels.name.clear();
        labels.user = scope.session.user_name().to_owned();
    });
    scope.client.set_database(0);
    scope.client.set_queued(None);
    scope.client.activity.protocol.store(2, Ordering::Relaxed);
    scope.reply.set_protocol(Protocol::Resp2);
    scope.reply.simple("RESET");
    Flow::Continue
}
