//! Bounds how deep a guest's calls nest, through the global of the compiler's counting code.

use ferrite_cache::{DEPTH_REMAINING_EXPORT, DEPTH_START_EXPORT, DepthPlan};
use wasmtime::{AsContextMut, Extern, Func, Instance, Module, ModuleExport, Val};

use crate::error::MissingExport;
use crate::policy::limits::Limits;

/// The exports that the compiler's counting added to a module.
pub(crate) struct DepthExports {
    /// The global with the depth that is left.
    left: ModuleExport,
    start: Option<ModuleExport>,
}

impl DepthExports {
    /// Finds the exports that `plan` names.
    ///
    /// # Errors
    ///
    /// The first missing export.
    pub(crate) fn find(module: &Module, plan: &DepthPlan) -> Result<Self, MissingExport> {
        let find = |name: &str| {
            module
                .get_export_index(name)
                .ok_or_else(|| MissingExport { name: name.into() })
        };
        Ok(Self {
            left: find(DEPTH_REMAINING_EXPORT)?,
            start: plan.start.then(|| find(DEPTH_START_EXPORT)).transpose()?,
        })
    }

    /// Sets how deep the calls of a new instance may nest. An entry that returns restores the value.
    ///
    /// # Errors
    ///
    /// The global does not have the type that the counting gives it.
    pub(crate) fn limit(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
        depth_max: Option<u32>,
    ) -> wasmtime::Result<()> {
        let left = depth_max.unwrap_or(Limits::STACK_DEPTH_END);
        match instance
            .get_module_export(&mut store, &self.left)
            .and_then(Extern::into_global)
        {
            Some(global) => global.set(&mut store, Val::I32(left.cast_signed())),
            None => Err(wasmtime::Error::msg(format!(
                "the artifact exports {DEPTH_REMAINING_EXPORT}, and it is no global"
            ))),
        }
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

    /// Returns true if the guest trapped because its calls would have nested too deep.
    pub(crate) fn exceeded(&self, mut store: impl AsContextMut, instance: &Instance) -> bool {
        instance
            .get_module_export(&mut store, &self.left)
            .and_then(Extern::into_global)
            .is_some_and(|global| matches!(global.get(&mut store), Val::I32(-1)))
    }
}
