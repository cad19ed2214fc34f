//! Changes of records, all or none of one slot: by a script or, where scripts are forbidden, by `MULTI`.

use redis::{Cmd, Value};

use super::EngineRequests;
use crate::call::ScriptRequest;
use crate::error::UpstreamError;
use crate::pool::{ExclusiveLine, Failure};
use crate::request_state::place::Queue;
use ferrite_runtime::RecordChange;

/// Times that a change is tried again because the hashes changed meanwhile.
const TRIES_MAX: u32 = 16;

/// Changes of the records of one slot.
#[derive(Debug, Default)]
pub(super) struct SlotChanges<'c> {
    /// Names of records without which nothing changes.
    pub(super) required: Vec<&'c [u8]>,
    pub(super) changes: Vec<&'c RecordChange>,
}

impl<'c> SlotChanges<'c> {
    /// Returns the names of new requests, which no other may have.
    fn new_names(&self) -> Vec<&'c [u8]> {
        let set = self.changes.iter().filter(|(_, value)| value.is_some());
        let names = set.map(|(name, _)| name.as_slice());
        let is_new = |name: &&[u8]| Queue::of(name) == Queue::Waiting;
        let names = names.filter(is_new);
        names.filter(|name| !self.required.contains(name)).collect()
    }
}

impl SlotChanges<'_> {
    /// Returns the queues whose hashes are looked at or changed.
    fn queues(&self) -> Vec<Queue> {
        let changed = self.changes.iter().map(|(name, _)| name.as_slice());
        let names = self.required.iter().copied().chain(changed);
        let mut queues: Vec<Queue> = names.map(Queue::of).collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }
}

impl EngineRequests<'_> {
    /// Makes changes in one slot. Returns false, and changes nothing, if a required record is not there, or the name of
    /// a new one is taken.
    ///
    /// # Errors
    ///
    /// The engine does not take them.
    pub(super) async fn change_in_slot(
        &self,
        slot: Option<u16>,
        changes: &SlotChanges<'_>,
    ) -> Result<bool, UpstreamError> {
        if self.upstream.may_script(self.account) {
            match self.change_by_script(slot, changes).await {
                Err(error) if self.upstream.forbids_scripts(self.account, &error) => {}
                outcome => return outcome,
            }
        }
        for _ in 0..TRIES_MAX {
            if let Some(outcome) = self.change_watched(slot, changes).await? {
                return Ok(outcome);
            }
        }
        Err(UpstreamError::Contended { tries: TRIES_MAX })
    }

    async fn change_by_script(
        &self,
        slot: Option<u16>,
        changes: &SlotChanges<'_>,
    ) -> Result<bool, UpstreamError> {
        // Only the hashes that are used, because those of a slot that moves may be on two nodes.
        let queues = changes.queues();
        let keys: Vec<String> = queues.iter().map(|queue| queue.key(slot)).collect();
        let mut request = ScriptRequest::new(keys.iter().map(String::as_bytes));
        let hash = |name: &[u8]| {
            let queue = Queue::of(name);
            let at = queues.iter().position(|known| *known == queue);
            at.map_or(1, |at| at as u64 + 1)
        };
        request.number(changes.required.len() as u64);
        for name in &changes.required {
            request.number(hash(name));
            request.word(name);
        }
        let new = changes.new_names();
        request.number(new.len() as u64);
        for name in new {
            request.number(hash(name));
            request.word(name);
        }
        request.number(changes.changes.len() as u64);
        for (name, value) in &changes.changes {
            request.number(hash(name));
            request.word(name);
            match value {
                Some(value) => {
                    request.word(b"set");
                    request.word(value);
                }
                None => request.word(b"del"),
            }
        }
        let route = self.upstream.route(self.account, 0)?;
        let script = &self.upstream.change_requests;
        match request.send_once(&route, slot, script).await {
            Ok(reply) => Ok(reply == Value::Int(1)),
            Err(Failure::Unanswered(_)) => Err(UpstreamError::OutcomeUnknown),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Tries the changes once; returns `None` if the hashes changed meanwhile.
    async fn change_watched(
        &self,
        slot: Option<u16>,
        changes: &SlotChanges<'_>,
    ) -> Result<Option<bool>, UpstreamError> {
        let pool = &self.upstream.pool;
        let line = pool.exclusive_line(slot, self.account, 0).await?;
        let mut watch = redis::pipe();
        let mut command = redis::cmd("WATCH");
        for queue in changes.queues() {
            command.arg(queue.key(slot));
        }
        watch.add_command(command);
        let new = changes.new_names();
        for name in changes.required.iter().chain(&new) {
            let key = Queue::of(name).key(slot);
            watch.cmd("HEXISTS").arg(key).arg(*name);
        }
        let (values, number) = line.line().send_all(&watch, None).await?;
        for value in &values {
            refuse(value)?;
        }
        let is_there = [Value::Int(1)].into_iter().cycle();
        let is_there = is_there.take(changes.required.len());
        let is_free = [Value::Int(0)].into_iter().cycle().take(new.len());
        if !values.into_iter().skip(1).eq(is_there.chain(is_free)) {
            let mut forget = redis::pipe();
            forget.cmd("UNWATCH");
            line.line().send_all(&forget, Some(number)).await?;
            line.give_back();
            return Ok(Some(false));
        }
        let outcome = self.execute(&line, number, slot, changes).await?;
        line.give_back();
        Ok(outcome.then_some(true))
    }

    /// Makes the changes if nothing that is watched has changed.
    async fn execute(
        &self,
        line: &ExclusiveLine,
        number: u64,
        slot: Option<u16>,
        changes: &SlotChanges<'_>,
    ) -> Result<bool, UpstreamError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("MULTI");
        for (name, value) in &changes.changes {
            let mut command = Cmd::new();
            let verb = if value.is_some() { "HSET" } else { "HDEL" };
            command.arg(verb).arg(Queue::of(name).key(slot)).arg(name);
            if let Some(value) = value {
                command.arg(value.as_slice());
            }
            pipeline.add_command(command);
        }
        pipeline.cmd("EXEC");
        let sent = line.line().send_all(&pipeline, Some(number)).await;
        let (values, _) = sent.map_err(|failure| match failure {
            Failure::Unanswered(_) => UpstreamError::OutcomeUnknown,
            failure => failure.into(),
        })?;
        for value in &values {
            refuse(value)?;
        }
        match values.last() {
            Some(Value::Array(replies)) => {
                replies.iter().try_for_each(refuse)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Returns the engine's error, if the value is one.
fn refuse(value: &Value) -> Result<(), UpstreamError> {
    match value {
        Value::ServerError(error) => Err(crate::call::refused(error)),
        _ => Ok(()),
    }
}
