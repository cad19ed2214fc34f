//! The triggers of a runtime, and the way of events into their queue.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use ferrite_protocol::events::{EventSink, KeyspaceEvent};
use ferrite_protocol::glob::Glob;
use ferrite_protocol::record::Record;
use parking_lot::Mutex;

use super::definition::{Phase, Trigger};
use super::event::{self, DEAD_PREFIX, HeldValue, PREFIX, QueuedEvent};
use super::queue::{EventQueue, LaneKey, PENDING_MAX};
use crate::automation::clock::now_millis;
use crate::automation::figures::TriggerFigures;
use crate::automation::number::{Numbers, partition_of};
use crate::error::{CallError, Code, Quoted};
use crate::registry::record::FunctionName;

/// Largest number of triggers.
pub(crate) const TRIGGERS_MAX: usize = 256;

/// Most events in a row that each led to the next one.
pub(crate) const DEPTH_MAX: u32 = 8;

/// Most events that were given up and are kept; a later one makes the oldest go.
pub(crate) const DEAD_MAX: usize = 1000;

/// Triggers, and the events that wait for them.
#[derive(Debug)]
pub(crate) struct Triggers {
    pub(super) active: ArcSwap<Vec<Arc<ActiveTrigger>>>,
    /// Held while triggers are added and removed.
    pub(super) changing: Mutex<()>,
    /// Counts the times that a function changed together with its triggers; held while that happens in memory.
    pub(super) switches: Mutex<u64>,
    /// True if there is a trigger of [`Phase::Before`].
    guards: AtomicBool,
    /// True if a write was told that the queue is full, and may wait.
    held_up: AtomicBool,
    pub(crate) queue: Arc<EventQueue>,
    numbers: Numbers,
    /// Numbers of the events that were given up, the oldest first.
    dead: Mutex<VecDeque<u64>>,
}

/// A trigger with its figures.
#[derive(Debug)]
pub(crate) struct ActiveTrigger {
    pub(crate) trigger: Trigger,
    globs: Vec<Glob>,
    /// The name, shared with the lanes of its events.
    name: Arc<[u8]>,
    pub(crate) figures: Figures,
}

/// Figures of a trigger since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Events that were queued.
    pub(crate) events: AtomicU64,
    /// Events that were delivered.
    pub(crate) delivered: AtomicU64,
    /// Tries that failed.
    pub(crate) failures: AtomicU64,
    /// Events that were given up.
    pub(crate) dead: AtomicU64,
    /// Times that an event was to be given up and could not, because that could not be kept.
    pub(crate) not_given_up: AtomicU64,
    /// The error of the last try that failed.
    pub(crate) last_error: Mutex<Option<Box<str>>>,
}

impl ActiveTrigger {
    pub(super) fn new(trigger: Trigger) -> Result<Self, CallError> {
        Ok(Self {
            globs: trigger.globs()?,
            name: trigger.name.as_bytes().into(),
            figures: Figures::default(),
            trigger,
        })
    }

    /// Returns true if it wants this event.
    fn wants_event(&self, event: &KeyspaceEvent<'_>) -> bool {
        self.trigger.wants_event(event.name) && self.wants(event.database, event.key)
    }

    /// Returns true if it wants an event that was queued, perhaps before it became what it is now.
    pub(crate) fn still_wants(&self, event: &QueuedEvent) -> bool {
        !self.is_guard()
            && self.trigger.wants_event(&event.event)
            && self.wants(event.database, &event.key)
    }

    /// Returns true if it may refuse this event.
    fn guards(&self, event: &QueuedEvent) -> bool {
        self.is_guard()
            && self.trigger.wants_event(&event.event)
            && self.wants(event.database, &event.key)
    }

    /// Returns its figures at this moment.
    pub(crate) fn figures(&self) -> TriggerFigures {
        let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        TriggerFigures {
            name: self.trigger.name.as_str().to_owned(),
            events: count(&self.figures.events),
            delivered: count(&self.figures.delivered),
            failures: count(&self.figures.failures),
            given_up: count(&self.figures.dead),
            not_given_up: count(&self.figures.not_given_up),
        }
    }

    pub(super) fn is_guard(&self) -> bool {
        self.trigger.phase == Phase::Before
    }

    fn wants(&self, database: u32, key: &[u8]) -> bool {
        self.trigger.database == database && self.globs.iter().any(|glob| glob.matches(key))
    }
}

impl Default for Triggers {
    fn default() -> Self {
        Self {
            active: ArcSwap::default(),
            changing: Mutex::default(),
            switches: Mutex::default(),
            guards: AtomicBool::new(false),
            held_up: AtomicBool::new(false),
            queue: Arc::default(),
            numbers: Numbers::new(),
            dead: Mutex::default(),
        }
    }
}

impl Triggers {
    /// Returns all triggers in the order of their names.
    pub(crate) fn list(&self) -> Arc<Vec<Arc<ActiveTrigger>>> {
        self.active.load_full()
    }

    /// Returns the trigger of this name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<ActiveTrigger>> {
        let active = self.active.load();
        let mut triggers = active.iter();
        triggers
            .find(|one| one.trigger.name.as_bytes() == name)
            .cloned()
    }

    /// Returns the trigger of this name, or the error that there is none.
    pub(crate) fn existing(&self, name: &[u8]) -> Result<Arc<ActiveTrigger>, CallError> {
        self.get(name).ok_or_else(|| {
            CallError::invalid(format!(
                "there is no trigger {}; WASM.TRIGGER LIST shows them",
                Quoted(name)
            ))
        })
    }

    /// Adds a trigger after `keep` has kept it.
    pub(crate) fn add<R>(
        &self,
        trigger: Trigger,
        keep: impl FnOnce(&Trigger) -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        let _changing = self.changing.lock();
        let mut active = Vec::clone(&self.active.load());
        if self.get(trigger.name.as_bytes()).is_some() {
            return Err(CallError::new(
                Code::Exists,
                format!(
                    "there is a trigger \"{0}\" already; WASM.TRIGGER DEL {0} removes it",
                    trigger.name
                ),
            ));
        }
        if active.len() >= TRIGGERS_MAX {
            return Err(CallError::limit(format!(
                "there are {TRIGGERS_MAX} triggers, which is the limit; remove some with WASM.TRIGGER DEL"
            )));
        }
        let added = ActiveTrigger::new(trigger)?;
        let kept = keep(&added.trigger)?;
        active.push(Arc::new(added));
        active.sort_by(|one, other| one.trigger.name.cmp(&other.trigger.name));
        self.set(Arc::new(active));
        Ok(kept)
    }

    /// Runs `run` while no trigger is added or removed.
    pub(crate) fn while_unchanged<R>(&self, run: impl FnOnce() -> R) -> R {
        let _changing = self.changing.lock();
        run()
    }

    /// Removes a trigger after `forget` has removed what is kept of it.
    pub(crate) fn remove<R>(
        &self,
        name: &[u8],
        forget: impl FnOnce() -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        let _changing = self.changing.lock();
        self.existing(name)?;
        // Until this has succeeded the trigger is there, and takes events. What is added behind is removed as
        // it is delivered.
        let forgotten = forget()?;
        let mut active = Vec::clone(&self.active.load());
        active.retain(|one| one.trigger.name.as_bytes() != name);
        self.set(Arc::new(active));
        Ok(forgotten)
    }

    /// Takes in a trigger as another server has it, in the place of one of the same name.
    ///
    /// # Errors
    ///
    /// A pattern of it is wrong.
    pub(crate) fn adopt(&self, trigger: Trigger) -> Result<(), CallError> {
        let _changing = self.changing.lock();
        let mut active = Vec::clone(&self.active.load());
        if active.iter().any(|one| one.trigger == trigger) {
            return Ok(());
        }
        active.retain(|one| one.trigger.name != trigger.name);
        active.push(Arc::new(ActiveTrigger::new(trigger)?));
        active.sort_by(|one, other| one.trigger.name.cmp(&other.trigger.name));
        self.set(Arc::new(active));
        Ok(())
    }

    /// Removes a trigger that another server has removed; its events are removed as they are delivered.
    pub(crate) fn adopt_removal(&self, name: &[u8]) {
        let _changing = self.changing.lock();
        let mut active = Vec::clone(&self.active.load());
        active.retain(|one| one.trigger.name.as_bytes() != name);
        self.set(Arc::new(active));
    }

    /// Forgets all triggers.
    pub(crate) fn clear(&self) {
        let _changing = self.changing.lock();
        self.set(Arc::default());
    }

    /// Forgets the events that wait and those that were given up, which are delivered elsewhere from now
    /// on.
    pub(crate) fn forget_events(&self) {
        self.queue.clear();
        self.dead.lock().clear();
    }

    pub(super) fn set(&self, active: Arc<Vec<Arc<ActiveTrigger>>>) {
        let guards = active.iter().any(|one| one.is_guard());
        self.active.store(active);
        self.guards.store(guards, Ordering::Release);
    }

    /// Returns true if a trigger may refuse writes.
    #[inline]
    pub(crate) fn has_guards(&self) -> bool {
        self.guards.load(Ordering::Acquire)
    }

    /// Returns true if a trigger may refuse to write this key, in some database.
    pub(crate) fn guard_key(&self, key: &[u8]) -> bool {
        let active = self.active.load();
        let mut guards = active.iter().filter(|one| one.is_guard());
        guards.any(|one| one.wants(one.trigger.database, key))
    }

    /// Returns true if a trigger may refuse this event.
    pub(crate) fn guard_event(&self, event: &KeyspaceEvent<'_>) -> bool {
        let active = self.active.load();
        let mut guards = active.iter().filter(|one| one.is_guard());
        guards.any(|one| one.wants_event(event))
    }

    /// Returns the next trigger that may refuse this event, in the order of their names, apart from those
    /// that were `asked`.
    pub(crate) fn next_guard(
        &self,
        event: &QueuedEvent,
        asked: &[FunctionName],
    ) -> Option<Arc<ActiveTrigger>> {
        let active = self.active.load();
        let mut guards = active.iter().filter(|one| one.guards(event));
        guards
            .find(|one| !asked.contains(&one.trigger.name))
            .cloned()
    }

    /// Waits until no function changes together with its triggers, and returns how often that has happened.
    pub(crate) fn switches(&self) -> u64 {
        *self.switches.lock()
    }

    /// Returns true if this very trigger is there, and has not been replaced.
    pub(crate) fn is_active(&self, trigger: &Arc<ActiveTrigger>) -> bool {
        let active = self.active.load();
        active.iter().any(|one| Arc::ptr_eq(one, trigger))
    }

    /// Takes in an event that was kept by an earlier process.
    pub(crate) fn load_event(&self, name: &[u8], value: &[u8]) -> bool {
        if let Some(number) = event::number_of(DEAD_PREFIX, name) {
            self.dead.lock().push_back(number);
            self.numbers.note(number);
            return true;
        }
        let number = event::number_of(PREFIX, name);
        let (Some(number), Some((trigger, database, key))) = (number, event::lane_of(value)) else {
            return false;
        };
        self.numbers.note(number);
        self.enqueue(number, trigger, database, key, value.len());
        true
    }

    fn enqueue(&self, number: u64, trigger: &[u8], database: u32, key: &[u8], bytes: usize) {
        let trigger = match self.get(trigger) {
            Some(active) => Arc::clone(&active.name),
            // Its delivery finds that it is gone.
            None => trigger.into(),
        };
        let lane = LaneKey {
            trigger,
            database,
            key: key.into(),
        };
        self.queue.push(lane, number, bytes);
    }

    /// Returns the numbers of the events that make room for one more that is given up.
    pub(crate) fn oldest_dead(&self) -> Vec<u64> {
        let dead = self.dead.lock();
        let over = (dead.len() + 1).saturating_sub(DEAD_MAX);
        dead.iter().take(over).copied().collect()
    }

    /// Returns the record of the event with the number `old` under a new number.
    pub(crate) fn renumbered(&self, event: &QueuedEvent, old: u64) -> Record {
        let number = self.numbers.next(partition_of(old));
        let name = event::record_name(PREFIX, number);
        (name.into(), event.to_bytes().into())
    }

    /// Notes an event that was given up.
    pub(crate) fn note_dead(&self, number: u64) {
        self.dead.lock().push_back(number);
    }

    /// Notes an event that was given up, if there is room for it; returns false if not.
    fn note_dead_if_room(&self, number: u64) -> bool {
        let mut dead = self.dead.lock();
        let room = dead.len() < DEAD_MAX;
        if room {
            dead.push_back(number);
        }
        room
    }

    /// Returns true if there is room again, and writes may wait for it.
    pub(crate) fn has_room_again(&self) -> bool {
        !self.queue.is_full() && self.held_up.swap(false, Ordering::AcqRel)
    }

    /// Forgets events that were given up.
    pub(crate) fn forget_dead(&self, numbers: &[u64]) {
        self.dead.lock().retain(|number| !numbers.contains(number));
    }
}

impl EventSink for Triggers {
    fn wants(&self, database: u32, key: &[u8]) -> bool {
        let active = self.active.load();
        active.iter().any(|one| one.wants(database, key))
    }

    fn record(&self, event: &KeyspaceEvent<'_>, into: &mut Vec<Record>) {
        let active = self.active.load();
        let wanting = active
            .iter()
            .filter(|one| one.trigger.phase == Phase::After && one.wants_event(event));
        for one in wanting {
            let number = self.numbers.next(event.partition);
            one.figures.events.fetch_add(1, Ordering::Relaxed);
            let mut queued = QueuedEvent {
                trigger: one.trigger.name.as_bytes().into(),
                database: event.database,
                key: event.key.into(),
                event: event.name.into(),
                depth: event.depth,
                at: now_millis(),
                old: HeldValue::of(event.old),
                new: HeldValue::of(event.new),
                error: Box::default(),
            };
            let mut prefix = PREFIX;
            if event.depth >= DEPTH_MAX {
                prefix = DEAD_PREFIX;
                queued.error = format!(
                    "LIMIT {DEPTH_MAX} events in a row led to this one, which is the limit; let the function leave alone what triggers it"
                )
                .into();
                one.figures.note_failure(&queued.error);
                one.figures.dead.fetch_add(1, Ordering::Relaxed);
                if !self.note_dead_if_room(number) {
                    // A loop fills it soon; what it adds is counted alone.
                    continue;
                }
            }
            let name = event::record_name(prefix, number);
            into.push((name.into(), queued.to_bytes().into()));
        }
    }

    fn committed(&self, records: Vec<Record>) {
        for (name, value) in records {
            let number = event::number_of(PREFIX, &name);
            if let (Some(number), Some((trigger, database, key))) = (number, event::lane_of(&value))
            {
                self.enqueue(number, trigger, database, key, value.len());
            }
        }
    }

    /// Triggers keep no records but those of events.
    fn record_set(&self, _: &[u8], _: &[u8]) {}

    fn is_full(&self) -> bool {
        let full = self.queue.is_full();
        if full {
            self.held_up.store(true, Ordering::Release);
        }
        full
    }

    fn take_in(&self, records: Vec<Record>) {
        for (name, value) in records {
            if !self.load_event(&name, &value) {
                let name = name.escape_ascii();
                tracing::error!(%name, "an event is damaged and left out");
            }
        }
    }

    fn forget(&self, names: &[Box<[u8]>]) {
        let numbers = |prefix| {
            let numbers = names.iter().map(|name| event::number_of(prefix, name));
            numbers.flatten().collect::<HashSet<u64>>()
        };
        let (waiting, dead) = (numbers(PREFIX), numbers(DEAD_PREFIX));
        if !waiting.is_empty() {
            self.queue.forget(&waiting);
        }
        if !dead.is_empty() {
            self.dead.lock().retain(|number| !dead.contains(number));
        }
    }

    fn refuse(&self, event: &KeyspaceEvent<'_>, reason: &str) {
        let active = self.active.load();
        let wanting = active
            .iter()
            .filter(|one| one.trigger.phase == Phase::After && one.wants_event(event));
        for one in wanting {
            one.figures.events.fetch_add(1, Ordering::Relaxed);
            one.figures.note_loss(reason);
        }
    }

    fn lose(&self, (_, value): &Record, reason: &str) {
        let trigger = event::lane_of(value).and_then(|(trigger, _, _)| self.get(trigger));
        if let Some(trigger) = trigger {
            trigger.figures.note_loss(reason);
        }
    }

    fn full_reason(&self) -> String {
        format!(
            "LIMIT {PENDING_MAX} events or as many bytes as may wait are waiting; this event is lost"
        )
    }
}

impl Figures {
    pub(crate) fn note_failure(&self, error: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.note_error(error);
    }

    /// Notes an event that is lost without a try.
    fn note_loss(&self, reason: &str) {
        self.dead.fetch_add(1, Ordering::Relaxed);
        self.note_failure(reason);
    }

    /// Notes an event that was to be given up and could not.
    pub(crate) fn note_not_given_up(&self, error: &str) {
        self.not_given_up.fetch_add(1, Ordering::Relaxed);
        self.note_error(error);
    }

    /// Notes an error that kept an event from being tried.
    pub(crate) fn note_error(&self, error: &str) {
        *self.last_error.lock() = Some(error.into());
    }
}

#[cfg(test)]
mod tests {
    use ferrite_protocol::events::{EventSink, KeyspaceEvent};

    use super::Triggers;
    use crate::automation::bytes::Bytes;
    use crate::automation::trigger::definition::{Phase, Trigger};
    use crate::error::CallError;
    use crate::registry::record::FunctionName;

    const EVENT: KeyspaceEvent<'_> = KeyspaceEvent {
        database: 0,
        key: b"k",
        name: "set",
        depth: 0,
        partition: 0,
        old: None,
        new: None,
    };

    fn recorded(triggers: &Triggers) -> usize {
        let mut records = Vec::new();
        triggers.record(&EVENT, &mut records);
        records.len()
    }

    fn with_trigger() -> Triggers {
        let triggers = Triggers::default();
        let trigger = Trigger {
            name: FunctionName::parse(b"t").expect("a name"),
            function: Bytes(b"f".as_slice().into()),
            keys: vec![Bytes(b"k".as_slice().into())],
            events: vec!["set".into()],
            phase: Phase::After,
            database: 0,
            added: 0,
            declared: false,
        };
        triggers.add(trigger, |_| Ok(())).expect("added");
        triggers
    }

    #[test]
    fn an_event_that_is_lost_is_counted_once_and_says_why() {
        let triggers = with_trigger();
        triggers.refuse(&EVENT, "a replica takes no events");
        let mut records = Vec::new();
        triggers.record(&EVENT, &mut records);
        triggers.lose(&records[0], "the server has no memory");
        triggers.lose(&(b"event/x"[..].into(), b"damaged"[..].into()), "x");
        let trigger = triggers.get(b"t").expect("it was added");
        let figures = trigger.figures();
        assert_eq!(
            (figures.events, figures.failures, figures.given_up),
            (2, 2, 2)
        );
        let error = trigger.figures.last_error.lock().clone();
        assert_eq!(error.as_deref(), Some("the server has no memory"));
        trigger.figures.note_not_given_up("STORE full");
        let figures = trigger.figures();
        assert_eq!((figures.not_given_up, figures.given_up), (1, 2));
        assert_eq!(
            trigger.figures.last_error.lock().as_deref(),
            Some("STORE full")
        );
    }

    #[test]
    fn a_removal_that_fails_loses_no_event_that_comes_meanwhile() {
        let triggers = with_trigger();
        let failed: Result<(), CallError> = triggers.remove(b"t", || {
            assert_eq!(recorded(&triggers), 1);
            Err(CallError::invalid("it cannot be kept"))
        });
        assert!(failed.is_err());
        assert_eq!(recorded(&triggers), 1);
        assert!(triggers.remove(b"t", || Ok(())).is_ok());
        assert_eq!(recorded(&triggers), 0);
    }
}
