//! Adds the triggers and schedules that a module declares, together with its function.
//!
//! A function's record has what its module declares. The definitions that are made of it are kept with the
//! data, as those that a client adds. A change goes these steps:
//!
//! 1. The records of the definitions change, in one transaction.
//! 2. The registry's file is written. If that fails, the records become what they were.
//! 3. In memory, the function and its definitions change together.
//! 4. The events of triggers that are gone are removed, in a transaction of their own.
//!
//! So a change that fails loses nothing, and both or neither take effect. What a crash leaves between the first
//! two steps is put right at the next start; after the third, events of triggers that are gone are removed when
//! they would be delivered.

use ferrite_cache::Automation;
use ferrite_protocol::error_chain::ErrorChain;
use ferrite_protocol::glob::Glob;
use ferrite_protocol::keyspace::{Keyspace, Mode, Transaction};

use crate::automation::clock::now_millis;
use crate::automation::declared::{DeclarationScope, Definitions, within};
use crate::automation::schedule::record::{self as schedule, Schedule};
use crate::automation::schedule::table::ScheduleReplacement;
use crate::automation::trigger::definition::{self, function_of};
use crate::automation::trigger::event::{self, DEAD_PREFIX, PREFIX};
use crate::automation::trigger::replacement::TriggerReplacement;
use crate::error::{CallError, Code};
use crate::policy::function_spec::FunctionSpec;
use crate::registry::record::{DeclaredAutomation, FunctionName};
use crate::registry::rollback_guard::ChangedSequences;
use crate::registry::table::Names;
use crate::service::Runtime;
use crate::service::registered_function::RegisteredFunction;
use crate::service::triggers::RecordChanges;

impl<K: Keyspace> Runtime<K> {
    /// Checks that what a module declares may be added for its function, and returns what its record says of
    /// it; `None` if it declares nothing, and is loaded for database 0.
    ///
    /// # Errors
    ///
    /// This host has no triggers or schedules, the user may not add any, the permissions of the function do
    /// not cover the keys, or a declaration is wrong.
    pub(in crate::service) fn check_declared(
        &self,
        spec: &FunctionSpec,
        declared: &Automation,
        scope: DeclarationScope,
    ) -> Result<Option<Box<DeclaredAutomation>>, CallError> {
        let automation = DeclaredAutomation {
            database: scope.database,
            declared: declared.clone(),
        };
        let Some(first) = declared.lines().next() else {
            let keeps_database = scope.database != 0 && self.runs_automation();
            return Ok(keeps_database.then(|| Box::new(automation)));
        };
        if !self.runs_automation() {
            let text = "this server has no triggers and schedules; ferrite-server with its own store has, and the module in Valkey and Redis";
            return Err(within(&first, &CallError::invalid(text)));
        }
        let denied = |what: &dyn std::fmt::Display, text: &str| {
            Err(within(what, &CallError::new(Code::NoPermission, text)))
        };
        if let (false, Some(one)) = (scope.rights.triggers, declared.triggers.first()) {
            return denied(one, "this user may not add triggers by WASM.TRIGGER");
        }
        if let (false, Some(one)) = (scope.rights.schedules, declared.schedules.first()) {
            return denied(one, "this user may not add schedules by WASM.SCHEDULE");
        }
        let name = FunctionName::parse(spec.name.as_bytes())
            .map_err(|error| CallError::invalid(error.to_string()))?;
        let definitions = Definitions::of(&name, Some(&automation), now_millis())?;
        for (one, trigger) in declared.triggers.iter().zip(&definitions.triggers) {
            if one.before && !self.keyspace().asks_before_commits() {
                let text = "BEFORE: this server cannot let a function refuse a write, ferrite-server with its own store can";
                return Err(within(one, &CallError::invalid(text)));
            }
            if one.before && !spec.permissions.allow_write {
                let text = "BEFORE lets it refuse writes, for which its permissions need \"allow_write\": true";
                return denied(one, text);
            }
            let globs: Vec<Glob> = trigger.globs()?;
            if let Some(reason) = globs
                .iter()
                .find_map(|glob| spec.access_policy.check_all_keys_of(glob).err())
            {
                return denied(one, &reason);
            }
        }
        Ok(Some(Box::new(automation)))
    }

    fn runs_automation(&self) -> bool {
        self.0.options.automation && self.keyspace().keeps_records()
    }

    /// Changes the registry by `change`, and the definitions of a function to what its record then says, or
    /// neither. `change` returns `None` if it has changed nothing.
    ///
    /// # Errors
    ///
    /// The error of `change`; a name of a definition is taken, there are too many, or they cannot be kept.
    pub(in crate::service) fn change_with_declared<R>(
        &self,
        name: &FunctionName,
        automation: Option<&DeclaredAutomation>,
        change: impl FnOnce(
            &mut Names<RegisteredFunction<K>>,
            &mut ChangedSequences<'_>,
        ) -> Result<Option<R>, CallError>,
    ) -> Result<Option<R>, CallError> {
        let mut change = Some(change);
        let mut run =
            |names: &mut Names<_>, sequences: &mut ChangedSequences<'_>| match change.take() {
                Some(change) => change(names, sequences),
                None => Ok(None),
            };
        if automation.is_none() && !self.has_declared(name.as_bytes()) {
            let mut declares = false;
            let changed = self.0.change(|names, sequences| {
                // Another load may have added some meanwhile; no other is under way now.
                declares = self.has_declared(name.as_bytes());
                if declares {
                    Ok(None)
                } else {
                    run(names, sequences)
                }
            });
            if !declares {
                return changed;
            }
        }
        let definitions = Definitions::of(name, automation, now_millis())?;
        let mut transaction = self.keyspace().begin(0, Mode::Write);
        // The host's lock comes before the registry's, and that before those of the tables.
        transaction.lock_for_commit();
        let mut replacement = None;
        let change = self.0.begin_change(|names, sequences| {
            let result = run(names, sequences)?;
            if result.is_some() {
                let prepared = self.prepare_declared(name, definitions)?;
                keep(transaction, &prepared.changes())?;
                replacement = Some(prepared);
            }
            Ok(result)
        });
        let change = match change {
            Ok(change) => change,
            Err(error) => {
                if let Some(prepared) = replacement {
                    // The registry could not be written, so the function stays what it was.
                    self.keep_current(&prepared.into_names());
                }
                return Err(error);
            }
        };
        let Some(replacement) = replacement else {
            let (result, _) = change.publish();
            return Ok(result);
        };
        let ((result, changing), gone) = self.activate(replacement, || change.publish());
        drop(changing);
        self.forget_gone(&gone);
        self.send_wanted_events();
        self.keyspace().events_drained();
        Ok(result)
    }

    /// Makes the definitions agree with the registry, which a crash may have left behind or ahead.
    pub(in crate::service) fn settle_declared(&self) {
        if self.0.file.is_none() || !self.runs_automation() {
            return;
        }
        let mut names = self.declaring();
        names.extend(self.functions().iter().filter_map(|known| {
            let record = known.record();
            record.automation.is_some().then(|| record.name.clone())
        }));
        names.sort_unstable();
        names.dedup();
        for name in names {
            let known = self.function(name.as_bytes()).ok();
            let automation = known.and_then(|known| known.record().automation.clone());
            self.restore_declared(&name, automation.as_deref());
        }
        self.send_wanted_events();
    }

    /// Makes the definitions of a function agree with what its module declares, or logs why not. Nothing else
    /// runs yet.
    fn restore_declared(&self, name: &FunctionName, automation: Option<&DeclaredAutomation>) {
        let restored = Definitions::of(name, automation, now_millis()).and_then(|definitions| {
            let transaction = self.keyspace().begin(0, Mode::Write);
            let prepared = self.prepare_declared(name, definitions)?;
            keep(transaction, &prepared.changes())?;
            let ((), gone) = self.activate(prepared, || ());
            self.forget_gone(&gone);
            Ok(())
        });
        if let Err(error) = restored {
            tracing::error!(function = %name, %error, "the triggers and schedules that a module declares were not added");
        }
    }

    /// Returns true if there are definitions that the module of this function declares.
    fn has_declared(&self, name: &[u8]) -> bool {
        let triggers = self.0.triggers.list();
        triggers.iter().any(|one| one.trigger.is_declared_by(name))
            || self.0.schedules.any(|one| one.is_declared_by(name))
    }

    /// Returns the functions whose modules declare the definitions that there are.
    fn declaring(&self) -> Vec<FunctionName> {
        let triggers = self.0.triggers.list();
        let triggers = triggers.iter().filter(|one| one.trigger.declared);
        let mut targets: Vec<_> = triggers.map(|one| one.trigger.function.clone()).collect();
        let schedules = self.schedules().into_iter();
        let schedules = schedules.filter(|(schedule, _)| schedule.declared);
        targets.extend(schedules.map(|(schedule, _)| schedule.function));
        let names = targets
            .iter()
            .map(|target| FunctionName::parse(function_of(target)));
        names.filter_map(Result::ok).collect()
    }

    /// Prepares to put definitions in the place of those that the module of a function declared before.
    fn prepare_declared(
        &self,
        name: &FunctionName,
        wanted: Definitions,
    ) -> Result<Replacement<'_>, CallError> {
        let Definitions {
            triggers,
            schedules,
        } = wanted;
        Ok(Replacement {
            triggers: self
                .0
                .triggers
                .prepare_declared(name.as_bytes(), triggers)?,
            schedules: (self.0.schedules).prepare_declared(name.as_bytes(), schedules)?,
        })
    }

    /// Puts prepared definitions in force while `publish` replaces their function. Returns its result, and what
    /// is to be forgotten.
    fn activate<R>(
        &self,
        replacement: Replacement<'_>,
        publish: impl FnOnce() -> R,
    ) -> (R, Vec<GoneTrigger>) {
        let Replacement {
            triggers,
            mut schedules,
        } = replacement;
        let published = schedules.activate(|| triggers.activate(publish));
        // While no trigger of the same name can be added.
        let gone = triggers.gone.iter().map(|name| GoneTrigger {
            name: name.clone(),
            waiting: self.0.triggers.queue.events_of(name.as_bytes()),
        });
        (published, gone.collect())
    }

    /// Removes the events of triggers that are gone. What cannot be removed now, because nothing can be written,
    /// is removed when it would be delivered.
    fn forget_gone(&self, gone: &[GoneTrigger]) {
        let table = &self.0.triggers;
        let mut changes: RecordChanges = Vec::new();
        let mut dead = Vec::new();
        for GoneTrigger { name, waiting } in gone {
            let waiting = waiting.iter();
            let waiting = waiting.map(|&number| event::record_name(PREFIX, number));
            changes.extend(waiting.map(|name| (name, None)));
            if let Err(error) = self.each_dead(name.as_bytes(), |number, _| dead.push(number)) {
                tracing::warn!(%error, "events of triggers that are gone were not removed yet");
                return;
            }
        }
        let given_up = dead
            .iter()
            .map(|&number| event::record_name(DEAD_PREFIX, number));
        changes.extend(given_up.map(|name| (name, None)));
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.change_records(&changes) {
            tracing::warn!(%error, "events of triggers that are gone were not removed yet");
            return;
        }
        table.forget_dead(&dead);
        for GoneTrigger { name, waiting } in gone {
            table.queue.remove_events(name.as_bytes(), waiting);
        }
    }

    /// Makes the records of these definitions say what is in force, or logs why not.
    fn keep_current(&self, names: &ReplacedNames) {
        let ReplacedNames {
            triggers,
            schedules,
        } = names;
        let mut transaction = self.keyspace().begin(0, Mode::Write);
        transaction.lock_for_commit();
        let (by_trigger, by_schedule) = (&self.0.triggers, &self.0.schedules);
        let kept = by_trigger.while_unchanged(|| {
            by_schedule.while_unchanged(schedules, |schedules| {
                let mut changes: RecordChanges = Vec::new();
                for name in triggers {
                    let current = by_trigger.get(name.as_bytes());
                    let value = current.map(|current| current.trigger.to_bytes());
                    changes.push((definition::record_name(name), value));
                }
                for (id, current) in schedules {
                    let value = current.map(Schedule::to_bytes);
                    changes.push((schedule::record_name(id.as_bytes()), value));
                }
                keep(transaction, &changes)
            })
        });
        if let Err(error) = kept {
            tracing::error!(%error, "triggers and schedules that stay what they were are out of date on disk until the next start");
        }
    }
}

/// Definitions that are about to take the place of those that the module of a function declared before.
struct Replacement<'r> {
    triggers: TriggerReplacement<'r>,
    schedules: ScheduleReplacement<'r>,
}

/// Names of the definitions of a replacement.
struct ReplacedNames {
    triggers: Vec<FunctionName>,
    schedules: Vec<FunctionName>,
}

/// A trigger that is gone, with the numbers of its events that wait.
struct GoneTrigger {
    name: FunctionName,
    waiting: Vec<u64>,
}

impl Replacement<'_> {
    /// Returns the changes of the records of definitions.
    fn changes(&self) -> RecordChanges {
        let Self {
            triggers,
            schedules,
        } = self;
        let put = triggers.put.iter();
        let put = put.map(|one| (one.record_name(), Some(one.to_bytes())));
        let gone = triggers.gone.iter();
        let gone = gone.map(|name| (definition::record_name(name), None));
        let mut changes: RecordChanges = put.chain(gone).collect();
        let put = schedules.put.iter();
        changes.extend(put.map(|one| (one.record_name(), Some(one.to_bytes()))));
        let gone = schedules.gone.iter();
        changes.extend(gone.map(|id| (schedule::record_name(id.as_bytes()), None)));
        changes
    }

    /// Gives the replacement up, and returns the names that it would have changed.
    fn into_names(self) -> ReplacedNames {
        let Self {
            triggers,
            schedules,
        } = self;
        let put = triggers.put.iter().map(|one| one.name.clone());
        let of_triggers = put.chain(triggers.gone.iter().cloned()).collect();
        let put = schedules.put.iter().map(|one| one.id.clone());
        ReplacedNames {
            triggers: of_triggers,
            schedules: put.chain(schedules.gone.iter().cloned()).collect(),
        }
    }
}

/// Commits changes of the records of definitions.
fn keep<T: Transaction>(mut transaction: T, changes: &RecordChanges) -> Result<(), CallError> {
    if changes.is_empty() {
        return Ok(());
    }
    let failed = |error: &dyn std::error::Error| {
        let text = ErrorChain(error);
        CallError::new(
            Code::Store,
            format!("what the module declares was not kept: {text}"),
        )
    };
    for (name, value) in changes {
        transaction
            .change_record(name, value.as_deref())
            .map_err(|error| failed(&error))?;
    }
    transaction.commit().map_err(|error| failed(&error))?;
    Ok(())
}
