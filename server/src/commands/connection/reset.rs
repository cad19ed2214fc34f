//! `RESET`

use std::sync::atomic::Ordering;

use ferrite_protocol::resp::Protocol;

use crate::clients::session::ClientSession;
use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "RESET",
    arity: 1,
    flags: &["fast", "noscript", "no_auth"],
    summary: "Resets the connection to its initial state.",
    arguments: "",
    group: "connection",
    right: None,
    before_auth: true,
    run,
};

fn run(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    let users = &context.state.users;
    let generation = users.generation();
    *context.session = ClientSession::new(users.current().unnamed(), generation);
    context.client.update_labels(|labels| {
        labels.name.clear();
        labels.user = context.session.user_name().to_owned();
    });
    context.client.set_database(0);
    context.client.set_queued(None);
    context.client.activity.protocol.store(2, Ordering::Relaxed);
    context.reply.set_protocol(Protocol::Resp2);
    context.reply.simple("RESET");
    AfterReply::KeepOpen
}
