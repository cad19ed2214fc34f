//! `AUTH [username] password`

use crate::clients::users::{DEFAULT_USER, TooManyLogins};
use crate::commands::replies::wrong_arity;
use crate::commands::spec::Spec;
use crate::observability::from_outside::for_log;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "AUTH",
    arity: -2,
    flags: &["fast", "noscript", "no_auth"],
    summary: "Authenticates the client.",
    arguments: "[username] password",
    group: "connection",
    right: None,
    before_auth: true,
    run,
};

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let (name, password) = match argv {
        [_, _] if !context.state.users.is_required() => {
            context.reply.error(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            );
            return AfterReply::KeepOpen;
        }
        [_, password] => (DEFAULT_USER.as_bytes(), *password),
        [_, name, password] => (*name, *password),
        _ => {
            wrong_arity(context.reply, SPEC.name);
            return AfterReply::KeepOpen;
        }
    };
    match authenticate(context, name, password) {
        Ok(()) => context.reply.ok(),
        Err(error) => context.reply.error(error),
    }
    AfterReply::KeepOpen
}

/// Makes the connection this user's if the password is right; else returns the error to reply.
pub(in crate::commands) fn authenticate(
    context: &mut RequestContext<'_>,
    name: &[u8],
    password: &[u8],
) -> Result<(), &'static str> {
    let users = &context.state.users;
    // The other connections of this thread are served by others meanwhile.
    let user = users.authenticate(name, password, |check| tokio::task::block_in_place(check));
    match user {
        Err(TooManyLogins) => Err("BUSY too many clients log in at the same time; try again later"),
        Ok(Some(user)) => {
            let name = user.name().to_owned();
            context.client.update_labels(|labels| labels.user = name);
            context.session.set_user(Some(user));
            Ok(())
        }
        Ok(None) => {
            context.state.acl_log.record(
                "auth",
                "toplevel",
                "AUTH".to_owned(),
                &for_log(name).to_string(),
                context.client.to_string(),
            );
            context.state.stats.authentication_failures.add(1);
            if let Some(left_out) = context.state.wrong_passwords.line() {
                tracing::warn!(
                    peer = %context.client.peer,
                    user = %for_log(name),
                    left_out,
                    "wrong user name or password"
                );
            }
            Err("WRONGPASS invalid username-password pair or user is disabled.")
        }
    }
}
