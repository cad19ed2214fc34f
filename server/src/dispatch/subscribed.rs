//! The requests that a client may make while it listens to channels.

use ferrite_protocol::resp::Protocol;

use crate::commands::command_ref::CommandRef;
use crate::request::RequestContext;

/// Commands that a client of RESP2 may use while it listens. It could not tell other replies from
/// messages; in RESP3 these are marked.
const ALLOWED: [&str; 7] = [
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "PING",
    "QUIT",
    "RESET",
];

/// Returns true, and writes the error, if the client may not use this command because it listens.
#[inline]
pub(crate) fn refuses(
    context: &mut RequestContext<'_>,
    command: Option<CommandRef>,
    name: &[u8],
) -> bool {
    context.session.subscriptions.is_some() && refuses_now(context, command, name)
}

#[cold]
fn refuses_now(context: &mut RequestContext<'_>, command: Option<CommandRef>, name: &[u8]) -> bool {
    if !context.session.listens() || context.reply.protocol() == Protocol::Resp3 {
        return false;
    }
    if let Some(CommandRef::Server(spec)) = command
        && ALLOWED.contains(&spec.name)
    {
        return false;
    }
    context.reply.error(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
         allowed in this context",
        name.to_ascii_lowercase().escape_ascii()
    ));
    true
}
