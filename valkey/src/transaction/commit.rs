//! Commits or rolls back what a call wrote, or prepares the call to leave the main thread.

use ferrite_protocol::keyspace::{CommitError, StoreError};
use ferrite_runtime::policy::permissions::Access;

use crate::api::command_call::Format;
use crate::api::ffi;
use crate::records::{self, capture};
use crate::transaction::apply;
use crate::transaction::server_reads;
use crate::transaction::typed_ops::CallView;
use crate::transaction::write_set::KeyRef;

impl CallView<'_> {
    /// Applies everything that the call wrote to the server's data, or nothing of it.
    ///
    /// # Errors
    ///
    /// If other clients changed what the call had read, or the writes are not possible any more.
    pub(crate) fn commit(&mut self) -> Result<(), CommitError> {
        if self.state.conflict {
            return Err(CommitError::Conflict);
        }
        let context = self.context;
        records::check(context, &self.state.required, &mut self.state.records)
            .map_err(|error| CommitError::Store(StoreError::Failed(error.to_string().into())))?;
        let (applied, mut seen) = capture::hold(context, || self.apply_all());
        applied?;
        records::change(context, self.state.records.drain(..));
        let depth = self.state.event_depth;
        let held = std::mem::take(&mut self.state.journal.events);
        self.state.restart();
        if !held.is_empty() || !seen.is_empty() {
            seen.splice(0..0, held);
            capture::queue_events(context, seen, depth);
        }
        Ok(())
    }

    /// Applies what the call wrote, after it was checked.
    fn apply_all(&mut self) -> Result<(), CommitError> {
        if !self.on_main_thread {
            self.check_off_main_thread()?;
        }
        for (key, change) in self.state.write_set.iter() {
            apply::apply(self.context, self.call, key, change, true);
        }
        Ok(())
    }

    /// Changes a record of the module when the call commits.
    ///
    /// # Errors
    ///
    /// This server is a replica.
    pub(crate) fn change_record(
        &mut self,
        name: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        if self.context.flags() & ffi::CTX_PRIMARY == 0 {
            return Err(StoreError::Failed(
                "this server is a replica; send the command to its primary".into(),
            ));
        }
        let change = (name.into(), value.map(Box::from));
        self.state.records.push(change);
        Ok(())
    }

    /// Lets the commit fail unless this record is there then.
    pub(crate) fn require_record(&mut self, name: &[u8]) {
        self.state.required.push(name.into());
    }

    /// Checks that what the call read off the main thread still holds, and does the journal's steps
    /// again.
    fn check_off_main_thread(&mut self) -> Result<(), CommitError> {
        if !self.reads_hold() {
            return Err(CommitError::Conflict);
        }
        self.rights_hold()?;
        let writes = !self.state.write_set.is_empty()
            || self.state.journal.is_active()
            || !self.state.records.is_empty();
        if !writes {
            return Ok(());
        }
        let failed = |text: &str| CommitError::Store(StoreError::Failed(text.into()));
        if self.context.flags() & ffi::CTX_PRIMARY == 0 {
            return Err(failed("this server has become a replica meanwhile"));
        }
        if self.context.is_paused() {
            return Err(failed("the server is handing over to a replica; try again"));
        }
        self.check_slots()?;
        if self.state.journal.is_active() && !self.replay(true) {
            self.undo_all(true);
            self.state.conflict = true;
            return Err(CommitError::Conflict);
        }
        Ok(())
    }

    /// In a cluster, checks that the keys to be written still belong to this node.
    fn check_slots(&self) -> Result<(), CommitError> {
        if self.context.flags() & ffi::CTX_CLUSTER == 0 {
            return Ok(());
        }
        let mut entries = self.state.write_set.iter();
        match entries.find_map(|(key, _)| slot_error(self, key)) {
            Some(error) => Err(CommitError::Store(StoreError::Failed(error))),
            None => Ok(()),
        }
    }

    /// Checks that the caller may write the key in this way, and that this server takes the write.
    pub(crate) fn permit_write(&mut self, key: &KeyRef, access: Access) -> Result<(), StoreError> {
        self.permit(key, access)?;
        if !self.state.may_write {
            if self.context.flags() & ffi::CTX_OOM != 0 {
                return Err(StoreError::Failed(
                    "the server uses more memory than its maxmemory, so nothing can be written"
                        .into(),
                ));
            }
            self.state.may_write = true;
        }
        let KeyRef::Other(name) = key else {
            // The server checked where it is when it took the command.
            return Ok(());
        };
        if self.context.flags() & ffi::CTX_CLUSTER == 0 || self.state.own_keys.contains(name) {
            return Ok(());
        }
        if let Some(error) = slot_error(self, key) {
            return Err(StoreError::Failed(error));
        }
        self.state.own_keys.insert(name.clone());
        Ok(())
    }

    /// Undoes what was applied to the server's data, and forgets everything.
    pub(crate) fn roll_back(&mut self) {
        if self.is_applied() {
            self.undo_all(self.on_main_thread);
        }
        self.state.restart();
    }

    /// Prepares the call to go on off the main thread, where other clients change the data
    /// meanwhile.
    pub(crate) fn leave_main_thread(&mut self) {
        if self.is_applied() {
            self.undo_all(true);
        }
        if self.state.undivided {
            // What it has read is not known, so it begins again.
            self.state.conflict = true;
        }
        self.hash_reads();
    }
}

/// Returns the server's error for a key that belongs to another node of the cluster.
fn slot_error(view: &CallView<'_>, key: &KeyRef) -> Option<Box<str>> {
    if view.context.flags() & ffi::CTX_CLUSTER == 0 {
        return None;
    }
    let argv: [&[u8]; 2] = [b"EXISTS", view.call.name(key)];
    server_reads::command(view.context, &argv, Format::Own, |reply| {
        let error = reply.strip_prefix(b"-")?;
        Some(String::from_utf8_lossy(error.trim_ascii_end()).into())
    })
    .unwrap_or_else(|| Some("the server would not look at the key".into()))
}
