//! An instance of the JavaScript engine on its native code, for one evaluation.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use ferrite_cache::javascript::{
    EVALUATION_FUEL_MAX, EVALUATION_MEMORY_BYTES_MAX, EngineInstance, StartFault,
};
use ferrite_cache::{
    Image, ImageValue, METER_FUEL_EXPORT, METER_HOOK_EXPORT, Rewind, VerifiedArtifact,
    WASM_PAGE_BYTES, engine_base,
};
use wasmtime::{
    Caller, Engine, Extern, ExternType, Func, Global, Instance, Linker, Memory, Module, Ref,
    ResourceLimiter, Store, Trap, Val,
};

use crate::instance::deserialize::load;
use crate::instance::stack_depth::DepthExports;
use crate::rewind::exports::RewindExports;

/// Units of fuel between two looks at the limits.
const SLICE: u64 = 10_000_000;

/// An instance of the engine that has evaluated nothing yet.
pub(super) struct NativeInstance {
    store: Store<Host>,
    instance: Instance,
    memory: Memory,
    /// The globals that the program can change.
    globals: Vec<Global>,
    /// The memory that all programs on the engine begin with.
    base: Vec<u8>,
    time_max: Duration,
}

/// The host's side of an evaluation: its limits.
struct Host {
    fuel_used: u64,
    deadline: Instant,
}

/// The reason why the host ended the evaluation.
#[derive(Clone, Debug, thiserror::Error)]
enum Ended {
    #[error("it used up its fuel")]
    Fuel,
    #[error("it took too long")]
    Time,
    #[error("it took too much memory")]
    Memory,
    #[error("it calls {0}")]
    HostCall(String),
}

/// The engine in the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// It is not what the compiler makes of the engine.
    #[error("the JavaScript engine in the cache {0}; compile it again")]
    Unfit(&'static str),
    /// Its image cannot be read.
    #[error("the image of the JavaScript engine cannot be read")]
    Read(#[from] io::Error),
    /// Its image is damaged, or that of another engine.
    #[error("the image of the JavaScript engine does not fit")]
    Image(#[from] ferrite_cache::ImageError),
    /// Wasmtime refuses it.
    #[error("the JavaScript engine cannot be started")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<wasmtime::Error> for EngineError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Start(error.into_boxed_dyn_error())
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > EVALUATION_MEMORY_BYTES_MAX {
            return Err(Ended::Memory.into());
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

impl NativeInstance {
    /// Makes an instance of the engine that `artifact` is, for an evaluation of at most `time_max`.
    pub(super) fn new(
        engine: &Engine,
        artifact: &VerifiedArtifact,
        time_max: Duration,
    ) -> Result<Self, EngineError> {
        let manifest = artifact.manifest();
        let (Some(info), Some(file), Rewind::Allowed(plan)) =
            (&manifest.image, artifact.image(), &manifest.module.rewind)
        else {
            return Err(EngineError::Unfit("has no image"));
        };
        let mut bytes = vec![0; usize::try_from(info.len).unwrap_or_default()];
        file.read_exact_at(&mut bytes, 0)?;
        let image = Image::decode(&bytes, info.len)?;
        image.check(info, &manifest.module)?;
        let base = engine_base::read(artifact.file(), artifact.len())?;
        let base = base.ok_or(EngineError::Unfit("has no base"))?;
        let module = load(engine, artifact).map_err(|error| EngineError::Start(Box::new(error)))?;
        let host = Host {
            fuel_used: 0,
            deadline: Instant::now() + time_max,
        };
        let mut store = Store::new(engine, host);
        store.limiter(|host| host);
        let instance = refusing(engine, &module)?.instantiate(&mut store, &module)?;
        let unfit = |_| EngineError::Unfit("lacks exports that its manifest promises");
        let exports = RewindExports::find(&module, plan).map_err(unfit)?;
        if let Some(plan) = &manifest.module.stack_depth {
            let depth = DepthExports::find(&module, plan).map_err(unfit)?;
            depth.limit(&mut store, &instance, None)?;
        }
        let globals: Vec<_> = exports.globals(&mut store, &instance).collect();
        let Some(memory) = exports.memory(&mut store, &instance) else {
            return Err(EngineError::Unfit("has no memory"));
        };
        connect_meter(&mut store, &instance)?;
        let contents = &bytes[image.contents_start()..];
        fill(&mut store, memory, &globals, &image, contents, &base)?;
        Ok(Self {
            store,
            instance,
            memory,
            globals,
            base,
            time_max,
        })
    }

    /// Returns the engine's base.
    pub(super) fn base(&self) -> &[u8] {
        &self.base
    }

    /// Returns the number of pages of WebAssembly in the memory.
    pub(super) fn memory_pages(&self) -> u32 {
        let pages = self.memory.size(&self.store);
        u32::try_from(pages).unwrap_or(u32::MAX)
    }

    /// Returns the values of the globals that the program can change.
    pub(super) fn globals(&mut self) -> Result<Vec<ImageValue>, EngineError> {
        let store = &mut self.store;
        let value = |global: &Global| match global.get(&mut *store) {
            Val::I32(value) => Some(ImageValue::I32(value.cast_unsigned())),
            Val::I64(value) => Some(ImageValue::I64(value.cast_unsigned())),
            Val::F32(bits) => Some(ImageValue::F32(bits)),
            Val::F64(bits) => Some(ImageValue::F64(bits)),
            Val::V128(value) => Some(ImageValue::V128(value.as_u128())),
            _ => None,
        };
        let values: Option<Vec<_>> = self.globals.iter().map(value).collect();
        values.ok_or(EngineError::Unfit("has globals that are no numbers"))
    }

    /// Describes why a call did not return.
    fn reason(&self, error: &wasmtime::Error) -> String {
        match (error.downcast_ref::<Ended>(), error.downcast_ref::<Trap>()) {
            (Some(Ended::Fuel), _) => {
                let fuel_max = EVALUATION_FUEL_MAX;
                format!("its start {}", StartFault::Fuel { fuel_max })
            }
            (Some(Ended::Memory), _) => {
                let memory_bytes_max = EVALUATION_MEMORY_BYTES_MAX;
                format!("its start {}", StartFault::Memory { memory_bytes_max })
            }
            (Some(Ended::HostCall(name)), _) => {
                format!("its start {}", StartFault::HostCall { name })
            }
            (Some(Ended::Time), _) => format!(
                "its start runs for more than {:?}; precompile the program with ferrite-wasmc compile",
                self.time_max
            ),
            (None, Some(trap)) => format!("its start ends in a trap: {trap}"),
            (None, None) => format!("its start cannot be run: {error:#}"),
        }
    }
}

impl EngineInstance for NativeInstance {
    fn call(&mut self, export: &str, arguments: &[u32]) -> Result<u32, String> {
        let function = self
            .instance
            .get_func(&mut self.store, export)
            .ok_or_else(|| format!("it does not export `{export}`"))?;
        let arguments: Vec<Val> = arguments
            .iter()
            .map(|value| Val::I32(value.cast_signed()))
            .collect();
        let mut results = [Val::I32(0)];
        function
            .call(&mut self.store, &arguments, &mut results)
            .map_err(|error| self.reason(&error))?;
        match results {
            [Val::I32(value)] => Ok(value.cast_unsigned()),
            _ => Err(format!("`{export}` returns no address")),
        }
    }

    fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }
}

/// Links a module with functions that end whoever calls them: no top level has a call's data.
fn refusing(engine: &Engine, module: &Module) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    // A module may import one function twice.
    linker.allow_shadowing(true);
    for import in module.imports() {
        if let ExternType::Func(ty) = import.ty() {
            let name = import.name().to_owned();
            linker.func_new(import.module(), import.name(), ty, move |_, _, _| {
                Err(Ended::HostCall(name.clone()).into())
            })?;
        }
    }
    Ok(linker)
}

/// Grants the first slice, and looks at the limits after each.
fn connect_meter(store: &mut Store<Host>, instance: &Instance) -> Result<(), EngineError> {
    let counter = instance
        .get_global(&mut *store, METER_FUEL_EXPORT)
        .ok_or(EngineError::Unfit("does not count its fuel"))?;
    let table = instance
        .get_table(&mut *store, METER_HOOK_EXPORT)
        .ok_or(EngineError::Unfit("does not count its fuel"))?;
    let slice = Val::I64(SLICE.cast_signed());
    counter.set(&mut *store, slice)?;
    let hook = Func::wrap(&mut *store, move |mut caller: Caller<'_, Host>| {
        let counter = caller
            .get_export(METER_FUEL_EXPORT)
            .and_then(Extern::into_global);
        let counter = counter.ok_or(Ended::Fuel)?;
        // It is negative by what was run beyond the slice.
        let beyond = match counter.get(&mut caller) {
            Val::I64(left) => left.saturating_neg().max(0).cast_unsigned(),
            _ => 0,
        };
        let host = caller.data_mut();
        host.fuel_used = host.fuel_used.saturating_add(SLICE).saturating_add(beyond);
        if host.fuel_used >= EVALUATION_FUEL_MAX {
            return Err(Ended::Fuel.into());
        }
        if Instant::now() >= host.deadline {
            return Err(Ended::Time.into());
        }
        counter.set(&mut caller, slice)
    });
    table.set(&mut *store, 0, Ref::Func(Some(hook)))?;
    Ok(())
}

/// Writes an image with its contents into a memory and globals of zeros.
fn fill(
    store: &mut Store<Host>,
    memory: Memory,
    globals: &[Global],
    image: &Image,
    contents: &[u8],
    base: &[u8],
) -> Result<(), EngineError> {
    let pages = u64::from(image.memory_pages);
    let missing = pages.saturating_sub(memory.size(&*store));
    memory.grow(&mut *store, missing)?;
    let data = memory.data_mut(&mut *store);
    if data.len() as u64 != pages * WASM_PAGE_BYTES {
        return Err(EngineError::Unfit("has a memory of another size"));
    }
    image.fill(contents, Some(base), data)?;
    for (number, value) in &image.globals {
        let global = globals
            .get(*number as usize)
            .ok_or(EngineError::Unfit("has fewer globals than its image"))?;
        let value = match *value {
            ImageValue::I32(bits) => Val::I32(bits.cast_signed()),
            ImageValue::I64(bits) => Val::I64(bits.cast_signed()),
            ImageValue::F32(bits) => Val::F32(bits),
            ImageValue::F64(bits) => Val::F64(bits),
            ImageValue::V128(bits) => Val::V128(bits.into()),
        };
        global.set(&mut *store, value)?;
    }
    Ok(())
}
