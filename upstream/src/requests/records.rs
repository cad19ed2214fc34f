//! The records in the engine's hashes, as the runtime reads and changes them.

use std::collections::BTreeMap;

use ferrite_protocol::record::Record;
use ferrite_runtime::{CallError, Code, RecordChange, RequestRecords, VisitRecord};
use redis::Value;

use super::change::SlotChanges;
use super::{EngineRequests, texts};
use crate::error::UpstreamError;
use crate::request_state::place::{Queue, slot_of_record};

/// Most records that one command reads: each may have the largest body.
const READ_AT_ONCE: usize = 32;

impl EngineRequests<'_> {
    /// Returns the slot of a record; `None` if there are no slots.
    fn slot(&self, name: &[u8]) -> Option<u16> {
        let has_slots = self.upstream.topology().is_cluster();
        has_slots.then(|| slot_of_record(name))
    }

    /// Returns the names of the records of a hash, in their order.
    pub(super) async fn names(
        &self,
        queue: Queue,
        slot: Option<u16>,
    ) -> Result<Vec<Vec<u8>>, UpstreamError> {
        let key = queue.key(slot);
        let names = self.send(&key, redis::cmd("HKEYS").arg(&key)).await?;
        let mut names = texts(names);
        names.sort_unstable();
        Ok(names)
    }

    /// Returns those of these records of one hash that are there.
    pub(super) async fn read(
        &self,
        queue: Queue,
        slot: Option<u16>,
        names: &[&[u8]],
    ) -> Result<Vec<Record>, UpstreamError> {
        let key = queue.key(slot);
        let mut found = Vec::with_capacity(names.len());
        for names in names.chunks(READ_AT_ONCE) {
            let mut command = redis::cmd("HMGET");
            command.arg(&key);
            for name in names {
                command.arg(*name);
            }
            let Value::Array(values) = self.send(&key, &command).await? else {
                continue;
            };
            for (name, value) in names.iter().zip(values) {
                if let Value::BulkString(value) = value {
                    found.push(((*name).into(), value.into()));
                }
            }
        }
        Ok(found)
    }

    fn check_lease(&self) -> Result<(), CallError> {
        match self.sends && !self.may_send() {
            true => Err(CallError::new(
                Code::Store,
                "this server has not the right to send at present; the one that has it sends the request",
            )),
            false => Ok(()),
        }
    }
}

/// Returns the error of a command or a try. The engine's own code is not repeated.
fn call_error(error: UpstreamError) -> CallError {
    match &error {
        UpstreamError::Refused(text) => match text.strip_prefix("NOPERM ") {
            Some(text) => CallError::new(Code::NoPermission, text),
            None => CallError::from(error),
        },
        _ => CallError::from(error),
    }
}

impl RequestRecords for EngineRequests<'_> {
    type Receipt = ();

    async fn record(&self, name: &[u8]) -> Result<Option<Box<[u8]>>, CallError> {
        self.check_lease()?;
        let found = self.read(Queue::of(name), self.slot(name), &[name]).await;
        let found = found.map_err(call_error)?;
        Ok(found.into_iter().next().map(|(_, value)| value))
    }

    async fn each_record(
        &self,
        prefix: &[u8],
        at_once: usize,
        visit: &mut VisitRecord<'_>,
    ) -> Result<(), CallError> {
        let queue = Queue::of(prefix);
        let mut names = Vec::new();
        for slot in self.all_slots().await.map_err(call_error)? {
            names.extend(self.names(queue, slot).await.map_err(call_error)?);
        }
        names.retain(|name| name.starts_with(prefix));
        names.sort_unstable();
        for names in names.chunks(at_once.clamp(1, READ_AT_ONCE)) {
            let mut by_slot: BTreeMap<Option<u16>, Vec<&[u8]>> = BTreeMap::new();
            for name in names {
                by_slot.entry(self.slot(name)).or_default().push(name);
            }
            let mut records = Vec::new();
            for (slot, names) in by_slot {
                let read = self.read(queue, slot, &names).await;
                records.extend(read.map_err(call_error)?);
            }
            records.sort_unstable();
            for (name, value) in &records {
                if visit(name, value).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn change_records(
        &self,
        required: &[Vec<u8>],
        changes: &[RecordChange],
    ) -> Result<(), CallError> {
        if !required.is_empty() {
            self.check_lease()?;
        }
        let mut by_slot: BTreeMap<Option<u16>, SlotChanges<'_>> = BTreeMap::new();
        for name in required {
            let slot = by_slot.entry(self.slot(name)).or_default();
            slot.required.push(name);
        }
        for change in changes {
            let slot = by_slot.entry(self.slot(&change.0)).or_default();
            slot.changes.push(change);
        }
        // Slots with requirements come first, so that nothing has changed if one is not met there.
        let mut slots: Vec<_> = by_slot.iter().collect();
        slots.sort_by_key(|(_, changes)| changes.required.is_empty());
        for (slot, changes) in slots {
            if let Some(slot) = *slot
                && changes.changes.iter().any(|(_, value)| value.is_some())
            {
                let noted = self.upstream.register_slot(slot, self.account).await;
                noted.map_err(call_error)?;
            }
            let changed = self.change_in_slot(*slot, changes).await;
            if !changed.map_err(call_error)? {
                return Err(CallError::new(
                    Code::Store,
                    "what was to be changed was sent, retried or removed meanwhile; look again",
                ));
            }
        }
        Ok(())
    }
}
