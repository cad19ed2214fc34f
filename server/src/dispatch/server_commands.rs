//! Runs the commands that the server answers itself.

use crate::commands::replies::wrong_arity;
use crate::commands::spec::Spec;
use crate::dispatch::authorize::{may_run_server_command, no_authentication};
use crate::request::{AfterReply, RequestContext};

/// Answers a request of the command `spec`, if the user may make it.
pub(crate) fn run(context: &mut RequestContext<'_>, spec: &Spec, argv: &[&[u8]]) -> AfterReply {
    if !spec.takes(argv.len()) {
        wrong_arity(context.reply, spec.name);
        return AfterReply::KeepOpen;
    }
    if context.session.user().is_none() && !spec.before_auth {
        no_authentication(context.reply);
        return AfterReply::KeepOpen;
    }
    if !context.session.is_unrestricted() && !may_run_server_command(context, spec, argv) {
        return AfterReply::KeepOpen;
    }
    (spec.run)(context, argv)
}
