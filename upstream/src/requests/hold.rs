//! Takes the right to send, prolongs it, and gives it up.

use std::time::Instant;

use redis::Value;

use super::EngineRequests;
use crate::error::UpstreamError;
use crate::request_state::lease::{MARGIN, TERM};
use crate::request_state::place::LEASE;

/// The answer to a server that asks for the right to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It has it, as it had before.
    Prolonged,
    /// It has it anew: another server may have had it meanwhile.
    Taken,
    /// Another server has it.
    Elsewhere,
}

impl EngineRequests<'_> {
    /// Takes the right to send, or prolongs it.
    ///
    /// # Errors
    ///
    /// The engine cannot be asked.
    pub(super) async fn hold(&self) -> Result<Hold, UpstreamError> {
        let lease = &self.upstream.lease_to_send;
        let term = TERM.as_millis() as u64;
        let asked = Instant::now();
        if lease.was_held() {
            // If it is another's by now, that one has it for a little longer.
            self.send(LEASE, redis::cmd("PEXPIRE").arg(LEASE).arg(term))
                .await?;
            let holder = self.send(LEASE, redis::cmd("GET").arg(LEASE)).await?;
            // It was this server's when it was prolonged, because no other takes it before it has expired.
            if matches!(&holder, Value::BulkString(name) if *name == lease.token.as_bytes()) {
                lease.set(Some(asked));
                return Ok(Hold::Prolonged);
            }
            lease.set(None);
        }
        let asked = Instant::now();
        let mut take = redis::cmd("SET");
        take.arg(LEASE).arg(&lease.token).arg("NX");
        take.arg("PX").arg(term);
        let taken = matches!(self.send(LEASE, &take).await?, Value::Okay);
        lease.set(taken.then_some(asked));
        Ok(if taken { Hold::Taken } else { Hold::Elsewhere })
    }

    /// Gives the right to send up, so that another server need not wait for its end.
    pub async fn release(&self) {
        let lease = &self.upstream.lease_to_send;
        // Later, it may be another's.
        let is_own = lease.left() > 2 * MARGIN;
        lease.set(None);
        if is_own {
            let remove = redis::cmd("DEL").arg(LEASE).to_owned();
            let removing = self.send(LEASE, &remove);
            let _ = tokio::time::timeout(MARGIN, removing).await;
        }
    }
}
