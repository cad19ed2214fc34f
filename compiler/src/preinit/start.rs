//! Runs the start of a module in an interpreter and reads the resulting state.

use std::collections::HashMap;

use ferrite_cache::Digest;
use ferrite_cache::javascript::StartFault;
use ferrite_wasm_abi::{INITIALIZE_EXPORT, MEMORY_EXPORT};
use wasmi::{
    CompilationMode, Config, Engine, Extern, Instance, Linker, Module, Store, StoreLimitsBuilder,
    TrapCode, Val,
};
use wasmparser::ValType;
use wasmtime_wizer::{InstanceState, SnapshotVal};

use super::RandomBytes;
use super::host::{self, PreinitHost};

/// Fuel of a start, about one unit per instruction: some seconds of interpretation. The start of Go
/// takes about a hundredth of it.
const FUEL_MAX: u64 = 1_000_000_000;

/// Most memory after a start, in bytes. The artifact stores all of it that is not zero.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// Prefix of the names under which the instrumented module exports its state.
const STATE_PREFIX: &str = "__wizer_";

/// Globals and memories after a start, by the names that the instrumented module gave them.
pub(crate) struct State {
    globals: HashMap<String, Val>,
    memories: HashMap<String, Vec<u8>>,
}

/// Limits of a start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartLimits {
    /// About the number of instructions.
    pub(crate) fuel_max: u64,
    /// Bytes of memory.
    pub(crate) memory_bytes_max: usize,
}

impl Default for StartLimits {
    fn default() -> Self {
        Self {
            fuel_max: FUEL_MAX,
            memory_bytes_max: MEMORY_BYTES_MAX,
        }
    }
}

/// An instance in the interpreter whose start has run.
pub(crate) struct Started {
    store: Store<PreinitHost>,
    instance: Instance,
    limits: StartLimits,
}

impl Started {
    /// Instantiates an instrumented module, which runs its start function, and calls its initialiser.
    ///
    /// # Errors
    ///
    /// The reason why the module stays as it is.
    pub(crate) fn new(
        wasm: &[u8],
        random_bytes: RandomBytes,
        source: Digest,
        limits: StartLimits,
    ) -> Result<Self, String> {
        let mut config = Config::default();
        config
            .consume_fuel(true)
            .compilation_mode(CompilationMode::Lazy);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, wasm)
            .map_err(|error| format!("the interpreter does not take it: {error}"))?;
        let store_limits = StoreLimitsBuilder::new()
            .memory_size(limits.memory_bytes_max)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(
            &engine,
            PreinitHost::new(store_limits, random_bytes, source),
        );
        store.limiter(|host| &mut host.limits);
        store
            .set_fuel(limits.fuel_max)
            .map_err(|error| error.to_string())?;
        let mut linker = Linker::new(&engine);
        host::add(&mut linker, &module).map_err(|error| error.to_string())?;
        let instance = linker
            .instantiate_and_start(&mut store, &module)
            .map_err(|error| reason(&error, limits))?;
        let mut started = Self {
            store,
            instance,
            limits,
        };
        started.call_if_there(INITIALIZE_EXPORT)?;
        Ok(started)
    }

    fn call_if_there(&mut self, name: &str) -> Result<(), String> {
        match self.instance.get_func(&self.store, name) {
            Some(function) => function
                .call(&mut self.store, &[], &mut [])
                .map_err(|error| reason(&error, self.limits)),
            None => Ok(()),
        }
    }

    /// Calls an export that takes addresses and lengths and returns an address.
    ///
    /// # Errors
    ///
    /// The reason why it did not return one.
    pub(crate) fn call_with_addresses(
        &mut self,
        name: &str,
        arguments: &[u32],
    ) -> Result<u32, String> {
        let function = self
            .instance
            .get_func(&self.store, name)
            .ok_or_else(|| format!("it does not export `{name}`"))?;
        let arguments: Vec<Val> = arguments
            .iter()
            .map(|value| Val::I32(value.cast_signed()))
            .collect();
        let mut results = [Val::I32(0)];
        function
            .call(&mut self.store, &arguments, &mut results)
            .map_err(|error| reason(&error, self.limits))?;
        match results {
            [Val::I32(value)] => Ok(value.cast_unsigned()),
            _ => Err(format!("`{name}` returns no address")),
        }
    }

    /// The exported memory.
    pub(crate) fn exported_memory(&mut self) -> &mut [u8] {
        let memory = self.instance.get_memory(&self.store, MEMORY_EXPORT);
        memory.map_or(&mut [], |memory| memory.data_mut(&mut self.store))
    }

    /// Reads what the start left.
    pub(crate) fn state(&self) -> State {
        State::read(&self.store, self.instance)
    }
}

/// Describes why a start did not finish.
fn reason(error: &wasmi::Error, limits: StartLimits) -> String {
    let StartLimits {
        fuel_max,
        memory_bytes_max,
    } = limits;
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => format!("its start {}", StartFault::Fuel { fuel_max }),
        Some(TrapCode::GrowthOperationLimited) => {
            format!("its start {}", StartFault::Memory { memory_bytes_max })
        }
        Some(_) => format!("its start ends in a trap: {error}"),
        None => match error.kind() {
            wasmi::errors::ErrorKind::Host(refusal) => format!("its start {refusal}"),
            _ => format!("its start cannot be run: {error}"),
        },
    }
}

impl State {
    fn read(store: &Store<PreinitHost>, instance: Instance) -> Self {
        let mut state = Self {
            globals: HashMap::new(),
            memories: HashMap::new(),
        };
        for export in instance.exports(store) {
            let name = export.name();
            if !name.starts_with(STATE_PREFIX) {
                continue;
            }
            match export.clone().into_extern() {
                Extern::Global(global) => {
                    state.globals.insert(name.to_owned(), global.get(store));
                }
                Extern::Memory(memory) => {
                    let bytes = memory.data(store).to_vec();
                    state.memories.insert(name.to_owned(), bytes);
                }
                Extern::Table(_) | Extern::Func(_) => {}
            }
        }
        state
    }
}

impl InstanceState for State {
    async fn global_get(&mut self, name: &str, ty: ValType) -> SnapshotVal {
        match (self.globals.get(name), ty) {
            (Some(Val::I32(value)), _) => SnapshotVal::I32(*value),
            (Some(Val::I64(value)), _) => SnapshotVal::I64(*value),
            (Some(Val::F32(value)), _) => SnapshotVal::F32(value.to_bits()),
            (Some(Val::F64(value)), _) => SnapshotVal::F64(value.to_bits()),
            (Some(Val::V128(value)), _) => SnapshotVal::V128(value.as_u128()),
            // Mutable references were refused earlier, and every global was read.
            (Some(Val::FuncRef(_) | Val::ExternRef(_)) | None, _) => {
                unreachable!("{name} of type {ty} is no number that was read")
            }
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        contents(self.memories.get(name).map_or(&[], Vec::as_slice));
    }
}
