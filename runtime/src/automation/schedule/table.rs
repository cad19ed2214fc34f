//! The schedules in memory, and the next one that is due.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use super::record::Schedule;
use crate::error::{CallError, Code, Quoted};
use crate::registry::record::FunctionName;

/// Largest number of schedules.
pub(crate) const SCHEDULES_MAX: usize = 10_000;

/// Most runs at the same time.
const RUNNING_MAX: usize = 16;

/// The schedules of a runtime.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    /// Held while schedules are added, removed and replaced by clients, which may wait for a disk. It comes before
    /// the lock of the state.
    changing: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_id: BTreeMap<FunctionName, Entry>,
    running: usize,
    /// Woken when a schedule is added, or a run ends.
    waiting: Option<Waker>,
    /// Makes generations.
    added: u64,
    /// True if schedules are not run here until [`Schedules::set_here`] says so.
    elsewhere: bool,
    /// Those that are about to be replaced, or to go: what is kept of them says so already.
    replaced: HashSet<FunctionName>,
}

#[derive(Debug)]
struct Entry {
    schedule: Schedule,
    running: bool,
    /// True if this server runs it, and no other one.
    here: bool,
    /// Tells this schedule from an earlier one of the same id.
    generation: u64,
}

/// Schedules of one function that are about to take the place of others. No client adds or removes a schedule
/// until this is dropped. Schedules run meanwhile; a run of one that is about to be replaced is noted in the
/// table alone, so that what is kept of its successor stays.
#[derive(Debug)]
pub(crate) struct ScheduleReplacement<'s> {
    table: &'s Schedules,
    _changing: MutexGuard<'s, ()>,
    /// Schedules that are new, or differ from the one of the same id.
    pub(crate) put: Vec<Schedule>,
    /// Ids of those that go.
    pub(crate) gone: Vec<FunctionName>,
}

/// The right to run a schedule; dropping it gives the right back.
#[derive(Debug)]
pub(crate) struct DueRun {
    table: Arc<Schedules>,
    schedule: Schedule,
    generation: u64,
}

/// The next thing to do.
pub(crate) enum Next {
    /// This one is due.
    Due(Box<DueRun>),
    /// The next one is due at this time, if nothing changes.
    At(i64),
    /// None is, if nothing changes.
    Never,
}

impl Schedules {
    /// Adds a schedule after `keep` has kept it, which fails if there is no place for it.
    pub(crate) fn add(
        &self,
        schedule: Schedule,
        keep: impl FnOnce(&Schedule) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let _changing = self.changing.lock();
        let mut state = self.state.lock();
        if state.by_id.contains_key(&schedule.id) {
            return Err(CallError::new(
                Code::Exists,
                format!(
                    "there is a schedule \"{0}\" already; WASM.SCHEDULE DEL {0} removes it",
                    schedule.id
                ),
            ));
        }
        if state.by_id.len() >= SCHEDULES_MAX {
            return Err(CallError::new(
                Code::Limit,
                format!(
                    "there are {SCHEDULES_MAX} schedules, which is the limit; remove some with WASM.SCHEDULE DEL"
                ),
            ));
        }
        keep(&schedule)?;
        state.insert(schedule);
        Ok(())
    }

    /// Prepares to put `wanted` in the place of what the module of this function declared before. What stays
    /// the same goes on as it was.
    ///
    /// # Errors
    ///
    /// An id is taken, or there are too many.
    pub(crate) fn prepare_declared(
        &self,
        function: &[u8],
        wanted: Vec<Schedule>,
    ) -> Result<ScheduleReplacement<'_>, CallError> {
        let changing = self.changing.lock();
        let mut state = self.state.lock();
        let is_mine = |entry: &&Entry| entry.schedule.is_declared_by(function);
        let mut gone: Vec<_> = state.by_id.values().filter(is_mine).collect();
        let mut put = Vec::new();
        for schedule in wanted {
            let known = state.by_id.get(&schedule.id);
            if known.is_some_and(|known| !is_mine(&known)) {
                return Err(CallError::new(
                    Code::Exists,
                    format!(
                        "the module declares a schedule that gets the id \"{0}\", and there is one of that id; WASM.SCHEDULE DEL {0} removes it",
                        schedule.id
                    ),
                ));
            }
            gone.retain(|entry| entry.schedule.id != schedule.id);
            if known.is_none_or(|known| !known.schedule.does_the_same(&schedule)) {
                put.push(schedule);
            }
        }
        let gone: Vec<_> = gone.iter().map(|entry| entry.schedule.id.clone()).collect();
        let new = put.iter().filter(|one| !state.by_id.contains_key(&one.id));
        let count = (state.by_id.len() + new.count()).saturating_sub(gone.len());
        if count > SCHEDULES_MAX.max(state.by_id.len()) {
            return Err(CallError::limit(format!(
                "with those that the module declares there would be {count} schedules, the limit is {SCHEDULES_MAX}; remove some with WASM.SCHEDULE DEL"
            )));
        }
        let replaced = put.iter().map(|one| &one.id).chain(&gone);
        state.replaced = replaced.cloned().collect();
        drop(state);
        Ok(ScheduleReplacement {
            table: self,
            _changing: changing,
            put,
            gone,
        })
    }

    /// Adds a schedule that is kept already.
    pub(crate) fn load(&self, schedule: Schedule) {
        self.state.lock().insert(schedule);
    }

    /// Removes a schedule after `forget` has removed what is kept of it. A run of it ends undisturbed.
    pub(crate) fn remove(
        &self,
        id: &[u8],
        may_remove: impl FnOnce(&Schedule) -> bool,
        forget: impl FnOnce() -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let _changing = self.changing.lock();
        let mut state = self.state.lock();
        let name = FunctionName::parse(id).ok();
        let mine = |name: &FunctionName| {
            let entry = state.by_id.get(name);
            entry.is_some_and(|entry| may_remove(&entry.schedule))
        };
        let Some(name) = name.filter(mine) else {
            return Err(CallError::invalid(format!(
                "there is no schedule {}; WASM.SCHEDULE LIST shows them",
                Quoted(id)
            )));
        };
        forget()?;
        state.by_id.remove(&name);
        Ok(())
    }

    /// Passes these schedules as they are now to `visit`, by id. No schedule is added, removed, begun or settled
    /// until it returns.
    pub(crate) fn while_unchanged<R>(
        &self,
        ids: &[FunctionName],
        visit: impl FnOnce(Vec<(&FunctionName, Option<&Schedule>)>) -> R,
    ) -> R {
        let state = self.state.lock();
        let found = ids.iter().map(|id| {
            let entry = state.by_id.get(id);
            (id, entry.map(|entry| &entry.schedule))
        });
        visit(found.collect())
    }

    /// Returns all schedules in the order of their ids, with true for those that run.
    pub(crate) fn list(&self) -> Vec<(Schedule, bool)> {
        let state = self.state.lock();
        let entries = state.by_id.values();
        entries
            .map(|entry| (entry.schedule.clone(), entry.running))
            .collect()
    }

    /// Returns true if there is a schedule for which `is` returns true.
    pub(crate) fn any(&self, is: impl Fn(&Schedule) -> bool) -> bool {
        let state = self.state.lock();
        state.by_id.values().any(|entry| is(&entry.schedule))
    }

    /// Returns the number of schedules.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().by_id.len()
    }

    /// Returns the due time of the schedule that comes next.
    pub(crate) fn next_time(&self) -> Option<i64> {
        let state = self.state.lock();
        let idle = state.by_id.values().filter(|entry| entry.may_run());
        idle.filter_map(|entry| entry.schedule.next).min()
    }

    /// Returns what is due at `now`; `waker` is woken when that may have changed.
    pub(crate) fn next(self: &Arc<Self>, now: i64, waker: &Waker) -> Next {
        let mut state = self.state.lock();
        state.waiting = Some(waker.clone());
        if state.running >= RUNNING_MAX {
            return Next::Never;
        }
        let idle = state.by_id.values_mut().filter(|entry| entry.may_run());
        let first = idle
            .filter_map(|entry| Some((entry.schedule.next?, entry)))
            .min_by_key(|(at, _)| *at);
        match first {
            None => Next::Never,
            Some((at, _)) if at > now => Next::At(at),
            Some((_, entry)) => {
                entry.running = true;
                let run = DueRun {
                    table: Arc::clone(self),
                    schedule: entry.schedule.clone(),
                    generation: entry.generation,
                };
                state.running += 1;
                Next::Due(Box::new(run))
            }
        }
    }
}

impl Schedules {
    /// Takes in a schedule as another server has it, in the place of one of the same id.
    pub(crate) fn adopt(&self, schedule: Schedule) {
        let mut state = self.state.lock();
        match state.by_id.get_mut(&schedule.id) {
            // The same one, after a run elsewhere.
            Some(entry) if entry.schedule.added == schedule.added => {
                entry.schedule = schedule;
                state.wake();
            }
            _ => state.insert(schedule),
        }
    }

    /// Removes a schedule that another server has removed.
    pub(crate) fn adopt_removal(&self, id: &[u8]) {
        if let Ok(name) = FunctionName::parse(id) {
            self.state.lock().by_id.remove(&name);
        }
    }

    /// Forgets all schedules.
    pub(crate) fn clear(&self) {
        self.state.lock().by_id.clear();
    }

    /// Says which schedules this server runs from now on, by their first key or their id. Times of a
    /// schedule that passed more than `grace` milliseconds before it came here count as missed.
    pub(crate) fn set_here(&self, now: i64, grace: i64, here: &mut dyn FnMut(&[u8]) -> bool) {
        // Asked without the lock, because the answer may take one that is held around this one elsewhere.
        let names: Vec<(FunctionName, Box<[u8]>)> = {
            let state = self.state.lock();
            let entries = state.by_id.values();
            entries
                .map(|entry| (entry.schedule.id.clone(), entry.schedule.place().into()))
                .collect()
        };
        let runs_here: Vec<bool> = names.iter().map(|(_, place)| here(place)).collect();
        let mut state = self.state.lock();
        state.elsewhere = true;
        let mut came = false;
        for ((id, _), here) in names.iter().zip(runs_here) {
            let Some(entry) = state.by_id.get_mut(id) else {
                continue;
            };
            if here && !entry.here {
                came = true;
                if entry.schedule.next.is_some_and(|next| next < now - grace) {
                    entry.schedule.settle_missed(now);
                }
            }
            entry.here = here;
        }
        if came {
            state.wake();
        }
    }
}

impl ScheduleReplacement<'_> {
    /// Replaces the schedules, together with what `publish` replaces. Returns its result. No schedule begins or is
    /// settled in between.
    pub(crate) fn activate<R>(&mut self, publish: impl FnOnce() -> R) -> R {
        let mut state = self.table.state.lock();
        let published = publish();
        for id in &self.gone {
            state.by_id.remove(id);
        }
        for schedule in self.put.drain(..) {
            state.insert(schedule);
        }
        state.replaced.clear();
        published
    }
}

impl Drop for ScheduleReplacement<'_> {
    fn drop(&mut self) {
        self.table.state.lock().replaced.clear();
    }
}

impl Entry {
    const fn may_run(&self) -> bool {
        self.here && !self.running
    }
}

impl State {
    fn insert(&mut self, schedule: Schedule) {
        self.added += 1;
        let entry = Entry {
            running: false,
            here: !self.elsewhere,
            generation: self.added,
            schedule,
        };
        self.by_id.insert(entry.schedule.id.clone(), entry);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

impl DueRun {
    /// The schedule as it was when it became due.
    pub(crate) const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Passes true to `keep` if the run is to be kept: the schedule has not been removed meanwhile, and is not about
    /// to be. Notes in the table what became of the run if `keep` returns no error. No schedule is added or
    /// removed until it returns.
    pub(crate) fn settle<R, E>(
        &self,
        ran: &Schedule,
        keep: impl FnOnce(bool) -> Result<R, E>,
    ) -> Result<R, E> {
        let mut state = self.table.state.lock();
        let State {
            by_id, replaced, ..
        } = &mut *state;
        let entry = by_id.get_mut(&ran.id);
        let entry = entry.filter(|entry| entry.generation == self.generation);
        let kept = keep(entry.is_some() && !replaced.contains(&ran.id))?;
        if let Some(entry) = entry {
            entry.schedule = ran.clone();
        }
        Ok(kept)
    }
}

impl Drop for DueRun {
    fn drop(&mut self) {
        let mut state = self.table.state.lock();
        state.running -= 1;
        if let Some(entry) = state.by_id.get_mut(&self.schedule.id)
            && entry.generation == self.generation
        {
            entry.running = false;
        }
        state.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::{DueRun, Next, Schedule, Schedules};
    use crate::automation::bytes::Bytes;
    use crate::automation::schedule::when::{Missed, When};
    use crate::registry::record::FunctionName;

    fn schedule(id: &str, every: i64) -> Schedule {
        Schedule {
            id: FunctionName::parse(id.as_bytes()).expect("a name"),
            function: Bytes(b"f.run".as_slice().into()),
            when: When::Every(every),
            missed: Missed::Skip,
            keys: Vec::new(),
            args: Vec::new(),
            database: 0,
            added: 0,
            next: Some(every),
            last: None,
            runs: 0,
            errors: 0,
            declared: true,
        }
    }

    fn due(table: &Arc<Schedules>, now: i64) -> Box<DueRun> {
        match table.next(now, Waker::noop()) {
            Next::Due(run) => run,
            Next::At(at) => panic!("the next one is due at {at}"),
            Next::Never => panic!("none is due"),
        }
    }

    /// Settles a run, and returns whether it was to be kept.
    fn settle(run: &DueRun) -> bool {
        let mut ran = run.schedule().clone();
        ran.note_run(100, 101, None);
        let kept: Result<bool, ()> = run.settle(&ran, Ok);
        kept.expect("no error")
    }

    /// Runs and ids of the schedules.
    fn listed(table: &Schedules) -> Vec<(String, u64)> {
        let list = table.list().into_iter();
        list.map(|(one, _)| (one.id.as_str().to_owned(), one.runs))
            .collect()
    }

    /// As while the registry is written to a disk that takes its time.
    #[test]
    fn schedules_run_while_others_are_about_to_be_replaced() {
        let table = Arc::new(Schedules::default());
        for id in ["changes", "goes", "stays"] {
            table.load(schedule(id, 100));
        }
        let wanted = || vec![schedule("changes", 500), schedule("stays", 100)];
        let runs = [due(&table, 100), due(&table, 100), due(&table, 100)];
        let replacement = table.prepare_declared(b"f", wanted()).expect("prepared");
        assert_eq!(listed(&table).len(), 3, "the table is not held");
        let kept = runs.each_ref().map(|run| settle(run));
        assert_eq!(
            kept,
            [false, false, true],
            "what is kept is their successors'"
        );
        drop(runs);
        // It was given up: what ran is what the table has.
        drop(replacement);
        let ran = ["changes", "goes", "stays"].map(|id| (id.to_owned(), 1));
        assert_eq!(listed(&table), ran);
        assert!(settle(&due(&table, 200)), "it is kept again");

        let mut replacement = table.prepare_declared(b"f", wanted()).expect("prepared");
        let run = due(&table, 200);
        assert_eq!(replacement.activate(|| 7), 7);
        drop(replacement);
        assert!(!settle(&run), "it is gone");
        assert_eq!(
            listed(&table),
            [("changes".to_owned(), 0), ("stays".to_owned(), 1)]
        );
    }
}
