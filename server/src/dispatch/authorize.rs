//! Checks whether a user may make a request, and writes the error if not.

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::commands::{Command, Right as FunctionRight, Spec as FunctionSpec};
use ferrite_runtime::error::Quoted;
use ferrite_store::DataCommand;

use crate::config::Right;
use crate::request::RequestContext;

/// Writes the error of a request from a client that has not authenticated.
#[cold]
pub(crate) fn no_authentication(reply: &mut Encoder) {
    reply.error("NOAUTH Authentication required.");
}

/// Writes the error of a request that needs a right which the user lacks.
#[cold]
pub(crate) fn no_permission(context: &mut RequestContext<'_>, command: &str, right: Right) {
    context.reply.error(format!(
        "NOPERM User {} has no permission to run the '{}' command; it needs the right {}",
        context.session.user_name(),
        command.to_ascii_lowercase(),
        right.name(),
    ));
}

/// Returns true if a user with limited rights may make this request on data; writes the error if not.
///
/// A request that writes and also tells or copies a value needs both rights.
#[cold]
pub(crate) fn may_run(
    context: &mut RequestContext<'_>,
    command: DataCommand,
    argv: &[&[u8]],
) -> bool {
    if context.session.user().is_none() {
        no_authentication(context.reply);
        return false;
    }
    let spec = command.spec();
    let needed = [
        (Right::Write, spec.is_write()),
        (Right::Read, spec.is_read(argv)),
    ];
    for (right, is_needed) in needed {
        if is_needed && !context.session.may(right) {
            no_permission(context, spec.name, right);
            return false;
        }
    }
    true
}

/// Returns the user's right that a command on functions needs.
pub(crate) const fn right_for(right: FunctionRight) -> Right {
    match right {
        FunctionRight::Call | FunctionRight::Inspect => Right::Call,
        FunctionRight::Manage => Right::Manage,
    }
}

/// Returns true if a user with limited rights may run this command on functions; writes the error if
/// not.
#[cold]
pub(crate) fn may_run_function_command(
    context: &mut RequestContext<'_>,
    spec: &FunctionSpec,
    command: &Command<'_>,
) -> bool {
    let Some(user) = context.session.user() else {
        no_authentication(context.reply);
        return false;
    };
    let right = right_for(spec.right);
    if !user.may(right) {
        no_permission(context, spec.name, right);
        return false;
    }
    let Some(function) = command.function() else {
        return true;
    };
    let may_use = user.may_use(function);
    if !may_use {
        context.reply.error(format!(
            "NOPERM User {} has no permission to use the function {}",
            context.session.user_name(),
            Quoted(function),
        ));
    }
    may_use
}
