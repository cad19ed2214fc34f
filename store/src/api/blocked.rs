//! A blocked client, as its host keeps it.

use std::sync::Arc;
use std::time::Duration;

use crate::api::session::Session;
use crate::blocking::Waiter;
use crate::execution::core::CoreRef;
use ferrite_protocol::resp::ReplyWriter;

/// A client that waits for a key. Dropping it ends the wait.
#[derive(Debug)]
pub struct Blocked {
    core: CoreRef,
    waiter: Arc<Waiter>,
}

impl Blocked {
    pub(crate) fn new(core: CoreRef, waiter: Arc<Waiter>) -> Self {
        Self { core, waiter }
    }

    /// Longest time that the client waits; `None` for ever.
    pub fn timeout(&self) -> Option<Duration> {
        self.waiter.wait.timeout
    }

    /// Resolves once the client was served.
    pub async fn served(&self) {
        loop {
            let listener = self.waiter.served.listen();
            if self.waiter.outcome.lock().is_some() {
                return;
            }
            listener.await;
        }
    }

    /// Ends the wait and writes the one reply: the result if the client was served, otherwise the
    /// reply of a wait that timed out.
    pub fn finish(self, session: &mut Session, out: &mut dyn ReplyWriter) {
        // The thread that serves a client removes it, and holds this lock until the result is set.
        self.core.blocked.remove(&self.waiter);
        match self.waiter.outcome.lock().take() {
            Some((served, receipt)) => {
                served.write(out);
                session.receipt = Some(receipt);
            }
            None => out.null_array(),
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.core.blocked.remove(&self.waiter);
    }
}
