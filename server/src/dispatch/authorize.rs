//! Checks whether the client's user may make a request; writes and records the error if not.

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::commands::{Command, Spec as FunctionSpec};
use ferrite_store::DataCommand;

use crate::commands::permission::{self, Denial};
use crate::commands::spec::Spec;
use crate::request::RequestContext;

/// Writes the error of a request from a client that has not authenticated.
#[cold]
pub(crate) fn no_authentication(reply: &mut Encoder) {
    reply.error("NOAUTH Authentication required.");
}

/// Returns true if a user with limited rights may make this request on data; writes the error if not.
#[cold]
pub(crate) fn may_run(
    context: &mut RequestContext<'_>,
    command: DataCommand,
    argv: &[&[u8]],
) -> bool {
    let Some(user) = context.session.user() else {
        no_authentication(context.reply);
        return false;
    };
    let checked = permission::check_data(user, context.command_number, command, argv);
    answer(context, checked)
}

/// Returns true if a user with limited rights may run this command on functions; writes the error if
/// not.
#[cold]
pub(crate) fn may_run_function_command(
    context: &mut RequestContext<'_>,
    spec: &FunctionSpec,
    argv: &[&[u8]],
    command: &Command<'_>,
) -> bool {
    let Some(user) = context.session.user() else {
        no_authentication(context.reply);
        return false;
    };
    let number = context.command_number;
    let checked = permission::check_function(user, number, spec, argv, command);
    answer(context, checked)
}

/// Returns true if a user with limited rights may run this command of the server; writes the error if
/// not.
#[cold]
pub(crate) fn may_run_server_command(
    context: &mut RequestContext<'_>,
    spec: &Spec,
    argv: &[&[u8]],
) -> bool {
    let Some(user) = context.session.user() else {
        return true;
    };
    let checked = permission::check_server(user, context.command_number, spec, argv);
    answer(context, checked)
}

fn answer(context: &mut RequestContext<'_>, checked: Result<(), Denial>) -> bool {
    let Err(denial) = checked else {
        return true;
    };
    let (reason, object) = denial.logged();
    let place = match context.session.queued {
        Some(_) => "multi",
        None => "toplevel",
    };
    let user = context.session.user_name().to_owned();
    context
        .state
        .acl_log
        .record(reason, place, object, &user, context.client.to_string());
    context.reply.error(denial.error(&user));
    false
}
