//! `LASTSAVE`, `SAVE` and `BGSAVE`: backups while the server runs.

use std::sync::Arc;

use ferrite_protocol::error_chain::ErrorChain;

use crate::commands::spec::Spec;
use crate::config::Right;
use crate::request::{AfterReply, RequestContext};
use crate::services::backup::BackupError;
use crate::services::backup::create::create;

pub(in crate::commands) static LASTSAVE: Spec = Spec {
    name: "LASTSAVE",
    arity: 1,
    flags: &["loading", "stale", "fast"],
    summary: "Returns the time of the last backup, in seconds since 1970.",
    arguments: "",
    group: "server",
    right: Some(Right::Admin),
    before_auth: false,
    run: last_save,
};

pub(in crate::commands) static SAVE: Spec = Spec {
    name: "SAVE",
    arity: 1,
    flags: &["admin", "noscript"],
    summary: "Makes a backup of data, functions and their sources.",
    arguments: "",
    group: "server",
    right: Some(Right::Admin),
    before_auth: false,
    run: save,
};

pub(in crate::commands) static BGSAVE: Spec = Spec {
    name: "BGSAVE",
    arity: -1,
    flags: &["admin", "noscript"],
    summary: "Starts a backup of data, functions and their sources, and does not wait for it.",
    arguments: "[SCHEDULE]",
    group: "server",
    right: Some(Right::Admin),
    before_auth: false,
    run: save_in_background,
};

fn last_save(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    let saved_at = context.state.backups.figures().saved_at;
    context.reply.count(saved_at);
    AfterReply::KeepOpen
}

/// Waits for the backup; other clients are served meanwhile.
fn save(context: &mut RequestContext<'_>, _: &[&[u8]]) -> AfterReply {
    match tokio::task::block_in_place(|| create(context.state)) {
        Ok(_) => context.reply.ok(),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            context.reply.error(format!("ERR {}", ErrorChain(error)));
        }
    }
    AfterReply::KeepOpen
}

fn save_in_background(context: &mut RequestContext<'_>, argv: &[&[u8]]) -> AfterReply {
    match &argv[1..] {
        [] => {}
        [word] if word.eq_ignore_ascii_case(b"SCHEDULE") => {}
        _ => {
            context.reply.error("ERR syntax error");
            return AfterReply::KeepOpen;
        }
    }
    if context.state.backups.figures().running {
        context.reply.error(format!("ERR {}", BackupError::Busy));
        return AfterReply::KeepOpen;
    }
    let state = Arc::clone(context.state);
    // Its outcome is in the log, and in `INFO persistence`.
    drop(tokio::task::spawn_blocking(move || create(&state).is_ok()));
    context.reply.simple("Background saving started");
    AfterReply::KeepOpen
}
