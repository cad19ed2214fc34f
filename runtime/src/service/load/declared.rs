//! Adds the triggers and schedules that a module declares, together with its function.
//!
//! A function's record has what its module declares. The definitions that are made of it are kept with the
//! data, as those that a client adds. They change in one transaction while the registry changes, so that both
//! or neither take effect; what a crash leaves between the two is put right at the next start.

use ferrite_cache::Automation;
use ferrite_protocol::error_chain::ErrorChain;
use ferrite_protocol::glob::Glob;
use ferrite_protocol::keyspace::{Keyspace, Mode, Transaction};

use crate::automation::clock::now_millis;
use crate::automation::declared::{DeclarationScope, Definitions, within};
use crate::automation::schedule::record as schedule;
use crate::automation::trigger::definition::{self, function_of};
use crate::automation::trigger::event::{self, DEAD_PREFIX, PREFIX};
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
    /// it; `None` if it declares nothing.
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
        let Some(first) = declared.lines().next() else {
            return Ok(None);
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
        let automation = DeclaredAutomation {
            database: scope.database,
            declared: declared.clone(),
        };
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
        let known = self.function(name.as_bytes()).ok();
        let before = known.and_then(|known| known.record().automation.clone());
        let mut transaction = self.keyspace().begin(0, Mode::Write);
        // The host's lock comes before the registry's, and that before those of the tables.
        transaction.lock_for_commit();
        let mut replaced = false;
        let changed = self.0.change(|names, sequences| {
            let result = run(names, sequences)?;
            if result.is_some() {
                self.replace_declared(transaction, name, definitions)?;
                replaced = true;
            }
            Ok(result)
        });
        if changed.is_err() && replaced {
            // The registry could not be written, so the function stays what it was.
            self.restore_declared(name, before.as_deref());
        }
        self.send_wanted_events();
        self.keyspace().events_drained();
        changed
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

    /// Makes the definitions of a function agree with what its module declares, or logs why not.
    fn restore_declared(&self, name: &FunctionName, automation: Option<&DeclaredAutomation>) {
        let restored = Definitions::of(name, automation, now_millis()).and_then(|definitions| {
            let mut transaction = self.keyspace().begin(0, Mode::Write);
            transaction.lock_for_commit();
            self.replace_declared(transaction, name, definitions)
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

    /// Puts definitions in the place of those that the module of a function declared before.
    fn replace_declared(
        &self,
        mut transaction: K::Transaction,
        name: &FunctionName,
        wanted: Definitions,
    ) -> Result<(), CallError> {
        let Definitions {
            triggers,
            schedules,
        } = wanted;
        let table = &self.0.triggers;
        let name = name.as_bytes();
        let forgotten = table.replace_declared(name, triggers, |put, gone| {
            let mut changes: RecordChanges = Vec::new();
            for trigger in put {
                changes.push((trigger.record_name(), Some(trigger.to_bytes())));
            }
            let mut dead = Vec::new();
            for name in gone {
                changes.push((definition::record_name(name), None));
                self.each_dead(name.as_bytes(), |number, _| dead.push(number));
                let waiting = table.queue.events_of(name.as_bytes());
                let waiting = waiting.into_iter();
                let waiting = waiting.map(|number| event::record_name(PREFIX, number));
                changes.extend(waiting.map(|name| (name, None)));
            }
            let given_up = dead
                .iter()
                .map(|&number| event::record_name(DEAD_PREFIX, number));
            changes.extend(given_up.map(|name| (name, None)));
            self.0
                .schedules
                .replace_declared(name, schedules, |put, gone| {
                    for schedule in put {
                        changes.push((schedule.record_name(), Some(schedule.to_bytes())));
                    }
                    for id in gone {
                        changes.push((schedule::record_name(id.as_bytes()), None));
                    }
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
                    for (name, value) in &changes {
                        transaction
                            .change_record(name, value.as_deref())
                            .map_err(|error| failed(&error))?;
                    }
                    transaction.commit().map_err(|error| failed(&error))?;
                    Ok(())
                })?;
            Ok((dead, gone.to_vec()))
        })?;
        let (dead, gone) = forgotten;
        table.forget_dead(&dead);
        for name in gone {
            table.queue.remove_trigger(name.as_bytes());
        }
        Ok(())
    }
}
