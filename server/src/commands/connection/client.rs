//! `CLIENT subcommand …`

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clients::registry::{Client, Clients};
use crate::commands::{Flow, Scope, Spec, help, unknown_subcommand, wrong_arity};
use crate::config::Right;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "CLIENT",
    arity: -2,
    flags: &["noscript", "loading", "stale"],
    summary: "Shows and names connections, and ends them.",
    arguments: "ID|INFO|GETNAME|SETNAME|SETINFO|LIST|KILL|NO-EVICT|NO-TOUCH|HELP [argument …]",
    group: "connection",
    right: None,
    before_auth: false,
    run,
};

/// The error of a name that cannot stand in a line of `CLIENT LIST`.
pub(in crate::commands) const BAD_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

const HELP: [&str; 18] = [
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ID",
    "    The number of this connection.",
    "INFO",
    "    One line about this connection.",
    "GETNAME",
    "    The name of this connection.",
    "SETNAME <name>",
    "    Names this connection.",
    "SETINFO <LIB-NAME|LIB-VER> <value>",
    "    Says which client library this is.",
    "LIST [ID <id> ...]",
    "    A line about each connection.",
    "KILL <addr:port> | KILL [ID <id>] [ADDR <addr:port>] [LADDR <addr:port>] [USER <name>] [SKIPME <yes|no>]",
    "    Ends connections, and the calls that they wait for.",
    "NO-EVICT <ON|OFF>, NO-TOUCH <ON|OFF>",
    "    Taken and without effect: nothing is evicted here.",
    "HELP",
];

/// Names are kept for show in lines, so they are bounded and printable.
pub(in crate::commands) fn checked_name(name: &[u8]) -> Option<String> {
    const NAME_BYTES_MAX: usize = 256;
    let printable = name.iter().all(|byte| (b'!'..=b'~').contains(byte));
    (printable && name.len() <= NAME_BYTES_MAX).then(|| String::from_utf8_lossy(name).into_owned())
}

fn run(scope: &mut Scope<'_>, argv: &[&[u8]]) -> Flow {
    let subcommand = argv[1].to_ascii_uppercase();
    match (subcommand.as_slice(), &argv[2..]) {
        (b"ID", []) => scope.reply.count(scope.client.id),
        (b"INFO", []) => {
            let line = format!("{}\n", scope.client);
            scope.reply.verbatim(*b"txt", line.as_bytes());
        }
        (b"GETNAME", []) => match scope.client.labels().name.as_str() {
            "" => scope.reply.null(),
            name => scope.reply.bulk(name.as_bytes()),
        },
        (b"SETNAME", [name]) => match checked_name(name) {
            Some(name) => {
                scope.client.relabel(|labels| labels.name = name);
                scope.reply.ok();
            }
            None => scope.reply.error(BAD_NAME),
        },
        (b"SETINFO", [attribute, value]) => set_info(scope, attribute, value),
        (b"NO-EVICT" | b"NO-TOUCH", [on]) => {
            if on.eq_ignore_ascii_case(b"ON") || on.eq_ignore_ascii_case(b"OFF") {
                scope.reply.ok();
            } else {
                scope.reply.error("ERR syntax error");
            }
        }
        (b"LIST", options) => list(scope, options),
        (b"KILL", options) if !options.is_empty() => kill(scope, options),
        (b"HELP", []) => help(scope.reply, &HELP),
        (
            b"ID" | b"INFO" | b"GETNAME" | b"SETNAME" | b"SETINFO" | b"NO-EVICT" | b"NO-TOUCH"
            | b"KILL" | b"HELP",
            _,
        ) => {
            let name = format!("client|{}", String::from_utf8_lossy(&subcommand));
            wrong_arity(scope.reply, &name);
        }
        _ => unknown_subcommand(scope.reply, SPEC.name, argv[1]),
    }
    Flow::Continue
}

fn set_info(scope: &mut Scope<'_>, attribute: &[u8], value: &[u8]) {
    let Some(value) = checked_name(value) else {
        scope.reply.error(format!(
            "ERR {} cannot contain spaces, newlines or special characters.",
            attribute.to_ascii_lowercase().escape_ascii()
        ));
        return;
    };
    if attribute.eq_ignore_ascii_case(b"LIB-NAME") {
        scope.client.relabel(|labels| labels.library = value);
        scope.reply.ok();
    } else if attribute.eq_ignore_ascii_case(b"LIB-VER") {
        scope
            .client
            .relabel(|labels| labels.library_version = value);
        scope.reply.ok();
    } else {
        scope.reply.error(format!(
            "ERR Unrecognized option '{}'",
            attribute.escape_ascii()
        ));
    }
}

/// Whether the user may see and end other connections than its own.
fn refuse_others(scope: &mut Scope<'_>) -> bool {
    let refused = !scope.session.may(Right::Admin);
    if refused {
        scope.reply.error(
            "NOPERM this user has no permission to see or end other connections; it needs the right admin",
        );
    }
    refused
}

fn list(scope: &mut Scope<'_>, options: &[&[u8]]) {
    if refuse_others(scope) {
        return;
    }
    let clients = match options {
        [] => scope.host.clients.all(),
        [kind, rest @ ..] if kind.eq_ignore_ascii_case(b"TYPE") => match rest {
            [kind] if kind.eq_ignore_ascii_case(b"normal") => scope.host.clients.all(),
            [kind]
                if [&b"master"[..], b"replica", b"slave", b"pubsub"]
                    .iter()
                    .any(|known| kind.eq_ignore_ascii_case(known)) =>
            {
                Vec::new()
            }
            [kind] => {
                scope
                    .reply
                    .error(format!("ERR Unknown client type '{}'", kind.escape_ascii()));
                return;
            }
            _ => {
                scope.reply.error("ERR syntax error");
                return;
            }
        },
        [id, ids @ ..] if id.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            let Some(ids) = ids
                .iter()
                .map(|id| number(id))
                .collect::<Option<Vec<u64>>>()
            else {
                scope.reply.error("ERR Invalid client ID");
                return;
            };
            ids.into_iter()
                .filter_map(|id| scope.host.clients.get(id))
                .collect()
        }
        _ => {
            scope.reply.error("ERR syntax error");
            return;
        }
    };
    scope
        .reply
        .verbatim(*b"txt", Clients::lines(&clients).as_bytes());
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Which connections `CLIENT KILL` means.
#[derive(Debug, Default)]
struct Filter {
    id: Option<u64>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    user: Option<String>,
    /// Whether the connection that asks is meant as well.
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

    fn means(&self, client: &Client, own_id: u64) -> bool {
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

fn kill(scope: &mut Scope<'_>, options: &[&[u8]]) {
    if refuse_others(scope) {
        return;
    }
    // The old form names one address, may end its own connection, and answers OK.
    let (filter, old) = match options {
        [address] => {
            let peer = std::str::from_utf8(address)
                .ok()
                .and_then(|text| text.parse().ok());
            let Some(peer) = peer else {
                scope.reply.error("ERR No such client");
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
        scope.reply.error("ERR syntax error");
        return;
    };
    let meant: Vec<Arc<Client>> = scope
        .host
        .clients
        .all()
        .into_iter()
        .filter(|client| filter.means(client, scope.client.id))
        .collect();
    for client in &meant {
        tracing::info!(client = client.id, peer = %client.peer, by = scope.client.id, "connection ended by CLIENT KILL");
        // One's own connection still gets its answer.
        if client.id == scope.client.id {
            client.stop();
        } else {
            client.cut();
        }
    }
    match (old, meant.is_empty()) {
        (true, true) => scope.reply.error("ERR No such client"),
        (true, false) => scope.reply.ok(),
        (false, _) => scope.reply.count(meant.len() as u64),
    }
}
