//! The additions of the compiler's rewriting to a module, found once by their names.

use ferrite_cache::RewindPlan;
use wasmtime::{AsContextMut, Extern, Func, Global, Instance, Memory, Module, ModuleExport, Val};

use super::WASM_PAGE;
use crate::error::MissingExport;

/// The additions of the compiler's rewriting to a module.
#[derive(Clone)]
pub struct RewindExports {
    memory: Option<ModuleExport>,
    /// The globals that calls can change, including those of growth.
    globals: Box<[ModuleExport]>,
    growth: Option<Growth>,
    start: Option<ModuleExport>,
}

/// The globals of virtual growth.
#[derive(Clone, Copy)]
struct Growth {
    pages: ModuleExport,
    pages_max: ModuleExport,
    refused: ModuleExport,
}

impl RewindExports {
    /// Finds every export that `plan` names.
    ///
    /// # Errors
    ///
    /// Names the first missing export.
    pub fn find(module: &Module, plan: &RewindPlan) -> Result<Self, MissingExport> {
        let find = |name: String| module.get_export_index(&name).ok_or(MissingExport { name });
        let growth = if plan.grows {
            Some(Growth {
                pages: find("__ferrite_pages".to_owned())?,
                pages_max: find("__ferrite_pages_max".to_owned())?,
                refused: find("__ferrite_pages_refused".to_owned())?,
            })
        } else {
            None
        };
        let mut globals = (0..plan.globals)
            .map(|ordinal| find(format!("__ferrite_global_{ordinal}")))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(growth) = &growth {
            globals.extend([growth.pages, growth.refused]);
        }
        let start = if plan.start {
            Some(find("__ferrite_start".to_owned())?)
        } else {
            None
        };
        Ok(Self {
            memory: module.get_export_index("__ferrite_memory"),
            globals: globals.into(),
            growth,
            start,
        })
    }

    /// Returns the linear memory of an instance, exported under its own or another name.
    pub fn memory(&self, store: impl AsContextMut, instance: &Instance) -> Option<Memory> {
        instance
            .get_module_export(store, self.memory.as_ref()?)
            .and_then(Extern::into_memory)
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

    /// Lowers the maximum that an instance may grow to, in pages.
    ///
    /// # Errors
    ///
    /// Fails if the global differs from what the rewriting creates.
    pub fn limit_growth(
        &self,
        mut store: impl AsContextMut,
        instance: &Instance,
        memory_bytes_max: u64,
    ) -> wasmtime::Result<()> {
        let Some(global) = self.growth_global(&mut store, instance, |growth| growth.pages_max)
        else {
            return Ok(());
        };
        let pages = u32::try_from(memory_bytes_max / WASM_PAGE).unwrap_or(u32::MAX);
        let declared = global.get(&mut store).unwrap_i32().cast_unsigned();
        if pages < declared {
            global.set(&mut store, Val::I32(pages.cast_signed()))?;
        }
        Ok(())
    }

    /// Returns the bytes of memory that the guest sees, if they differ from the real size.
    pub fn memory_bytes(&self, mut store: impl AsContextMut, instance: &Instance) -> Option<u64> {
        let pages = self.growth_global(&mut store, instance, |growth| growth.pages)?;
        let pages = pages.get(&mut store).unwrap_i32().cast_unsigned();
        Some(u64::from(pages) * WASM_PAGE)
    }

    /// Returns the bytes that the guest requested when its growth was last refused.
    pub fn refused_bytes(&self, mut store: impl AsContextMut, instance: &Instance) -> Option<u64> {
        /// Pages of the largest possible memory.
        const PAGES_MAX: u32 = 65_536;
        let refused = self.growth_global(&mut store, instance, |growth| growth.refused)?;
        let pages = refused.get(&mut store).unwrap_i32().cast_unsigned();
        (pages > 0).then(|| u64::from(pages.min(PAGES_MAX)) * WASM_PAGE)
    }

    /// Returns the global that remembers refused growth; it is 0 when a call begins.
    pub fn refused(&self, store: impl AsContextMut, instance: &Instance) -> Option<Global> {
        self.growth_global(store, instance, |growth| growth.refused)
    }

    fn growth_global(
        &self,
        store: impl AsContextMut,
        instance: &Instance,
        which: impl FnOnce(&Growth) -> ModuleExport,
    ) -> Option<Global> {
        instance
            .get_module_export(store, &which(self.growth.as_ref()?))
            .and_then(Extern::into_global)
    }
}
