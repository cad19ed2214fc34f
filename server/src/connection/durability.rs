//! Writes that were answered but may not be on disk yet; their replies wait for them.

use ferrite_store::{Receipt, StoreError};

use crate::clients::session::Session;

/// Proof of the last writes of a connection, each of which covers all earlier ones of its kind.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    commands: Option<Receipt>,
    calls: Option<Receipt>,
}

impl Unsettled {
    /// Takes over what the session has gathered.
    #[inline]
    pub(crate) fn gather(&mut self, session: &mut Session) {
        if let Some(receipt) = session.store.take_receipt() {
            self.commands = Some(receipt);
        }
        if let Some(receipt) = session.take_receipt() {
            self.calls = Some(receipt);
        }
    }

    /// Waits until everything counts as done. May be dropped and begun again.
    pub(crate) async fn settle(&mut self) -> Result<(), StoreError> {
        for receipt in [&mut self.commands, &mut self.calls] {
            if let Some(pending) = receipt {
                if !pending.is_done() {
                    pending.clone().done().await?;
                }
                *receipt = None;
            }
        }
        Ok(())
    }
}
