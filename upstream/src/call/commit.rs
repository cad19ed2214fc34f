//! The end of a call: its keys are held if it was refused again and again, and its writes committed.

use std::time::{Duration, Instant};

use ferrite_store::Words;
use tokio::time::sleep;

use super::run::{PAUSE_MIN, REPEAT_PAUSE, Run};
use super::script_call::{self, Committed, Mark, Sending, bytes_of};
use super::snapshot::Snapshot;
use super::wanted::Wanted;
use super::watched::Watched;
use super::{GuestThreads, Upstream};
use crate::error::{UpstreamError, is_passing, is_unread};
use crate::pool::Failure;

/// Longest time for which a call holds keys after it has asked for them.
const LEASE: Duration = Duration::from_secs(1);

/// Longest time in which a commit whose connection broke is sent again.
const REPEAT_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of a commit from which on an engine may be set to close the connection instead of reading it.
const LARGE_BYTES: u64 = 1 << 20;

/// Times that a large commit is sent before it is given up.
const LARGE_SENT_MAX: u32 = 4;

impl<T: GuestThreads> Run<'_, T> {
    /// Holds the keys of a call that was refused again and again, so that it does not starve.
    ///
    /// Commits of other servers wait; plain clients do not know of it. Without the right to write the
    /// leases, the call goes on without one.
    pub(super) async fn take_lease(
        &self,
        token: &mut String,
        wanted: &Wanted,
    ) -> Result<(), UpstreamError> {
        let Upstream {
            lease,
            markers,
            unmarked,
            metrics,
            ..
        } = self.upstream;
        if unmarked.lock().contains(self.account) {
            return Ok(());
        }
        if token.is_empty() {
            *token = markers.token();
        }
        loop {
            let asking = script_call::lease(&self.route, lease, token, LEASE, wanted, self.usage);
            match self.within_time(asking).await? {
                Ok(true) => {
                    metrics.leases.add(1);
                    return Ok(());
                }
                Ok(false) => {}
                // The call can do without while the engine changes.
                Err(error) if error.is_passing() && self.upstream.topology().fails_over() => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            self.within_time(sleep(PAUSE_MIN)).await?;
        }
    }

    /// Writes if everything is as it was read.
    pub(super) async fn commit(
        &self,
        wanted: &mut Wanted,
        snapshot: &Snapshot,
        commands: &[Words],
        token: &str,
        watched: Option<&mut Watched>,
    ) -> Result<Committed, UpstreamError> {
        // Keys that are written without having been read. Each command names one.
        for words in commands {
            wanted.choose_slot(&words[1])?;
        }
        let since = Instant::now();
        let committed = match watched {
            Some(watched) => watched.commit(commands, self.usage).await,
            None => {
                self.commit_for_sure(wanted.slot(), snapshot, commands, token)
                    .await
            }
        };
        self.usage.note_time(since);
        committed
    }

    /// Commits, and sends the commit again until the engine says what became of it.
    async fn commit_for_sure(
        &self,
        slot: Option<u16>,
        snapshot: &Snapshot,
        commands: &[Words],
        token: &str,
    ) -> Result<Committed, UpstreamError> {
        let Upstream {
            commit,
            markers,
            unmarked,
            metrics,
            ..
        } = self.upstream;
        let marker = markers.mark();
        let marked = !unmarked.lock().contains(self.account);
        let bytes = bytes_of(commands);
        let nothing = Snapshot::default();
        let mut sent: Option<Instant> = None;
        let mut unanswered = 0;
        loop {
            let sending = match sent {
                None => Sending::First,
                Some(_) if bytes >= LARGE_BYTES && unanswered >= LARGE_SENT_MAX => Sending::Void,
                Some(_) => Sending::Again,
            };
            let mark = marked.then_some(Mark {
                marker: &marker,
                sending,
                token,
            });
            let send = |mark| {
                let route = &self.route;
                let (snapshot, commands) = match sending {
                    Sending::Void => (&nothing, &[][..]),
                    Sending::First | Sending::Again => (snapshot, commands),
                };
                script_call::commit(route, slot, commit, snapshot, commands, mark, self.usage)
            };
            let outcome = send(mark.as_ref()).await;
            match outcome {
                Ok(Committed::Refused) if sending == Sending::Void => {
                    let reason = "it closed the connection each time".into();
                    return Err(UpstreamError::TooLarge { bytes, reason });
                }
                Ok(committed) => return Ok(committed),
                Err(Failure::Refused(reason)) if is_unread(&reason) && sent.is_none() => {
                    return Err(UpstreamError::TooLarge { bytes, reason });
                }
                Err(Failure::Refused(text)) if sent.is_none() => {
                    // It may be for the marker's key alone: the account may not write it, or it is not
                    // where the other keys are, because the slot is moving.
                    let forbidden = text.starts_with("NOPERM");
                    if !marked || !(forbidden || text.starts_with("TRYAGAIN")) {
                        return Err(UpstreamError::Refused(text));
                    }
                    let outcome = send(None).await;
                    if forbidden && !matches!(&outcome, Err(Failure::Refused(_))) {
                        unmarked.lock().insert(self.account.clone());
                    }
                    return outcome.map_err(|failure| match failure {
                        Failure::Unanswered(_) => UpstreamError::OutcomeUnknown,
                        failure => failure.into(),
                    });
                }
                Err(Failure::NotSent(error)) if sent.is_none() => return Err(error),
                Err(Failure::Unanswered(_)) if !marked => {
                    return Err(UpstreamError::OutcomeUnknown);
                }
                Err(failure) => {
                    let since = *sent.get_or_insert_with(Instant::now);
                    let unread = matches!(&failure, Failure::Refused(text) if is_unread(text));
                    let lasting = matches!(&failure, Failure::Refused(text) if !is_passing(text));
                    let lasting = lasting && !unread;
                    if lasting || since.elapsed() > REPEAT_TIME_MAX {
                        return Err(UpstreamError::OutcomeUnknown);
                    }
                    unanswered += match &failure {
                        Failure::Unanswered(_) => 1,
                        Failure::Refused(_) if unread => LARGE_SENT_MAX,
                        Failure::Refused(_) | Failure::NotSent(_) => 0,
                    };
                    metrics.commits_repeated.add(1);
                    sleep(REPEAT_PAUSE).await;
                }
            }
        }
    }
}
