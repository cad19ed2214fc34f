//! Keeps schedules and runs those that are due.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use ferrite_protocol::keyspace::{CommitError, Keyspace, Mode, Transaction};
use ferrite_protocol::resp::{Encoder, Protocol};

use super::Runtime;
use super::call::BesideData;
use super::guard::Refusal;
use crate::automation::clock::now_millis;
use crate::automation::reply::error_of;
use crate::automation::schedule::record::{self, Schedule};
use crate::automation::schedule::table::{DueRun, Next, Schedules};
use crate::call::outer_transaction::OuterTransaction;
use crate::call::request::{CallRequest, OPTIMISTIC_TRIES_MAX, ReceiptOf};
use crate::error::{CallError, Code};
use crate::policy::files::kept::PendingFiles;
use crate::scheduling::moment::Moment;
use crate::scheduling::wait::with_deadline;

/// Longest wait before the time of day is looked at again: somebody may set it.
const CLOCK_CHECK: Duration = Duration::from_secs(1);

/// Longest wait while nothing is due at all.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl<K: Keyspace> Runtime<K> {
    /// Reads the schedules that were kept, and settles what was missed.
    pub(super) fn load_schedules(&self) {
        let now = now_millis();
        self.load_records(record::PREFIX, |name, value| match Schedule::parse(value) {
            Ok(mut schedule) => {
                // What is not kept is settled again at the next start.
                if schedule.settle_missed(now)
                    && let Err(error) = self.keep(&schedule)
                {
                    tracing::warn!(%error, "a missed schedule is not kept");
                }
                self.0.schedules.load(schedule);
            }
            Err(error) => {
                let name = name.escape_ascii();
                tracing::error!(%error, %name, "a schedule is damaged and left out");
            }
        });
    }

    fn keep(&self, schedule: &Schedule) -> Result<ReceiptOf<K>, CallError> {
        self.change_records(&[(schedule.record_name(), Some(schedule.to_bytes()))])
    }

    /// Adds a schedule. Returns the receipt to wait for.
    ///
    /// # Errors
    ///
    /// There is one of the same id, there are too many, its function is not loaded, or the host keeps
    /// no records.
    pub(crate) fn add_schedule(&self, schedule: Schedule) -> Result<ReceiptOf<K>, CallError> {
        if !self.keyspace().keeps_records() {
            return Err(CallError::invalid(
                "this server keeps no schedules; ferrite-server does",
            ));
        }
        self.check_target(&schedule.function.0)?;
        let mut receipt = None;
        self.0.schedules.add(schedule, |schedule| {
            receipt = Some(self.keep(schedule)?);
            Ok(())
        })?;
        receipt.ok_or_else(|| CallError::new(Code::Store, "the schedule was not kept"))
    }

    /// Removes a schedule; a run of it ends undisturbed. Returns the receipt to wait for.
    ///
    /// # Errors
    ///
    /// There is none of this id, or `may_remove` returns false for its function.
    pub(crate) fn remove_schedule(
        &self,
        id: &[u8],
        may_remove: impl FnOnce(&Schedule) -> bool,
    ) -> Result<ReceiptOf<K>, CallError> {
        let mut receipt = None;
        self.0.schedules.remove(id, may_remove, || {
            receipt = Some(self.change_records(&[(record::record_name(id), None)])?);
            Ok(())
        })?;
        receipt.ok_or_else(|| CallError::new(Code::Store, "the schedule was not forgotten"))
    }

    /// Returns all schedules in the order of their ids, with true for those that run.
    pub(crate) fn schedules(&self) -> Vec<(Schedule, bool)> {
        self.0.schedules.list()
    }

    /// Waits until a schedule is due. The host runs it, and asks for the next one meanwhile.
    ///
    /// One task of the host waits at a time.
    pub async fn due_schedule(&self) -> ScheduledRun<K> {
        let table = &self.0.schedules;
        loop {
            let mut wait = LONGEST;
            let mut planned = i64::MAX;
            if let Some(at) = table.next_time() {
                let left = at.saturating_sub(now_millis()).max(0);
                wait = Duration::from_millis(left.unsigned_abs()).min(CLOCK_CHECK);
                planned = at;
            }
            let due = poll_fn(|context| {
                match Schedules::next(table, now_millis(), context.waker()) {
                    Next::Due(due) => Poll::Ready(Some(due)),
                    // Earlier than the wait is for.
                    Next::At(at) if at < planned => Poll::Ready(None),
                    Next::At(_) | Next::Never => Poll::Pending,
                }
            });
            let waited = with_deadline(due, Moment::now().after(wait), None).await;
            if let Ok(Some(due)) = waited {
                return ScheduledRun {
                    runtime: self.clone(),
                    due,
                };
            }
        }
    }
}

/// A schedule that is due, until it has run. If it is dropped before, its time counts as missed.
#[must_use = "a schedule that is due is to be run"]
pub struct ScheduledRun<K: Keyspace> {
    runtime: Runtime<K>,
    due: Box<DueRun>,
}

impl<K: Keyspace> ScheduledRun<K> {
    /// Returns the database that the function runs in.
    #[must_use]
    pub fn database(&self) -> u32 {
        self.due.schedule().database
    }

    /// Calls the function, and notes the run in the same commit as what the function writes. Returns
    /// the receipt of that commit, if there was one.
    pub async fn run(self) -> Option<ReceiptOf<K>> {
        let Self { runtime, due } = &self;
        let schedule = due.schedule();
        let keys: Vec<&[u8]> = schedule.keys.iter().map(|key| &*key.0).collect();
        let args: Vec<&[u8]> = schedule.args.iter().map(|arg| &*arg.0).collect();
        let request = CallRequest {
            database: schedule.database,
            ..CallRequest::new(&schedule.function.0, &keys, &args)
        };
        let at = now_millis();
        let mut tries = 0;
        let mut files_turn = None;
        loop {
            if tries == OPTIMISTIC_TRIES_MAX {
                files_turn = runtime.files_turn(request.name_and_entry().0).await;
            }
            let keyspace = runtime.keyspace();
            let transaction = if tries < OPTIMISTIC_TRIES_MAX {
                keyspace.begin(schedule.database, Mode::Write)
            } else {
                let begun = keyspace.begin_exclusive(schedule.database, Mode::Write);
                begun.await
            };
            tries += 1;
            let outer = OuterTransaction::new(transaction);
            let mut reply = Encoder::new(Protocol::Resp3);
            let files = PendingFiles::default();
            let joined =
                runtime.call_joined(&request, &outer, BesideData::files(&files), &mut reply);
            let joined = joined.await;
            if outer.is_lost() {
                continue;
            }
            let guarded = runtime.guard(&outer).await;
            if outer.is_lost() {
                continue;
            }
            let Some(mut transaction) = outer.take() else {
                continue;
            };
            let mut error = error_of(reply.bytes());
            if let Err(Refusal(refused)) = guarded {
                // Only the note of the run is committed.
                transaction = keyspace.begin(schedule.database, Mode::Write);
                files.put(None);
                error = Some(refused);
            }
            transaction.lock_for_commit();
            let mut ran = schedule.clone();
            ran.note_run(at, now_millis(), error.as_deref());
            let (name, value) = (ran.record_name(), ran.to_bytes());
            let committed = due.settle(&ran, |there| {
                if there {
                    transaction
                        .change_record(&name, Some(&value))
                        .map_err(CommitError::Store)?;
                }
                files.commit(files_turn.is_some(), || transaction.commit())
            });
            let error = match committed {
                Ok(receipt) => {
                    let _counted = joined.count(tries);
                    if let Some(error) = error {
                        log(schedule, &error);
                    }
                    return Some(receipt);
                }
                Err(CommitError::Conflict) => continue,
                Err(CommitError::Store(error)) => error.to_string(),
            };
            // Nothing took effect, and nothing can be kept; it goes on with the next due time, or tries again.
            let _counted = joined.count(tries);
            log(schedule, &error);
            let mut failed = schedule.clone();
            failed.note_lost_run(at, now_millis(), &format!("STORE {error}"));
            let _: Result<(), ()> = due.settle(&failed, |_| Ok(()));
            return None;
        }
    }
}

fn log(schedule: &Schedule, error: &str) {
    let function = schedule.function.0.escape_ascii();
    tracing::warn!(schedule = %schedule.id, %function, error, "a scheduled call failed");
}
