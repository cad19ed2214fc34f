//! Asks the server's access control before each typed operation: the operation is what its command
//! would be for the calling user.

use ferrite_protocol::keyspace::{CommitError, StoreError};
use ferrite_runtime::policy::permissions::Access;
use smallvec::SmallVec;

use crate::api::context::Context;
use crate::api::string::{Borrowed, Owned};
use crate::transaction::call::Call;
use crate::transaction::command_table;
use crate::transaction::typed_ops::CallView;
use crate::transaction::write_set::KeyRef;

impl CallView<'_> {
    /// Checks that the calling user may access a key in this way.
    ///
    /// # Errors
    ///
    /// `Denied` if the user may run none of the commands that do the same.
    #[inline]
    pub(crate) fn permit(&mut self, key: &KeyRef, access: Access) -> Result<(), StoreError> {
        if self.on_main_thread && self.state.rights.unrestricted == Some(true) {
            return Ok(());
        }
        self.permit_by_server(key, access)
    }

    /// The same, by the server's rules unless the answer is known.
    fn permit_by_server(&mut self, key: &KeyRef, access: Access) -> Result<(), StoreError> {
        // Off the main thread, an administrator may change the rights between two accesses.
        let known = if self.on_main_thread {
            self.state.rights.unrestricted
        } else {
            None
        };
        let unrestricted = known.unwrap_or_else(|| self.context.is_caller_unrestricted());
        if self.on_main_thread {
            self.state.rights.unrestricted = Some(unrestricted);
        }
        if unrestricted && self.on_main_thread {
            return Ok(());
        }
        let granted = (access, key.clone());
        let is_known = self.on_main_thread && self.state.rights.granted.contains(&granted);
        if !unrestricted && !is_known && !may_access(self.context, self.call, key, access) {
            return Err(denied(self.call, key, access));
        }
        // Off the main thread it is asked for again at the commit, unless the call goes through too
        // many keys for that: it has asked for each of them just before it read it.
        if self.on_main_thread || !self.state.reads_latest {
            self.state.rights.granted.insert(granted);
        }
        Ok(())
    }

    /// Checks that the user still has the rights that the call used, at its commit off the main thread.
    ///
    /// # Errors
    ///
    /// `Denied`, for the first right that was taken away. A conflict, if the user was unrestricted on
    /// the main thread and is not any more: what the call did there was not recorded, and the next try
    /// records it.
    pub(crate) fn rights_hold(&self) -> Result<(), CommitError> {
        if self.context.is_caller_unrestricted() {
            return Ok(());
        }
        if self.state.rights.unrestricted == Some(true) {
            return Err(CommitError::Conflict);
        }
        let mut granted = self.state.rights.granted.iter();
        match granted.find(|(access, key)| !may_access(self.context, self.call, key, *access)) {
            Some((access, key)) => Err(CommitError::Store(denied(self.call, key, *access))),
            None => Ok(()),
        }
    }
}

/// Returns true if the caller may run one of the commands that do the same as `access`.
fn may_access(context: Context<'_>, call: &Call, key: &KeyRef, access: Access) -> bool {
    let key = call.string(context, key);
    // Which words follow the key makes no difference to the server; their number may.
    let word = context.string(b"0");
    access.commands().iter().any(|&name| {
        let Some(words) = command_table::words_after_key(name) else {
            return false;
        };
        let name: Owned<'_> = context.string(name.as_bytes());
        let argv: SmallVec<[Borrowed<'_>; 4]> = [name.borrow(), key.borrow()]
            .into_iter()
            .chain(std::iter::repeat_n(word.borrow(), words))
            .collect();
        context.may_caller_run(&argv)
    })
}

#[cold]
fn denied(call: &Call, key: &KeyRef, access: Access) -> StoreError {
    StoreError::Denied(
        format!(
            "the caller has no permission to run {} on the key '{}'",
            access.commands().join(" or "),
            call.name(key).escape_ascii()
        )
        .into(),
    )
}
