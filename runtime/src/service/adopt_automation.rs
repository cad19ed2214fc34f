//! Takes in triggers, schedules and events that other servers have kept, for a host with replicas.

use ferrite_protocol::keyspace::Keyspace;

use super::Runtime;
use crate::automation::clock::now_millis;
use crate::automation::schedule::record::{self as schedule, Schedule};
use crate::automation::trigger::definition::{self as trigger, Trigger};
use crate::automation::trigger::event::{self, DEAD_PREFIX};
use crate::error::{CallError, Quoted};

impl<K: Keyspace> Runtime<K> {
    /// Takes in the record of a trigger or a schedule as another server has it; without a value, it was
    /// removed there. A record of anything else is ignored.
    ///
    /// # Errors
    ///
    /// The record is damaged, or says what is wrong here; then it is left out.
    pub fn adopt_automation(&self, name: &[u8], value: Option<&[u8]>) -> Result<(), CallError> {
        let damaged = |error: serde_json::Error| {
            CallError::invalid(format!("the record {} is damaged: {error}", Quoted(name)))
        };
        if let Some(id) = name.strip_prefix(schedule::PREFIX) {
            match value {
                Some(value) => {
                    let schedule = Schedule::parse(value).map_err(damaged)?;
                    self.0.schedules.adopt(schedule);
                }
                None => self.0.schedules.adopt_removal(id),
            }
        } else if let Some(name) = name.strip_prefix(trigger::PREFIX) {
            match value {
                Some(value) => {
                    let trigger = Trigger::parse(value).map_err(damaged)?;
                    self.0.triggers.adopt(trigger)?;
                }
                None => self.0.triggers.adopt_removal(name),
            }
            self.send_wanted_events();
        }
        Ok(())
    }

    /// Forgets all triggers and schedules, for when another server's data is loaded.
    pub fn forget_automation(&self) {
        self.0.schedules.clear();
        self.0.triggers.clear();
        self.send_wanted_events();
    }

    /// Lets the host tell of events if there are triggers. Call it after each change of them.
    pub(super) fn send_wanted_events(&self) {
        loop {
            let any = !self.0.triggers.list().is_empty();
            self.keyspace().send_events(any);
            // Another change may have come between, and told the host before.
            if any != self.0.triggers.list().is_empty() {
                return;
            }
        }
    }

    /// Returns true if there is a trigger or a schedule.
    #[must_use]
    pub fn has_automation(&self) -> bool {
        !self.0.triggers.list().is_empty() || self.0.schedules.len() > 0
    }

    /// Forgets the events that wait here, because this server does not deliver them any more.
    pub fn forget_events(&self) {
        self.0.triggers.forget_events();
    }

    /// Returns true if the record of an event that was given up belongs to this trigger.
    #[must_use]
    pub fn is_dead_event_of(&self, trigger: &[u8], name: &[u8], value: &[u8]) -> bool {
        name.starts_with(DEAD_PREFIX)
            && event::lane_of(value).is_some_and(|(of, _, _)| of == trigger)
    }

    /// Says which schedules this server runs from now on: those for which `here` returns true, which gets
    /// the first key of each, or its id. Until this is called, it runs all.
    ///
    /// Times that passed more than `grace_millis` before a schedule came here count as missed.
    pub fn run_schedules_here(&self, grace_millis: i64, here: &mut dyn FnMut(&[u8]) -> bool) {
        self.0.schedules.set_here(now_millis(), grace_millis, here);
    }

    /// Returns the number of schedules.
    #[must_use]
    pub fn schedule_count(&self) -> usize {
        self.0.schedules.len()
    }
}
