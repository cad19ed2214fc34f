//! Whether a user may make a request, and the errors where not.

use ferrite_protocol::resp::Encoder;

use crate::commands::Scope;
use crate::config::Right;

/// The error of a request from a client that has not said who it is.
#[cold]
pub(crate) fn no_authentication(reply: &mut Encoder) {
    reply.error("NOAUTH Authentication required.");
}

/// The error of a request that needs a right which the user lacks.
#[cold]
pub(crate) fn no_permission(scope: &mut Scope<'_>, command: &[u8], right: Right) {
    scope.reply.error(format!(
        "NOPERM User {} has no permission to run the '{}' command; it needs the right {}",
        scope.session.user_name(),
        command.to_ascii_lowercase().escape_ascii(),
        right.name(),
    ));
}

/// Whether a user with bounded rights may make this request; writes the error if not.
#[cold]
pub(crate) fn permitted(scope: &mut Scope<'_>, argv: &[&[u8]]) -> bool {
    if scope.session.user().is_none() {
        no_authentication(scope.reply);
        return false;
    }
    let Some(spec) = scope.host.store.command(argv[0]) else {
        // It will be told that there is no such command.
        return true;
    };
    let right = if spec.is_write() {
        Right::Write
    } else {
        Right::Read
    };
    let may = scope.session.may(right);
    if !may {
        no_permission(scope, argv[0], right);
    }
    may
}
