//! `AUTH [username] password`

use ferrite_protocol::resp::Encoder;

use crate::clients::users::DEFAULT_USER;
use crate::commands::{Flow, Scope, Spec, wrong_arity};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "AUTH",
    arity: -2,
    flags: &["fast", "noscript", "no_auth"],
    summary: "Says who the client is.",
    arguments: "[username] password",
    group: "connection",
    right: None,
    before_auth: true,
    run,
};

fn run(scope: &mut Scope<'_>, argv: &[&[u8]]) -> Flow {
    let (name, password) = match argv {
        [_, _] if !scope.host.users.is_required() => {
            scope.reply.error(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            );
            return Flow::Continue;
        }
        [_, password] => (DEFAULT_USER.as_bytes(), *password),
        [_, name, password] => (*name, *password),
        _ => {
            wrong_arity(scope.reply, SPEC.name);
            return Flow::Continue;
        }
    };
    if authenticate(scope, name, password) {
        scope.reply.ok();
    } else {
        refuse(scope.reply);
    }
    Flow::Continue
}

/// Makes the connection this user's, if the password is right.
pub(in crate::commands) fn authenticate(
    scope: &mut Scope<'_>,
    name: &[u8],
    password: &[u8],
) -> bool {
    let user = scope.host.users.authenticate(name, password);
    match user {
        Some(user) => {
            let name = user.name().to_owned();
            scope.client.relabel(|labels| labels.user = name);
            scope.session.set_user(Some(user));
            true
        }
        None => {
            scope.host.stats.authentication_failures.add(1);
            tracing::warn!(peer = %scope.client.peer, user = %name.escape_ascii(), "wrong user name or password");
            false
        }
    }
}

pub(in crate::commands) fn refuse(reply: &mut Encoder) {
    reply.error("WRONGPASS invalid username-password pair or user is disabled.");
}
