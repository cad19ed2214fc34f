//! `INFO [section …]`

mod clients;
mod commands;
mod data;
mod process;
mod wasm;

use std::fmt::Write as _;

use crate::commands::spec::Spec;
use crate::request::{AfterReply, RequestContext};
use crate::state::ServerState;

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "INFO",
    arity: -1,
    flags: &["loading", "stale"],
    summary: "Returns figures about the server.",
    arguments: "[section [section …]]",
    group: "server",
    right: None,
    before_auth: false,
    run,
};

/// The subject of the sections.
struct Subject<'a> {
    state: &'a ServerState,
}

/// A section: its name, true if it is shown unless it is asked for, and the function that writes its
/// lines.
type Section = (&'static str, bool, fn(&Subject<'_>, &mut String));

/// Every section, in the order in which they are shown.
const SECTIONS: [Section; 15] = [
    ("Server", true, process::server),
    ("Clients", true, clients::clients),
    ("Memory", true, process::memory),
    ("Persistence", true, data::persistence),
    ("Threads", true, process::threads),
    ("Stats", true, data::stats),
    ("Replication", true, data::replication),
    ("CPU", true, process::cpu),
    ("Modules", true, process::modules),
    ("Commandstats", false, commands::commandstats),
    ("Errorstats", true, commands::errorstats),
    ("Latencystats", false, commands::latencystats),
    ("Cluster", true, process::cluster),
    ("Wasm", true, wasm::wasm),
    ("Keyspace", true, data::keyspace),
];

/// Writes the sections that were asked for.
fn run(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    let wanted = &argv[1..];
    let asks_for = |words: &[&str]| {
        let is_one = |name: &&[u8]| {
            words
                .iter()
                .any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
        };
        wanted.iter().any(is_one)
    };
    let everything = asks_for(&["all", "everything"]);
    let default = wanted.is_empty() || asks_for(&["default"]);
    let subject = Subject {
        state: context.state,
    };
    let mut text = String::with_capacity(4096);
    for (name, is_default, write) in SECTIONS {
        if everything || (default && is_default) || asks_for(&[name]) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {name}\r\n");
            write(&subject, &mut text);
        }
    }
    context.reply.verbatim(*b"txt", text.as_bytes());
    AfterReply::KeepOpen
}

/// Writes one line.
fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

/// Returns a size as people write it, such as `1.50M`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes}B")
    } else {
        format!("{value:.2}{}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_572_864, "1.50M"),
            (u64::MAX, "16777216.00T"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
