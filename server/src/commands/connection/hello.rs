//! `HELLO [protover [AUTH username password] [SETNAME clientname]]`

use std::sync::atomic::Ordering;

use ferrite_protocol::resp::Protocol;

use super::{auth, client};
use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "HELLO",
    arity: -1,
    flags: &["fast", "noscript", "no_auth"],
    summary: "Selects the protocol, and authenticates the client.",
    arguments: "[protover [AUTH username password] [SETNAME clientname]]",
    group: "connection",
    right: None,
    before_auth: true,
    run,
};

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let protocol = match argv.get(1) {
        None => context.reply.protocol(),
        Some(&b"2") => Protocol::Resp2,
        Some(&b"3") => Protocol::Resp3,
        Some(other) if other.iter().all(u8::is_ascii_digit) && !other.is_empty() => {
            context.reply.error("NOPROTO unsupported protocol version");
            return AfterReply::KeepOpen;
        }
        Some(_) => {
            context
                .reply
                .error("ERR Protocol version is not an integer or out of range");
            return AfterReply::KeepOpen;
        }
    };
    let (mut credentials, mut name) = (None, None);
    let mut rest = argv.get(2..).unwrap_or_default();
    while let [option, after @ ..] = rest {
        rest = match after {
            [user, password, after @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                credentials = Some((*user, *password));
                after
            }
            [chosen, after @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                name = Some(*chosen);
                after
            }
            _ => {
                context.reply.error(format!(
                    "ERR Syntax error in HELLO option '{}'",
                    option.escape_ascii()
                ));
                return AfterReply::KeepOpen;
            }
        };
    }
    if let Some((user, password)) = credentials
        && let Err(error) = auth::authenticate(context, user, password)
    {
        context.reply.error(error);
        return AfterReply::KeepOpen;
    }
    if context.session.user().is_none() {
        context.reply.error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        );
        return AfterReply::KeepOpen;
    }
    if let Some(name) = name {
        match client::checked_name(name) {
            Some(name) => context.client.update_labels(|labels| labels.name = name),
            None => {
                context.reply.error(client::BAD_NAME);
                return AfterReply::KeepOpen;
            }
        }
    }
    context.reply.set_protocol(protocol);
    let version = match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    context
        .client
        .activity
        .protocol
        .store(version, Ordering::Relaxed);
    greet(context, version);
    AfterReply::KeepOpen
}

fn greet(context: &mut RequestContext<'_>, version: u64) {
    let reply = &mut *context.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"ferrite");
    reply.bulk(b"version");
    reply.bulk(env!("CARGO_PKG_VERSION").as_bytes());
    reply.bulk(b"proto");
    reply.count(version);
    reply.bulk(b"id");
    reply.count(context.client.id);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}
