//! Calls where scripts are forbidden: keys are watched on a connection of the call's own, and written
//! by `MULTI`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ferrite_store::Words;
use redis::{Cmd, Pipeline, Value};

use super::Usage;
use super::request_size::RequestSize;
use super::script_call::Committed;
use super::snapshot::{Bounds, Fetched, FetchedContent, Snapshot, reason_foreign, reason_large};
use super::wanted::{Wanted, WantedKey};
use super::writes::AddRequests;
use crate::error::{UpstreamError, is_unread};
use crate::pool::{ExclusiveLine, Failure};

/// Times that keys are read again because they changed while they were read.
const READS_MAX: u32 = 16;

/// Commands that tell the type, the time to live and the size of a key.
const LOOKS: [&str; 7] = ["TYPE", "PTTL", "STRLEN", "LLEN", "HLEN", "SCARD", "ZCARD"];

/// A connection of one call, on which keys are watched.
#[derive(Debug)]
pub(super) struct Watched {
    line: ExclusiveLine,
    /// Number of the connection on which keys are watched; `None` if none are.
    number: Option<u64>,
}

/// A key before its value is read.
struct Look {
    kind: String,
    ttl: i64,
    len: i64,
}

impl Watched {
    pub(super) fn new(line: ExclusiveLine) -> Self {
        Self { line, number: None }
    }

    async fn send(&mut self, pipeline: &Pipeline, usage: &Usage) -> Result<Vec<Value>, Failure> {
        usage.round_trips.fetch_add(1, Ordering::Relaxed);
        let (values, number) = self.line.line().send_all(pipeline, self.number).await?;
        self.number = Some(number);
        Ok(values)
    }

    /// Watches and reads everything that is wanted.
    pub(super) async fn fetch(
        &mut self,
        wanted: &Wanted,
        bounds: &Bounds,
        usage: &Usage,
    ) -> Result<Snapshot, UpstreamError> {
        for _ in 0..READS_MAX {
            if let Some(snapshot) = self.fetch_once(wanted, bounds, usage).await? {
                return Ok(snapshot);
            }
            // What was watched has changed, so begin anew.
            self.forget(usage).await?;
        }
        Err(UpstreamError::Contended { tries: READS_MAX })
    }

    async fn forget(&mut self, usage: &Usage) -> Result<(), UpstreamError> {
        if self.number.is_some() {
            let mut pipeline = redis::pipe();
            pipeline.cmd("UNWATCH");
            self.send(&pipeline, usage).await?;
            self.number = None;
        }
        Ok(())
    }

    async fn fetch_once(
        &mut self,
        wanted: &Wanted,
        bounds: &Bounds,
        usage: &Usage,
    ) -> Result<Option<Snapshot>, UpstreamError> {
        let mut pipeline = redis::pipe();
        let mut watch = redis::cmd("WATCH");
        for (key, _) in wanted.keys() {
            watch.arg(&**key);
        }
        pipeline.add_command(watch);
        pipeline.cmd("TIME");
        for (key, _) in wanted.keys() {
            for look in LOOKS {
                pipeline.cmd(look).arg(&**key);
            }
        }
        let mut values = self.send(&pipeline, usage).await?.into_iter();
        let mut next = || values.next().unwrap_or(Value::Nil);
        check(next())?;
        let now = time(next()).ok_or_else(|| self.garbage("TIME answered no time"))?;
        let mut looks = Vec::with_capacity(wanted.keys().len());
        for _ in wanted.keys() {
            let kind = match checked(next())? {
                Value::SimpleString(kind) => kind,
                _ => return Err(self.garbage("TYPE answered no type")),
            };
            let Value::Int(ttl) = checked(next())? else {
                return Err(self.garbage("PTTL answered no number"));
            };
            // Of these, only the one for the type answers no error.
            let lens: Vec<Value> = LOOKS[2..].iter().map(|_| next()).collect();
            let len = lens.iter().find_map(|value| match value {
                Value::Int(len) if *len > 0 => Some(*len),
                _ => None,
            });
            looks.push(Look {
                kind,
                ttl,
                len: len.unwrap_or(0),
            });
        }
        self.read(wanted, &looks, now, bounds, usage).await
    }

    /// Reads the values; returns `None` if one has another type by now.
    async fn read(
        &mut self,
        wanted: &Wanted,
        looks: &[Look],
        now: i64,
        bounds: &Bounds,
        usage: &Usage,
    ) -> Result<Option<Snapshot>, UpstreamError> {
        let mut pipeline = redis::pipe();
        for ((key, wanted), look) in wanted.keys().iter().zip(looks) {
            if let Some(command) = reading(key, wanted, look, bounds) {
                pipeline.add_command(command);
            }
        }
        let mut values = match pipeline.is_empty() {
            true => Vec::new(),
            false => self.send(&pipeline, usage).await?,
        }
        .into_iter();
        let mut keys = Vec::with_capacity(looks.len());
        for ((key, wanted), look) in wanted.keys().iter().zip(looks) {
            let content = match reading(key, wanted, look, bounds) {
                None if look.kind == "none" => FetchedContent::Absent,
                // It is there, and nothing of it was asked for yet.
                None if look.kind == "hash" && !wanted.whole => FetchedContent::Fields(Vec::new()),
                None => FetchedContent::Opaque {
                    reason: opaque(look, bounds),
                    kind: look.kind.clone(),
                    len: look.len,
                },
                Some(_) => match values.next().unwrap_or(Value::Nil) {
                    Value::BulkString(text) if look.kind == "string" => FetchedContent::Text(text),
                    Value::BulkString(payload) => FetchedContent::Dump(payload),
                    Value::Array(values) if values.len() == wanted.fields.len() => {
                        let pairs = wanted.fields.iter().cloned().zip(values);
                        FetchedContent::Fields(
                            pairs
                                .map(|(field, value)| match value {
                                    Value::BulkString(value) => (field, Some(value)),
                                    _ => (field, None),
                                })
                                .collect(),
                        )
                    }
                    Value::ServerError(error) if error.code() != "WRONGTYPE" => {
                        return Err(refused(&error));
                    }
                    _ => return Ok(None),
                },
            };
            keys.push(Arc::new(Fetched {
                key: key.clone(),
                deadline: if look.ttl >= 0 {
                    now + look.ttl
                } else {
                    look.ttl
                },
                content,
            }));
        }
        let snapshot = Snapshot {
            now: Some(now),
            keys,
        };
        usage.read_bytes.store(snapshot.bytes(), Ordering::Relaxed);
        Ok(Some(snapshot))
    }

    /// Writes if nothing that is watched has changed. Without commands, it only proves that.
    pub(super) async fn commit(
        &mut self,
        commands: &[Words],
        requests: Option<&AddRequests>,
        usage: &Usage,
    ) -> Result<Committed, UpstreamError> {
        if let Some(requests) = requests
            && !self.may_add(requests, usage).await?
        {
            self.forget(usage).await?;
            return Ok(Committed::Refused);
        }
        let writes = !commands.is_empty() || requests.is_some();
        let mut pipeline = redis::pipe();
        pipeline.cmd("MULTI");
        if let Some(AddRequests { words, database }) = requests {
            in_first_database(&mut pipeline, *database, [command(words)]);
        }
        for words in commands {
            pipeline.add_command(command(words));
        }
        pipeline.cmd("EXEC");
        let sent = self.send(&pipeline, usage).await;
        let values = sent.map_err(|failure| match failure {
            Failure::Unanswered(_) if writes => UpstreamError::OutcomeUnknown,
            // It comes before `EXEC`.
            Failure::Refused(reason) if is_unread(&reason) => UpstreamError::TooLarge {
                bytes: RequestSize::of(commands).bytes,
                reason,
            },
            failure => failure.into(),
        })?;
        // `EXEC` has ended the watch.
        self.number = None;
        let executed = values.last();
        let failed = values.iter().find_map(|value| match value {
            Value::ServerError(error) => Some(refused(error)),
            _ => None,
        });
        match (executed, failed) {
            (_, Some(error)) => Err(error),
            (Some(Value::Nil), None) => Ok(Committed::Refused),
            (Some(Value::Array(replies)), None) => {
                match replies.iter().find_map(|reply| match reply {
                    Value::ServerError(error) => Some(error),
                    _ => None,
                }) {
                    // Nothing but the engine's own limits can be the cause: every type was checked.
                    Some(error) => Err(refused(error)),
                    None => Ok(Committed::Yes),
                }
            }
            _ => Err(self.garbage("EXEC answered something else")),
        }
    }

    /// Watches the requests that wait. Returns false if there are some of these names, which other servers have
    /// given at the same time.
    ///
    /// # Errors
    ///
    /// None can be added; a command that fails within `MULTI` undoes no other.
    async fn may_add(
        &mut self,
        requests: &AddRequests,
        usage: &Usage,
    ) -> Result<bool, UpstreamError> {
        let mut looks = vec![redis::cmd("WATCH")];
        looks[0].arg(requests.key());
        for name in requests.names() {
            let mut look = redis::cmd("HEXISTS");
            look.arg(requests.key()).arg(name);
            looks.push(look);
        }
        let mut pipeline = redis::pipe();
        in_first_database(&mut pipeline, requests.database, looks);
        let mut may_add = true;
        for value in self.send(&pipeline, usage).await? {
            may_add &= checked(value)? != Value::Int(1);
        }
        Ok(may_add)
    }

    /// Gives the connection back, with nothing watched on it.
    pub(super) async fn end(mut self, usage: &Usage) {
        if self.forget(usage).await.is_ok() {
            self.line.give_back();
        }
    }

    fn garbage(&self, reason: &'static str) -> UpstreamError {
        UpstreamError::Garbage {
            address: self.line.line().place(),
            reason: reason.into(),
        }
    }
}

fn command(words: &Words) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(word.as_slice());
    }
    command
}

/// Adds commands on the first database, from a connection that has selected this one.
fn in_first_database(
    pipeline: &mut Pipeline,
    database: u32,
    commands: impl IntoIterator<Item = Cmd>,
) {
    if database != 0 {
        pipeline.cmd("SELECT").arg(0);
    }
    for command in commands {
        pipeline.add_command(command);
    }
    if database != 0 {
        pipeline.cmd("SELECT").arg(database);
    }
}

/// Returns the command that reads a value; `None` if it is not read.
fn reading(key: &[u8], wanted: &WantedKey, look: &Look, bounds: &Bounds) -> Option<Cmd> {
    let len = look.len.unsigned_abs();
    let mut command = match look.kind.as_str() {
        "string" if len <= bounds.value_bytes_max => redis::cmd("GET"),
        "hash" if !wanted.whole && len > bounds.whole_fields_max => {
            let mut command = redis::cmd("HMGET");
            command.arg(key);
            for field in &wanted.fields {
                command.arg(&**field);
            }
            return (!wanted.fields.is_empty()).then_some(command);
        }
        "list" | "hash" | "set" | "zset" if len <= bounds.elements_max => redis::cmd("DUMP"),
        _ => return None,
    };
    command.arg(key);
    Some(command)
}

fn opaque(look: &Look, bounds: &Bounds) -> String {
    match look.kind.as_str() {
        "string" | "list" | "hash" | "set" | "zset" => reason_large(&look.kind, look.len, bounds),
        kind => reason_foreign(kind),
    }
}

pub(crate) fn refused(error: &redis::ServerError) -> UpstreamError {
    let text = match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    };
    UpstreamError::Refused(text.into())
}

fn checked(value: Value) -> Result<Value, UpstreamError> {
    match value {
        Value::ServerError(error) => Err(refused(&error)),
        value => Ok(value),
    }
}

fn check(value: Value) -> Result<(), UpstreamError> {
    checked(value).map(drop)
}

/// Returns the milliseconds since 1970 of a reply to `TIME`.
fn time(value: Value) -> Option<i64> {
    let Value::Array(parts) = value else {
        return None;
    };
    let part = |index: usize| match parts.get(index) {
        Some(Value::BulkString(digits)) => std::str::from_utf8(digits).ok()?.parse::<i64>().ok(),
        _ => None,
    };
    Some(part(0)? * 1000 + part(1)? / 1000)
}
