//! Whether a user may make a request, and the errors where not.

use ferrite_protocol::resp::Encoder;

use crate::config::Right;
use crate::request::RequestContext;

/// The error of a request from a client that has not said who it is.
#[cold]
pub(crate) fn no_authentication(reply: &mut Encoder) {
    reply.error("NOAUTH Authentication required.");
}

/// The error of a request that needs a right which the user lacks.
#[cold]
pub(crate) fn no_permission(context: &mut RequestContext<'_>, command: &[u8], right: Right) {
    context.reply.error(format!(
        "NOPERM User {} has no permission to run the '{}' command; it needs the right {}",
        context.session.user_name(),
        command.to_ascii_lowercase().escape_ascii(),
        right.name(),
    ));
}

/// Whether a user with bounded rights may make this request; writes the error if not.
#[cold]
pub(crate) fn permitted(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> bool {
    if context.session.user().is_none() {
        no_authentication(context.reply);
        return false;
    }
    let Some(spec) = context.state.store.command(argv[0]) else {
        // It will be told that there is no such command.
        return true;
    };
    let right = if spec.is_write() {
        Right::Write
    } else {
        Right::Read
    };
    let may = context.session.may(right);
    if !may {
        no_permission(context, argv[0], right);
    }
    may
}
