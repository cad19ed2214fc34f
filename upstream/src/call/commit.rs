//! The end of a call: its keys are held if it was refused again and again, and its writes committed.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::kept_values::Committing;
use super::request_size::{EngineLimits, Fit, RequestSize};
use super::run::{PAUSE_MIN, REPEAT_PAUSE, Run};
use super::script_call::{self, Commit, Committed, Mark, Sending};
use super::snapshot::Snapshot;
use super::wanted::Wanted;
use super::watched::Watched;
use super::writes::{AddRequests, Writes};
use super::{GuestThreads, Upstream};
use crate::error::{UpstreamError, is_passing, is_unread};
use crate::pool::Failure;
use crate::request_state::place::{FIGURES, slot_without_key};

/// Longest time for which a call holds keys after it has asked for them.
const LEASE: Duration = Duration::from_secs(1);

/// Longest time in which a commit whose connection broke is sent again.
const REPEAT_TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes of a commit from which on an engine may be set to close the connection instead of reading it.
const LARGE_BYTES: u64 = 1 << 20;

/// Times that a large commit is sent before it is given up, if the engine does not tell its limits.
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
        writes: &mut Writes,
        token: &str,
        watched: Option<&mut Watched>,
    ) -> Result<Committed, UpstreamError> {
        // Keys that are written without having been read. Each command names one.
        for words in &writes.commands {
            wanted.choose_slot(&words[1])?;
        }
        let since = Instant::now();
        let (slot, requests) = self.place_requests(wanted.slot(), writes).await?;
        // The next try watches on the right node.
        if requests.is_some() && watched.is_some() && wanted.slot().is_none() {
            wanted.choose_slot(FIGURES.as_bytes())?;
        }
        let commands = &writes.commands;
        let committed = match watched {
            Some(watched) => match watched
                .commit(commands, requests.as_ref(), self.usage)
                .await
            {
                Err(UpstreamError::OutcomeUnknown) => {
                    let size = RequestSize::of(commands);
                    Err(self.unanswered(slot, size).await)
                }
                committed => committed,
            },
            None => {
                let committing = self.space.as_ref();
                let committing = committing.map(|space| space.begin_commit(snapshot, commands));
                let tracks = committing.as_ref().is_some_and(Committing::wants_changes);
                let commit = Commit {
                    slot,
                    snapshot,
                    commands,
                    requests: requests.as_ref(),
                };
                let committed = self.commit_for_sure(&commit, token, tracks).await;
                if let Some(committing) = committing {
                    committing.end(matches!(committed, Ok(Committed::Yes)));
                }
                committed
            }
        };
        self.usage.note_time(since);
        committed.map_err(|error| match error {
            UpstreamError::Refused(text) if requests.is_some() && text.starts_with("NOPERM") => {
                let text =
                    format!("{text}; after_commit needs the right to HSET on ferrite:requests*");
                UpstreamError::Refused(text.into())
            }
            error => error,
        })
    }

    /// Returns the slot of a commit, and the command that adds its requests there.
    async fn place_requests(
        &self,
        slot: Option<u16>,
        writes: &mut Writes,
    ) -> Result<(Option<u16>, Option<AddRequests>), UpstreamError> {
        if !writes.adds_requests() {
            return Ok((slot, None));
        }
        let has_slots = self.upstream.topology().is_cluster();
        let slot = slot.or_else(|| has_slots.then(slot_without_key));
        if let Some(slot) = slot {
            let noting = self.upstream.register_slot(slot, self.account);
            self.within_time(noting).await??;
        }
        Ok((slot, writes.add_requests(slot, self.request.database)))
    }

    /// Commits, and sends the commit again until the engine says what became of it.
    async fn commit_for_sure(
        &self,
        content: &Commit<'_>,
        token: &str,
        tracks: bool,
    ) -> Result<Committed, UpstreamError> {
        let slot = content.slot;
        let void = Commit {
            slot,
            snapshot: &Snapshot::default(),
            commands: &[],
            requests: None,
        };
        let Upstream {
            commit,
            markers,
            unmarked,
            metrics,
            ..
        } = self.upstream;
        let marker = markers.mark();
        let marked = !unmarked.lock().contains(self.account);
        let mark = |sending| Mark {
            marker: &marker,
            sending,
            token,
        };
        let request = |mark: Option<&Mark<'_>>| match mark {
            Some(Mark {
                sending: Sending::Void,
                ..
            }) => void.request(mark, false),
            _ => content.request(mark, tracks),
        };
        let mut sending = Sending::First;
        let mut repeated = Repeated::default();
        loop {
            let sent = request(marked.then(|| mark(sending)).as_ref());
            let size = sent.size();
            match script_call::commit(&self.route, slot, commit, &sent, self.usage).await {
                Ok(Committed::Refused) if sending == Sending::Void => {
                    return Err(repeated.given_up());
                }
                Ok(committed) => return Ok(committed),
                Err(Failure::Refused(reason))
                    if is_unread(&reason) && sending == Sending::First =>
                {
                    let bytes = size.bytes;
                    return Err(UpstreamError::TooLarge { bytes, reason });
                }
                Err(Failure::Refused(text)) if sending == Sending::First => {
                    // It may be for the marker's key alone: the account may not write it, or it is not
                    // where the other keys are, because the slot is moving.
                    let forbidden = text.starts_with("NOPERM");
                    if !marked || !(forbidden || text.starts_with("TRYAGAIN")) {
                        return Err(UpstreamError::Refused(text));
                    }
                    let sent = request(None);
                    let sending = script_call::commit(&self.route, slot, commit, &sent, self.usage);
                    let outcome = sending.await;
                    if forbidden && !matches!(&outcome, Err(Failure::Refused(_))) {
                        unmarked.lock().insert(self.account.clone());
                    }
                    return match outcome {
                        Ok(committed) => Ok(committed),
                        Err(Failure::Unanswered(_)) => Err(self.unanswered(slot, size).await),
                        Err(failure) => Err(failure.into()),
                    };
                }
                Err(Failure::NotSent(error)) if sending == Sending::First => return Err(error),
                Err(Failure::Unanswered(_)) if !marked => {
                    return Err(self.unanswered(slot, size).await);
                }
                Err(failure) => {
                    repeated.since.get_or_insert_with(Instant::now);
                    if sending != Sending::Void {
                        self.note_failure(&mut repeated, slot, size, &failure).await;
                    }
                    sending = repeated.next(sending, &failure)?;
                    metrics.commits_repeated.add(1);
                    sleep(REPEAT_PAUSE).await;
                }
            }
        }
    }

    /// Takes up that a commit was not answered, or not read.
    async fn note_failure(
        &self,
        repeated: &mut Repeated,
        slot: Option<u16>,
        size: RequestSize,
        failure: &Failure,
    ) {
        repeated.bytes = size.bytes;
        match failure {
            Failure::Refused(reason) if is_unread(reason) => {
                repeated.reason.get_or_insert_with(|| reason.clone());
            }
            Failure::Unanswered(_) => {
                repeated.times += 1;
                if size.bytes >= LARGE_BYTES && repeated.fit.is_none() {
                    repeated.fit = self.fit(slot, size).await;
                }
            }
            Failure::Refused(_) | Failure::NotSent(_) => {}
        }
    }

    /// Returns the relation of a request to the engine's limits; `None` if it cannot be asked now.
    async fn fit(&self, slot: Option<u16>, size: RequestSize) -> Option<Fit> {
        let own = &self.upstream.pool_options().location.account;
        let asked = EngineLimits::ask(&self.route, slot).await;
        let asked = match asked {
            // The user of the URL may have the right.
            Err(UpstreamError::Refused(_)) if own != self.account => {
                let route = self.upstream.route(own, self.request.database).ok()?;
                EngineLimits::ask(&route, slot).await
            }
            asked => asked,
        };
        match asked {
            Ok(limits) => Some(limits.fit(size)),
            Err(error) if error.is_passing() => None,
            Err(_) => Some(Fit::Unknown),
        }
    }

    /// Returns the error of a commit without a mark whose connection broke.
    async fn unanswered(&self, slot: Option<u16>, size: RequestSize) -> UpstreamError {
        if size.bytes >= LARGE_BYTES
            && let Some(Fit::TooLarge(reason)) = self.fit(slot, size).await
        {
            let bytes = size.bytes;
            return UpstreamError::TooLarge { bytes, reason };
        }
        UpstreamError::OutcomeUnknown
    }
}

/// A commit that is sent more than once.
#[derive(Debug, Default)]
struct Repeated {
    /// The time of the first failure.
    since: Option<Instant>,
    bytes: u64,
    /// Number of times that it was sent and not answered.
    times: u32,
    /// The engine's error about its size.
    reason: Option<Box<str>>,
    fit: Option<Fit>,
}

impl Repeated {
    /// Returns how the commit is sent next.
    ///
    /// # Errors
    ///
    /// Its outcome cannot be found out.
    fn next(&self, sending: Sending, failure: &Failure) -> Result<Sending, UpstreamError> {
        let lasts =
            matches!(failure, Failure::Refused(text) if !is_passing(text) && !is_unread(text));
        let is_late = self
            .since
            .is_some_and(|since| since.elapsed() > REPEAT_TIME_MAX);
        if lasts || (is_late && sending == Sending::Void) {
            return Err(match &self.fit {
                // It can never have been read.
                Some(Fit::TooLarge(reason)) => UpstreamError::TooLarge {
                    bytes: self.bytes,
                    reason: reason.clone(),
                },
                _ => UpstreamError::OutcomeUnknown,
            });
        }
        let is_hopeless = match &self.fit {
            Some(Fit::TooLarge(_)) => true,
            Some(Fit::Unknown) => self.times >= LARGE_SENT_MAX,
            Some(Fit::Fits) | None => false,
        };
        match is_late || is_hopeless || self.reason.is_some() || sending == Sending::Void {
            true => Ok(Sending::Void),
            false => Ok(Sending::Again),
        }
    }

    /// Returns the error of a commit that never took effect.
    fn given_up(self) -> UpstreamError {
        let Self {
            bytes,
            times,
            reason,
            fit,
            ..
        } = self;
        match (reason, fit) {
            (Some(reason), _) | (None, Some(Fit::TooLarge(reason))) => {
                UpstreamError::TooLarge { bytes, reason }
            }
            (None, _) => UpstreamError::CommitBroken { times, bytes },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Fit, LARGE_SENT_MAX, Repeated, Sending, UpstreamError};

    fn broke() -> Failure {
        Failure::Unanswered(UpstreamError::OutcomeUnknown)
    }

    #[test]
    fn a_commit_is_given_up_only_for_what_is_known() {
        let after = |times, fit| {
            let repeated = Repeated {
                times,
                fit,
                ..Repeated::default()
            };
            repeated.next(Sending::Again, &broke())
        };
        assert_eq!(after(99, None), Ok(Sending::Again));
        assert_eq!(after(99, Some(Fit::Fits)), Ok(Sending::Again));
        let unknown = || Some(Fit::Unknown);
        assert_eq!(after(LARGE_SENT_MAX - 1, unknown()), Ok(Sending::Again));
        assert_eq!(after(LARGE_SENT_MAX, unknown()), Ok(Sending::Void));
        let too_large = Some(Fit::TooLarge("a limit".into()));
        assert_eq!(after(1, too_large), Ok(Sending::Void));
        let refused = Failure::Refused("NOPERM no more".into());
        let unknown = Repeated::default().next(Sending::Again, &refused);
        assert_eq!(unknown, Err(UpstreamError::OutcomeUnknown));
        let known = Repeated {
            fit: Some(Fit::TooLarge("a limit".into())),
            ..Repeated::default()
        };
        let known = known.next(Sending::Void, &refused);
        assert!(known.is_err_and(|error| error.reply().starts_with("LIMIT")));
    }

    #[test]
    fn a_commit_that_was_given_up_says_why() {
        let repeated = |reason: Option<&str>, fit| Repeated {
            bytes: 9,
            times: 4,
            reason: reason.map(Into::into),
            fit,
            ..Repeated::default()
        };
        let code = |repeated: Repeated| repeated.given_up().reply();
        let told = code(repeated(Some("ERR Protocol error"), None));
        assert!(told.starts_with("LIMIT") && told.contains("Protocol error"));
        let told = code(repeated(None, Some(Fit::TooLarge("a limit".into()))));
        assert!(told.starts_with("LIMIT") && told.contains("9 bytes: a limit"));
        for fit in [None, Some(Fit::Fits), Some(Fit::Unknown)] {
            let told = code(repeated(None, fit));
            assert!(told.starts_with("STORE") && told.contains("each of the 4 times"));
        }
    }
}
