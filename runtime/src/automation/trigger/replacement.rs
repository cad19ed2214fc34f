//! Puts the triggers that a module declares in the place of earlier ones, together with the module's function.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::definition::Trigger;
use super::table::{ActiveTrigger, TRIGGERS_MAX, Triggers};
use crate::error::{CallError, Code};
use crate::registry::record::FunctionName;

/// Triggers of one function that are about to take the place of others. Nobody adds or removes triggers until
/// this is dropped.
pub(crate) struct TriggerReplacement<'t> {
    table: &'t Triggers,
    _changing: MutexGuard<'t, ()>,
    before: Arc<Vec<Arc<ActiveTrigger>>>,
    after: Vec<Arc<ActiveTrigger>>,
    /// Triggers that are new, or differ from the one of the same name.
    pub(crate) put: Vec<Trigger>,
    /// Names of those that go.
    pub(crate) gone: Vec<FunctionName>,
}

impl Triggers {
    /// Prepares to put `wanted` in the place of what the module of this function declared before. What stays
    /// the same keeps its figures.
    ///
    /// # Errors
    ///
    /// A name is taken, or there are too many.
    pub(crate) fn prepare_declared(
        &self,
        function: &[u8],
        wanted: Vec<Trigger>,
    ) -> Result<TriggerReplacement<'_>, CallError> {
        let changing = self.changing.lock();
        let before = self.active.load_full();
        let (mine, mut after): (Vec<_>, Vec<_>) = before
            .iter()
            .cloned()
            .partition(|one| one.trigger.is_declared_by(function));
        let mut put = Vec::new();
        let mut gone: Vec<_> = mine.iter().map(|one| one.trigger.name.clone()).collect();
        for trigger in wanted {
            if after.iter().any(|one| one.trigger.name == trigger.name) {
                return Err(CallError::new(
                    Code::Exists,
                    format!(
                        "the module declares a trigger that gets the name \"{0}\", and there is one of that name; WASM.TRIGGER DEL {0} removes it",
                        trigger.name
                    ),
                ));
            }
            gone.retain(|name| *name != trigger.name);
            match mine.iter().find(|one| one.trigger.does_the_same(&trigger)) {
                Some(same) => after.push(Arc::clone(same)),
                None => {
                    after.push(Arc::new(ActiveTrigger::new(trigger.clone())?));
                    put.push(trigger);
                }
            }
        }
        if after.len() > TRIGGERS_MAX.max(before.len()) {
            return Err(CallError::limit(format!(
                "with those that the module declares there would be {} triggers, the limit is {TRIGGERS_MAX}; remove some with WASM.TRIGGER DEL",
                after.len()
            )));
        }
        after.sort_by(|one, other| one.trigger.name.cmp(&other.trigger.name));
        Ok(TriggerReplacement {
            table: self,
            _changing: changing,
            before,
            after,
            put,
            gone,
        })
    }
}

impl TriggerReplacement<'_> {
    /// Replaces the triggers while `publish` replaces the function. Returns its result.
    ///
    /// No write passes without both the triggers before and those after: while the function changes, all of
    /// them may refuse writes. One whose function is not there yet, or no more, is asked again after that.
    pub(crate) fn activate<R>(&self, publish: impl FnOnce() -> R) -> R {
        let Self {
            table,
            before,
            after,
            ..
        } = self;
        let mut switches = table.switches.lock();
        let new_guards = after
            .iter()
            .filter(|one| one.is_guard() && !before.iter().any(|known| Arc::ptr_eq(known, one)));
        let during: Vec<_> = before.iter().chain(new_guards).cloned().collect();
        table.set(Arc::new(during));
        let published = publish();
        table.set(Arc::new(after.clone()));
        *switches += 1;
        published
    }
}
