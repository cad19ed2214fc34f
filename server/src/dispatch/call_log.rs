//! Records a call that has ended: a line in the log, and an entry among the slow calls.

use std::time::{Duration, Instant};

use ferrite_runtime::error::CallError;
use ferrite_runtime::{CallOutcome, CallRequest};

use crate::clients::caller::Caller;
use crate::clients::registry::Client;
use crate::observability::from_outside::for_log;
use crate::observability::slowlog::shortened;
use crate::state::ServerState;

/// Target of the lines, so that they can be filtered and sent elsewhere.
const TARGET: &str = "ferrite::audit";

/// Most keys that one line shows.
const KEYS_MAX: usize = 8;

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
    let slow = state.live.slow_call();
    if let Some(took) = waited
        && !slow.is_zero()
        && took >= slow
    {
        record_slow(state, caller(), command, request, took);
    }
    let failed =
        outcome.error.is_some() || outcome.denied.is_some() || outcome.replied_error.is_some();
    if began.is_some() || (failed && state.audit.wants_errors()) {
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
    state.latency.record("function", took);
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

/// Returns the code of the error that a call replied, or `OK`.
fn outcome_word<R>(outcome: &CallOutcome<R>) -> String {
    match (&outcome.error, outcome.replied_error) {
        (Some(error), _) => error.code().as_str().to_owned(),
        (None, Some(word)) => word.to_string(),
        (None, None) => "OK".to_owned(),
    }
}

/// Records a call that ends because its client goes away, if it is dropped before it is told that the
/// call has ended.
pub(crate) struct Unfinished<'a> {
    state: &'a ServerState,
    client: &'a Client,
    command: &'static str,
    request: &'a CallRequest<'a>,
    since: Option<Instant>,
    ended: bool,
}

impl<'a> Unfinished<'a> {
    /// `since` is the call's start, if the audit log chose it.
    pub(crate) const fn new(
        state: &'a ServerState,
        client: &'a Client,
        command: &'static str,
        request: &'a CallRequest<'a>,
        since: Option<Instant>,
    ) -> Self {
        Self {
            state,
            client,
            command,
            request,
            since,
            ended: false,
        }
    }

    /// The call has ended by itself.
    pub(crate) fn ended(mut self) {
        self.ended = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.ended && (self.since.is_some() || self.state.audit.wants_errors()) {
            let outcome = CallOutcome::<()>::failed(CallError::killed());
            let took = self.since.map(|since| since.elapsed());
            let caller = Caller::of(self.client);
            line(
                self.state,
                &caller,
                self.command,
                self.request,
                &outcome,
                took,
            );
        }
    }
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
    // A call that never ran, or whose client went away, tells neither.
    let ran = outcome.tries > 0;
    tracing::info!(
        target: TARGET,
        function = %for_log(request.function),
        digest,
        keys = ?keys,
        key_count = request.keys.len(),
        duration_us = took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
        fuel = ran.then_some(outcome.fuel),
        tries = ran.then_some(outcome.tries),
        outcome = %outcome_word(outcome),
        // Its parts from outside are escaped.
        denied = outcome.denied.as_ref().map(ToString::to_string),
        command,
        client = caller.client,
        user = caller.labels.user,
        "call"
    );
}
