//! The additions of the compiler's rewriting to a module, found once by their names.

use ferrite_cache::RewindPlan;
use wasmtime::{AsContextMut, Extern, Func, Global, Instance, Memory, Module, ModuleExport, Val};

use crate::error::MissingExport;

/// Returns the name under which the rewriting exports a global.
pub(super) fn global_name(ordinal: u32) -> String {
    format!("__ferrite_global_{ordinal}")
}

/// The additions of the compiler's rewriting to a module.
#[derive(Clone)]
pub struct RewindExports {
    memory: Option<ModuleExport>,
    /// The globals that calls can change.
    globals: Box<[ModuleExport]>,
    start: Option<ModuleExport>,
}

impl RewindExports {
    /// Finds every export that `plan` names.
    ///
    /// # Errors
    ///
    /// Names the first missing export.
    pub fn find(module: &Module, plan: &RewindPlan) -> Result<Self, MissingExport> {
        let find = |name: String| module.get_export_index(&name).ok_or(MissingExport { name });
        let globals = (0..plan.globals)
            .map(|ordinal| find(global_name(ordinal)))
            .collect::<Result<_, _>>()?;
        let start = if plan.start {
            Some(find("__ferrite_start".to_owned())?)
        } else {
            None
        };
        Ok(Self {
            memory: module.get_export_index("__ferrite_memory"),
            globals,
            start,
        })
    }

    /// Returns the linear memory of an instance, exported under its own or another name.
    pub fn memory(&self, store: impl AsContextMut, instance: &Instance) -> Option<Memory> {
        instance
            .get_module_export(store, self.memory.as_ref()?)
            .and_then(Extern::into_memory)
    }

    /// Returns true if there is a start function that the host has to run.
    #[must_use]
    pub fn has_start(&self) -> bool {
        self.start.is_some()
    }

    /// Returns the start function, which the host has to run.
    pub fn start(&self, store: impl AsContextMut, instance: &Instance) -> Option<Func> {
        instance
            .get_module_export(store, self.start.as_ref()?)
            .and_then(Extern::into_func)
    }

    /// Returns the globals that calls can change.
    pub fn globals(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
    ) -> impl Iterator<Item = Global> {
        self.globals.iter().filter_map(move |export| {
            instance
                .get_module_export(&mut store, export)
                .and_then(Extern::into_global)
        })
    }

    /// Returns true if the stack that a compiler keeps in the linear memory has run out.
    ///
    /// LLVM's compilers keep the address of its end in the first global, in multiples of 16. The stack
    /// grows down from there, and linkers put it at the start of the memory, so that a function that
    /// needs more than is left moves it below 0.
    pub fn linear_stack_is_used_up(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
    ) -> bool {
        /// More than any one function takes, in bytes.
        const BELOW_MAX: i32 = 1 << 26;
        let pointer = self.globals(&mut store, instance).next();
        let pointer = pointer.map(|global| global.get(&mut store));
        matches!(pointer, Some(Val::I32(at)) if (-BELOW_MAX..0).contains(&at) && at % 16 == 0)
    }
}
