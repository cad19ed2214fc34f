//! `CLIENT subcommand …`

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clients::registry::{Client, Clients};
use crate::commands::replies::{help, unknown_subcommand, wrong_arity};
use crate::commands::spec::Spec;
use crate::config::Right;
use crate::request::{AfterReply, RequestContext};

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "CLIENT",
    arity: -2,
    flags: &["noscript", "loading", "stale"],
    summary: "Shows, names and closes connections.",
    arguments: "ID|INFO|GETNAME|SETNAME|SETINFO|LIST|KILL|NO-EVICT|NO-TOUCH|HELP [argument …]",
    group: "connection",
    right: None,
    before_auth: false,
    run,
};

/// The error of a name that would break the format of `CLIENT LIST`.
pub(in crate::commands) const BAD_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

const HELP: [&str; 18] = [
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ID",
    "    Returns the number of this connection.",
    "INFO",
    "    Returns a line that describes this connection.",
    "GETNAME",
    "    Returns the name of this connection.",
    "SETNAME <name>",
    "    Names this connection.",
    "SETINFO <LIB-NAME|LIB-VER> <value>",
    "    Sets the name or version of the client library.",
    "LIST [ID <id> ...]",
    "    Returns a line for each connection.",
    "KILL <addr:port> | KILL [ID <id>] [ADDR <addr:port>] [LADDR <addr:port>] [USER <name>] [SKIPME <yes|no>]",
    "    Closes connections and aborts the calls that they wait for.",
    "NO-EVICT <ON|OFF>, NO-TOUCH <ON|OFF>",
    "    Accepted without effect: this server does not evict keys.",
    "HELP",
];

/// Returns the name if it is printable, without spaces and short enough for a line of `CLIENT LIST`.
pub(in crate::commands) fn checked_name(name: &[u8]) -> Option<String> {
    const NAME_BYTES_MAX: usize = 256;
    let printable = name.iter().all(|byte| (b'!'..=b'~').contains(byte));
    (printable && name.len() <= NAME_BYTES_MAX).then(|| String::from_utf8_lossy(name).into_owned())
}

fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let subcommand = argv[1].to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"ID", []) => context.reply.count(context.client.id),
        (b"INFO", []) => {
            let line = format!("{}\n", context.client);
            context.reply.verbatim(*b"txt", line.as_bytes());
        }
        (b"GETNAME", []) => match context.client.labels().name.as_str() {
            "" => context.reply.null(),
            name => context.reply.bulk(name.as_bytes()),
        },
        (b"SETNAME", [name]) => match checked_name(name) {
            Some(name) => {
                context.client.update_labels(|labels| labels.name = name);
                context.reply.ok();
            }
            None => context.reply.error(BAD_NAME),
        },
        (b"SETINFO", [attribute, value]) => set_info(context, attribute, value),
        (b"NO-EVICT" | b"NO-TOUCH", [on]) => {
            if on.eq_ignore_ascii_case(b"ON") || on.eq_ignore_ascii_case(b"OFF") {
                context.reply.ok();
            } else {
                context.reply.error("ERR syntax error");
            }
        }
        (b"LIST", options) => list(context, options),
        (b"KILL", options) if !options.is_empty() => kill(context, options),
        (b"HELP", []) => help(context.reply, &HELP),
        (
            b"ID" | b"INFO" | b"GETNAME" | b"SETNAME" | b"SETINFO" | b"NO-EVICT" | b"NO-TOUCH"
            | b"KILL" | b"HELP",
            _,
        ) => {
            let name = format!("client|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(context.reply, &name);
        }
        _ => unknown_subcommand(context.reply, SPEC.name, argv[1]),
    }
    AfterReply::KeepOpen
}

fn set_info(context: &mut RequestContext<'_>, attribute: &[u8], value: &[u8]) {
    let Some(value) = checked_name(value) else {
        context.reply.error(format!(
            "ERR {} cannot contain spaces, newlines or special characters.",
            attribute.to_ascii_lowercase().escape_ascii()
        ));
        return;
    };
    if attribute.eq_ignore_ascii_case(b"LIB-NAME") {
        context
            .client
            .update_labels(|labels| labels.library = value);
        context.reply.ok();
    } else if attribute.eq_ignore_ascii_case(b"LIB-VER") {
        context
            .client
            .update_labels(|labels| labels.library_version = value);
        context.reply.ok();
    } else {
        context.reply.error(format!(
            "ERR Unrecognized option '{}'",
            attribute.escape_ascii()
        ));
    }
}

/// Returns true, and writes the error, if the user may not see and close other connections.
fn refuse_others(context: &mut RequestContext<'_>) -> bool {
    let refused = !context.session.may(Right::Admin);
    if refused {
        context.reply.error(
            "NOPERM this user has no permission to see or close other connections; it needs the right admin",
        );
    }
    refused
}

fn list(context: &mut RequestContext<'_>, options: &[&[u8]]) {
    if refuse_others(context) {
        return;
    }
    let clients = match options {
        [] => context.state.clients.all(),
        [kind, rest @ ..] if kind.eq_ignore_ascii_case(b"TYPE") => match rest {
            [kind] if kind.eq_ignore_ascii_case(b"normal") => context.state.clients.all(),
            [kind]
                if [&b"master"[..], b"replica", b"slave", b"pubsub"]
                    .iter()
                    .any(|known| kind.eq_ignore_ascii_case(known)) =>
            {
                Vec::new()
            }
            [kind] => {
                context
                    .reply
                    .error(format!("ERR Unknown client type '{}'", kind.escape_ascii()));
                return;
            }
            _ => {
                context.reply.error("ERR syntax error");
                return;
            }
        },
        [id, ids @ ..] if id.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            let Some(ids) = ids
                .iter()
                .map(|id| number(id))
                .collect::<Option<Vec<u64>>>()
            else {
                context.reply.error("ERR Invalid client ID");
                return;
            };
            ids.into_iter()
                .filter_map(|id| context.state.clients.get(id))
                .collect()
        }
        _ => {
            context.reply.error("ERR syntax error");
            return;
        }
    };
    context
        .reply
        .verbatim(*b"txt", Clients::lines(&clients).as_bytes());
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The connections that `CLIENT KILL` closes: those that match every given field.
#[derive(Debug, Default)]
struct Filter {
    id: Option<u64>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    user: Option<String>,
    /// True if the connection that runs the command is closed too.
    with_self: bool,
}

impl Filter {
    fn parse(options: &[&[u8]]) -> Option<Self> {
        let mut filter = Self::default();
        let (pairs, []) = options.as_chunks::<2>() else {
            return None;
        };
        for [name, value] in pairs {
            let text = std::str::from_utf8(value).ok()?;
            match name.to_ascii_uppercase().as_slice() {
                b"ID" => filter.id = Some(text.parse().ok()?),
                b"ADDR" => filter.peer = Some(text.parse().ok()?),
                b"LADDR" => filter.local = Some(text.parse().ok()?),
                b"USER" => filter.user = Some(text.to_owned()),
                b"SKIPME" if text.eq_ignore_ascii_case("yes") => filter.with_self = false,
                b"SKIPME" if text.eq_ignore_ascii_case("no") => filter.with_self = true,
                b"TYPE" if text.eq_ignore_ascii_case("normal") => {}
                _ => return None,
            }
        }
        Some(filter)
    }

    fn matches(&self, client: &Client, own_id: u64) -> bool {
        let Self {
            id,
            peer,
            local,
            user,
            with_self,
        } = self;
        id.is_none_or(|id| id == client.id)
            && peer.is_none_or(|peer| peer == client.peer)
            && local.is_none_or(|local| local == client.local)
            && user
                .as_ref()
                .is_none_or(|user| *user == client.labels().user)
            && (*with_self || client.id != own_id)
    }
}

fn kill(context: &mut RequestContext<'_>, options: &[&[u8]]) {
    if refuse_others(context) {
        return;
    }
    // The old form takes one address, may close its own connection, and replies OK.
    let (filter, old) = match options {
        [address] => {
            let peer = std::str::from_utf8(address)
                .ok()
                .and_then(|text| text.parse().ok());
            let Some(peer) = peer else {
                context.reply.error("ERR No such client");
                return;
            };
            let filter = Filter {
                peer: Some(peer),
                with_self: true,
                ..Filter::default()
            };
            (Some(filter), true)
        }
        options => (Filter::parse(options), false),
    };
    let Some(filter) = filter else {
        context.reply.error("ERR syntax error");
        return;
    };
    let matching: Vec<Arc<Client>> = context
        .state
        .clients
        .all()
        .into_iter()
        .filter(|client| filter.matches(client, context.client.id))
        .collect();
    for client in &matching {
        tracing::info!(client = client.id, peer = %client.peer, by = context.client.id, "connection closed by CLIENT KILL");
        // The connection that runs the command still gets its reply.
        if client.id == context.client.id {
            client.drain();
        } else {
            client.disconnect();
        }
    }
    match (old, matching.is_empty()) {
        (true, true) => context.reply.error("ERR No such client"),
        (true, false) => context.reply.ok(),
        (false, _) => context.reply.count(matching.len() as u64),
    }
}
