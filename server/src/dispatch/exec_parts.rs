//! The parts of `EXEC` that are the same with and without calls of functions.

use ferrite_protocol::resp::Encoder;

use crate::clients::pubsub::channels::Channels;
use crate::clients::queued_requests::QueuedCommand;
use crate::commands::replies::wrong_arity;
use crate::request::RequestContext;

/// Shows other connections that the client's requests are no longer queued.
pub(crate) fn exec_ended(context: &RequestContext<'_>) {
    context
        .client
        .set_database(context.session.store.database());
    context.client.set_queued(None);
}

/// Answers one of the queued requests that needs no data.
pub(crate) fn answer_without_data(
    command: QueuedCommand,
    argv: &[&[u8]],
    channels: &Channels,
    reply: &mut Encoder,
) {
    match (command, argv) {
        (QueuedCommand::Ping, [_]) => reply.simple("PONG"),
        (QueuedCommand::Ping | QueuedCommand::Echo, [_, message]) => reply.bulk(message),
        (QueuedCommand::Publish, [_, channel, message]) => {
            reply.count(channels.publish(channel, message) as u64);
        }
        (QueuedCommand::Publish, _) => wrong_arity(reply, "PUBLISH"),
        // `EXEC` stops watching all keys when it begins.
        (QueuedCommand::Unwatch, _) => reply.ok(),
        (QueuedCommand::Select, _) => wrong_arity(reply, "SELECT"),
        (QueuedCommand::Ping, _) => wrong_arity(reply, "PING"),
        (QueuedCommand::Echo, _) => wrong_arity(reply, "ECHO"),
        (QueuedCommand::Data(command), _) => wrong_arity(reply, command.spec().name),
        (QueuedCommand::Call(spec), _) => wrong_arity(reply, spec.name),
    }
}
