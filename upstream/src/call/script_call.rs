//! Runs the scripts in the engine: fetch, and commit by proof.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ferrite_store::Words;
use redis::{Cmd, Value};

use super::Usage;
use super::request_size::RequestSize;
use super::snapshot::{Bounds, FetchedContent, Snapshot};
use super::wanted::Wanted;
use super::writes::AddRequests;
use crate::error::UpstreamError;
use crate::marker::{Marker, Markers};
use crate::pool::{Failure, Route};
use crate::scripts::Script;

/// Longest string, or field's value, that a commit sends as a whole to be compared; a longer one is compared by its digest.
const COMPARED_BYTES_MAX: usize = 64;

/// The outcome of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    /// The writes are there.
    Yes,
    /// A key has changed; nothing was written.
    Refused,
    /// Another call holds one of the keys; nothing was written.
    Held,
}

/// The reason why a commit is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// For the first time.
    First,
    /// It was sent before, and may have arrived.
    Again,
    /// It was sent before, and is given up if it has not arrived.
    Void,
}

/// The mark by which the engine knows a commit that arrives twice.
#[derive(Debug)]
pub(super) struct Mark<'m> {
    pub(super) marker: &'m Marker<'m>,
    pub(super) sending: Sending,
    /// The name under which the call holds keys; empty if it holds none.
    pub(super) token: &'m str,
}

/// Reads everything that is wanted, as of one moment.
pub(super) async fn fetch(
    route: &Route<'_>,
    script: &Script,
    wanted: &Wanted,
    bounds: &Bounds,
    usage: &Usage,
) -> Result<Snapshot, UpstreamError> {
    let Bounds {
        value_bytes_max,
        values_bytes_max,
        elements_max,
        whole_fields_max,
    } = *bounds;
    let mut request = ScriptRequest::new(wanted.keys().iter().map(|(key, _)| &**key));
    for limit in [
        value_bytes_max,
        values_bytes_max,
        elements_max,
        whole_fields_max,
    ] {
        request.number(limit);
    }
    for (_, key) in wanted.keys() {
        if key.whole {
            request.word(b"-1");
            continue;
        }
        request.number(key.fields.len() as u64);
        for field in &key.fields {
            request.word(field);
        }
    }
    let reply = request.run(route, wanted.slot(), script, usage).await?;
    let keys = wanted.keys().iter().map(|(key, wanted)| {
        let fields = match wanted.whole {
            true => Vec::new(),
            false => wanted.fields.clone(),
        };
        (key.clone(), fields)
    });
    let snapshot = Snapshot::read(reply, keys, bounds).map_err(|reason| garbage(route, reason))?;
    usage.read_bytes.store(snapshot.bytes(), Ordering::Relaxed);
    Ok(snapshot)
}

/// A commit: what was read, and what is to be written.
#[derive(Debug)]
pub(super) struct Commit<'c> {
    pub(super) slot: Option<u16>,
    pub(super) snapshot: &'c Snapshot,
    pub(super) commands: &'c [Words],
    pub(super) requests: Option<&'c AddRequests>,
}

impl Commit<'_> {
    /// Returns the request that writes if everything is as it was read. With `tracks`, the engine tells its
    /// connection when the keys that are written change again.
    pub(super) fn request(&self, mark: Option<&Mark<'_>>, tracks: bool) -> ScriptRequest {
        commit_request(self, mark, tracks)
    }
}

fn commit_request(commit: &Commit<'_>, mark: Option<&Mark<'_>>, tracks: bool) -> ScriptRequest {
    let Commit {
        slot,
        snapshot,
        commands,
        requests,
    } = *commit;
    let read = snapshot.keys.iter().map(|fetched| &*fetched.key);
    // Keys that are written without having been read have to be named too. Each command names one, and
    // those of one key follow each other.
    let known: HashSet<&[u8]> = snapshot.keys.iter().map(|fetched| &*fetched.key).collect();
    let mut blind: Vec<&[u8]> = Vec::new();
    for words in commands {
        let key: &[u8] = &words[1];
        if blind.last() != Some(&key) && !known.contains(key) {
            blind.push(key);
        }
    }
    blind.extend(requests.map(AddRequests::key));
    let own = mark.map(|mark| [Markers::leases_key(slot), mark.marker.key(slot)]);
    let own = own.iter().flatten().map(String::as_bytes);
    let mut request = ScriptRequest::new(read.chain(blind.iter().copied()).chain(own));
    match mark {
        None => request.word(b"none"),
        Some(Mark {
            marker,
            sending,
            token,
        }) => {
            request.word(match sending {
                Sending::First => b"first",
                Sending::Again => b"again",
                Sending::Void => b"void",
            });
            request.number(marker.lane());
            request.number(marker.sequence());
            request.number(marker.keep_millis());
            request.word(token.as_bytes());
        }
    }
    request.number(u64::from(tracks));
    request.number((snapshot.keys.len() + blind.len()) as u64);
    for fetched in &snapshot.keys {
        let deadline = fetched.deadline.to_string();
        let kind = |kind: &str, request: &mut ScriptRequest| {
            request.word(kind.as_bytes());
            if kind != "none" {
                request.word(deadline.as_bytes());
            }
        };
        match &fetched.content {
            FetchedContent::Absent => kind("none", &mut request),
            FetchedContent::Text(text) if text.len() <= COMPARED_BYTES_MAX => {
                kind("string", &mut request);
                request.word(text);
            }
            FetchedContent::Text(text) => {
                kind("digest", &mut request);
                request.digest(text);
            }
            FetchedContent::Dump(payload) => {
                kind("dump", &mut request);
                request.digest(payload);
            }
            FetchedContent::Fields(fields) => {
                kind("fields", &mut request);
                request.number(fields.len() as u64);
                for (field, value) in fields {
                    request.word(field);
                    match value {
                        Some(value) if value.len() <= COMPARED_BYTES_MAX => {
                            request.word(b"value");
                            request.word(value);
                        }
                        Some(value) => {
                            request.word(b"digest");
                            request.digest(value);
                        }
                        None => request.word(b"none"),
                    }
                }
            }
            FetchedContent::Opaque {
                kind: held, len, ..
            } => {
                kind("opaque", &mut request);
                request.word(held.as_bytes());
                request.word(len.to_string().as_bytes());
            }
        }
    }
    for _ in &blind {
        request.word(b"blind");
    }
    request.number(commands.len() as u64);
    for words in commands {
        request.number(words.len() as u64);
        for word in words {
            request.word(word);
        }
    }
    match requests {
        None => request.number(0),
        Some(AddRequests { words, database }) => {
            request.number(words.len() as u64);
            for word in words {
                request.word(word);
            }
            request.number(u64::from(*database));
        }
    }
    request
}

/// Sends a commit.
pub(super) async fn commit(
    route: &Route<'_>,
    slot: Option<u16>,
    script: &Script,
    request: &ScriptRequest,
    usage: &Usage,
) -> Result<Committed, Failure> {
    let reply = request.send(route, slot, script, usage).await?;
    let Value::Array(parts) = &reply else {
        return Err(Failure::Unanswered(garbage(
            route,
            "the commit script answered no array",
        )));
    };
    match parts.as_slice() {
        [Value::Int(1)] => Ok(Committed::Yes),
        [Value::Int(-1)] | [Value::Int(0), _] => Ok(Committed::Refused),
        [Value::Int(-2)] => Ok(Committed::Held),
        _ => Err(Failure::Unanswered(garbage(
            route,
            "the commit script answered something else",
        ))),
    }
}

/// Asks to hold every wanted key for a while. Returns false if another call holds one.
pub(super) async fn lease(
    route: &Route<'_>,
    script: &Script,
    token: &str,
    duration: Duration,
    wanted: &Wanted,
    usage: &Usage,
) -> Result<bool, UpstreamError> {
    let leases = Markers::leases_key(wanted.slot());
    let mut request = ScriptRequest::new(std::iter::once(leases.as_bytes()));
    request.word(token.as_bytes());
    request.number(duration.as_millis() as u64);
    for (key, _) in wanted.keys() {
        request.word(key);
    }
    let reply = request.run(route, wanted.slot(), script, usage).await?;
    Ok(reply == Value::Int(1))
}

fn garbage(route: &Route<'_>, reason: &'static str) -> UpstreamError {
    UpstreamError::Garbage {
        address: route.place(),
        reason: reason.into(),
    }
}

/// The keys and arguments of a script.
pub(crate) struct ScriptRequest {
    keys: usize,
    words: Vec<Vec<u8>>,
}

impl ScriptRequest {
    pub(crate) fn new<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Self {
        let words: Vec<Vec<u8>> = keys.map(<[u8]>::to_vec).collect();
        Self {
            keys: words.len(),
            words,
        }
    }

    pub(crate) fn word(&mut self, word: &[u8]) {
        self.words.push(word.to_vec());
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.words.push(number.to_string().into_bytes());
    }

    pub(super) fn size(&self) -> RequestSize {
        let mut size = RequestSize::default();
        self.words.iter().for_each(|word| size.add(word));
        size
    }

    fn digest(&mut self, bytes: &[u8]) {
        let digest = sha1_smol::Sha1::from(bytes).digest().to_string();
        self.words.push(digest.into_bytes());
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys);
        for word in &self.words {
            command.arg(word.as_slice());
        }
        command
    }

    /// Runs the script by its digest, or by its text if the engine does not know it yet.
    async fn send(
        &self,
        route: &Route<'_>,
        slot: Option<u16>,
        script: &Script,
        usage: &Usage,
    ) -> Result<Value, Failure> {
        usage.round_trips.fetch_add(1, Ordering::Relaxed);
        let command = self.command("EVALSHA", &script.digest);
        match route.send(slot, &command).await {
            Err(Failure::Refused(text)) if text.starts_with("NOSCRIPT") => {
                usage.round_trips.fetch_add(1, Ordering::Relaxed);
                let command = self.command("EVAL", script.text);
                route.send(slot, &command).await
            }
            sent => sent,
        }
    }

    /// Runs the script for no call.
    pub(crate) async fn send_once(
        &self,
        route: &Route<'_>,
        slot: Option<u16>,
        script: &Script,
    ) -> Result<Value, Failure> {
        self.send(route, slot, script, &Usage::default()).await
    }

    async fn run(
        &self,
        route: &Route<'_>,
        slot: Option<u16>,
        script: &Script,
        usage: &Usage,
    ) -> Result<Value, UpstreamError> {
        let sent = self.send(route, slot, script, usage).await;
        sent.map_err(UpstreamError::from)
    }
}
