//! The host's side of a guest's meter: the global that counts its fuel, and the host function that
//! it calls at the end of a slice.

use ferrite_cache::{METER_FUEL_EXPORT, METER_HOOK_EXPORT, METER_START_EXPORT, MeterPlan};
use wasmtime::{
    AsContextMut, Caller, Extern, Func, Instance, Module, ModuleExport, Ref, Store, Val,
};

use crate::call::host_trap::HostTrap;
use crate::call::settlement::{Settlement, settle};
use crate::call::state::StoreData;
use crate::error::MissingExport;
use crate::instance::Mode;
use ferrite_protocol::keyspace::Keyspace;

/// The exports that the compiler's metering pass added to a module.
pub(crate) struct MeterExports {
    fuel: ModuleExport,
    hook: ModuleExport,
    start: Option<ModuleExport>,
}

impl MeterExports {
    /// Finds the exports that `plan` names.
    ///
    /// # Errors
    ///
    /// Names the first missing export.
    pub(crate) fn find(module: &Module, plan: &MeterPlan) -> Result<Self, MissingExport> {
        let find = |name: &str| {
            module
                .get_export_index(name)
                .ok_or_else(|| MissingExport { name: name.into() })
        };
        Ok(Self {
            fuel: find(METER_FUEL_EXPORT)?,
            hook: find(METER_HOOK_EXPORT)?,
            start: plan.start.then(|| find(METER_START_EXPORT)).transpose()?,
        })
    }

    /// Connects a new instance with its call's account, before any of its code runs.
    ///
    /// # Errors
    ///
    /// Fails if the exports differ from what the pass creates.
    pub(crate) fn connect<K: Keyspace>(
        &self,
        store: &mut Store<StoreData<K>>,
        instance: &Instance,
        mode: Mode,
    ) -> wasmtime::Result<()> {
        let not_ours = |name: &str| {
            wasmtime::Error::msg(format!(
                "the artifact exports {name}, and not as metering does"
            ))
        };
        let counter = instance
            .get_module_export(&mut *store, &self.fuel)
            .and_then(Extern::into_global)
            .ok_or_else(|| not_ours(METER_FUEL_EXPORT))?;
        let table = instance
            .get_module_export(&mut *store, &self.hook)
            .and_then(Extern::into_table)
            .ok_or_else(|| not_ours(METER_HOOK_EXPORT))?;
        let hook = match mode {
            Mode::Direct => Func::wrap(&mut *store, first_slice_is_over::<K>),
            Mode::Fiber => {
                Func::wrap_async(&mut *store, |caller: Caller<'_, StoreData<K>>, (): ()| {
                    Box::new(slice_is_over(caller))
                })
            }
        };
        table.set(&mut *store, 0, Ref::Func(Some(hook)))?;
        store.data_mut().fuel.attach(counter);
        Ok(())
    }

    /// Returns true if there is a start function that the host has to run.
    pub(crate) fn has_start(&self) -> bool {
        self.start.is_some()
    }

    /// Returns the start function, which the host has to run.
    pub(crate) fn start(&self, store: impl AsContextMut, instance: &Instance) -> Option<Func> {
        instance
            .get_module_export(store, self.start.as_ref()?)
            .and_then(Extern::into_func)
    }
}

/// Ends a guest that has used up its first slice without its own stack, to run it again on one.
fn first_slice_is_over<K: Keyspace>(mut caller: Caller<'_, StoreData<K>>) -> wasmtime::Result<()> {
    settle(&mut caller)?;
    caller.data_mut().check_stop()?;
    Err(HostTrap::NeedsFiber.into())
}

/// Runs at the end of a slice: ends a guest without fuel or time or that was killed, yields if the
/// guest ran for a turn, and grants the next slice.
async fn slice_is_over<K: Keyspace>(mut caller: Caller<'_, StoreData<K>>) -> wasmtime::Result<()> {
    let Settlement { counter, .. } = settle(&mut caller)?;
    let state = caller.data_mut();
    state.check_stop()?;
    if let Some(turn) = state.turn_of_others() {
        turn.await;
        let state = caller.data_mut();
        state.resume();
        state.check_stop()?;
    }
    let slice = caller.data_mut().fuel.refill();
    counter.set(&mut caller, Val::I64(slice))
}
