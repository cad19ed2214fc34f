//! Runs the start of a module in an interpreter and reads the resulting state.

use std::collections::HashMap;

use ferrite_cache::Digest;
use ferrite_wasm_abi::INITIALIZE_EXPORT;
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
pub(super) struct State {
    globals: HashMap<String, Val>,
    memories: HashMap<String, Vec<u8>>,
}

/// Instantiates the module, which runs its start function, and calls its initialiser.
///
/// # Errors
///
/// The reason why the module stays as it is.
pub(super) fn run(wasm: &[u8], random_bytes: RandomBytes, source: Digest) -> Result<State, String> {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .compilation_mode(CompilationMode::Lazy);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, wasm)
        .map_err(|error| format!("the interpreter does not take it: {error}"))?;
    let limits = StoreLimitsBuilder::new()
        .memory_size(MEMORY_BYTES_MAX)
        .trap_on_grow_failure(true)
        .build();
    let mut store = Store::new(&engine, PreinitHost::new(limits, random_bytes, source));
    store.limiter(|host| &mut host.limits);
    store
        .set_fuel(FUEL_MAX)
        .map_err(|error| error.to_string())?;
    let mut linker = Linker::new(&engine);
    host::add(&mut linker, &module).map_err(|error| error.to_string())?;
    let instance = linker
        .instantiate_and_start(&mut store, &module)
        .map_err(|error| reason(&error))?;
    if let Some(initialize) = instance.get_func(&store, INITIALIZE_EXPORT) {
        initialize
            .call(&mut store, &[], &mut [])
            .map_err(|error| reason(&error))?;
    }
    Ok(State::read(&store, instance))
}

/// Describes why a start did not finish.
fn reason(error: &wasmi::Error) -> String {
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => {
            format!("its start runs for more than {FUEL_MAX} instructions")
        }
        Some(TrapCode::GrowthOperationLimited) => {
            format!("its start takes more than {MEMORY_BYTES_MAX} bytes of memory")
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
