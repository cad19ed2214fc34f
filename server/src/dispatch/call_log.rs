//! Records a call that has ended: a line in the log, and an entry among the slow calls.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ferrite_runtime::error::CallError;
use ferrite_runtime::{CallOutcome, CallRequest};

use crate::clients::registry::{Client, Labels};
use crate::observability::from_outside::for_log;
use crate::observability::slowlog::shortened;
use crate::state::ServerState;

/// Target of the lines, so that they can be filtered and sent elsewhere.
const TARGET: &str = "ferrite::audit";

/// Most keys that one line shows.
const KEYS_MAX: usize = 8;

/// The client that made a call.
#[derive(Clone)]
pub(crate) struct Caller {
    client: u64,
    peer: SocketAddr,
    labels: Labels,
}

impl Caller {
    pub(crate) fn of(client: &Client) -> Self {
        Self {
            client: client.id,
            peer: client.peer,
            labels: client.labels(),
        }
    }
}

/// Records a call that has ended.
///
/// `command` is the command that made it. `began` is its start, if the audit log chose it for a line
/// even if it succeeds. `waited` is the time since its first wait, which comes after a tick at the
/// latest; `None` if it never waited.
#[inline]
pub(crate) fn record<R>(
    state: &ServerState,
    caller: impl Fn() -> Caller,
    command: &'static str,
    request: &CallRequest<'_>,
    outcome: &CallOutcome<R>,
    began: Option<Instant>,
    waited: Option<Duration>,
) {
    let slow = state.config.wasm.slow_call.0;
    if let Some(took) = waited
        && !slow.is_zero()
        && took >= slow
    {
        record_slow(state, caller(), command, request, took);
    }
    if began.is_some() || (outcome.error.is_some() && state.audit.wants_errors()) {
        let took = began.map(|began| began.elapsed()).or(waited);
        line(state, &caller(), command, request, outcome, took);
    }
}

#[cold]
fn record_slow(
    state: &ServerState,
    caller: Caller,
    command: &'static str,
    request: &CallRequest<'_>,
    took: Duration,
) {
    let words = [command.as_bytes(), request.function]
        .into_iter()
        .chain(request.keys.iter().copied())
        .chain(request.args.iter().copied())
        .collect::<Vec<&[u8]>>();
    tracing::warn!(
        function = %for_log(request.function),
        took_ms = took.as_millis(),
        command,
        client = caller.client,
        "slow call"
    );
    state.slow_calls.record(
        took,
        shortened(words.into_iter()),
        caller.peer.to_string(),
        caller.labels.name,
    );
}

#[cold]
fn line<R>(
    state: &ServerState,
    caller: &Caller,
    command: &'static str,
    request: &CallRequest<'_>,
    outcome: &CallOutcome<R>,
    took: Option<Duration>,
) {
    let (name, _) = request.name_and_entry();
    let digest = state
        .functions
        .as_ref()
        .and_then(|runtime| runtime.function(name).ok())
        .map(|registered| registered.record().digest.to_string());
    let keys: Vec<String> = shortened(request.keys.iter().copied())
        .into_iter()
        .take(KEYS_MAX)
        .map(|key| key.escape_ascii().to_string())
        .collect();
    tracing::info!(
        target: TARGET,
        function = %for_log(request.function),
        digest,
        keys = ?keys,
        key_count = request.keys.len(),
        duration_us = took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
        fuel = outcome.fuel,
        tries = outcome.tries,
        outcome = outcome.error.as_ref().map_or("OK", |error: &CallError| error.code().as_str()),
        command,
        client = caller.client,
        user = caller.labels.user,
        "call"
    );
}
