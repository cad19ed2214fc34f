//! Writes that were answered but may not be on disk yet; their replies wait for them.

use ferrite_store::{Receipt, StoreError};

use crate::clients::session::ClientSession;

/// Receipts of a connection's last writes. Each covers all earlier ones of its kind.
#[derive(Debug, Default)]
pub(crate) struct PendingDurability {
    commands: Option<Receipt>,
    calls: Option<Receipt>,
}

impl PendingDurability {
    /// Takes the receipts that the session has collected.
    #[inline]
    pub(crate) fn take_from(&mut self, session: &mut ClientSession) {
        if let Some(receipt) = session.store.take_receipt() {
            self.commands = Some(receipt);
        }
        if let Some(receipt) = session.take_receipt() {
            self.calls = Some(receipt);
        }
    }

    /// Waits until every write is as durable as the configuration demands. If the future is dropped,
    /// the wait can start again.
    pub(crate) async fn wait(&mut self) -> Result<(), StoreError> {
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
