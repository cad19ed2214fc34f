//! Short ranges of memory, which metered code moves by itself, beside the instructions that they stand for.

use wasmtime::{Engine, Instance, Memory, Module, Store, Trap, TypedFunc};

use super::modules::kernel;
use super::{engines, kind, metered_bytes};
use ferrite_cache::METER_FUEL_EXPORT;

const FUNCTIONS: &str = r#"(memory (export "memory") 1)
    (func (export "copy") (param i32 i32 i32)
        (memory.copy (local.get 0) (local.get 1) (local.get 2)))
    (func (export "fill") (param i32 i32 i32)
        (memory.fill (local.get 0) (local.get 1) (local.get 2)))"#;

/// Bytes of the memory.
const END: u32 = 65_536;

/// Bytes at each end of it that the ranges touch, if they end within it.
const NEAR: usize = 96;

struct Ranges {
    store: Store<()>,
    memory: Memory,
    functions: [TypedFunc<(u32, u32, u32), ()>; 2],
}

impl Ranges {
    fn new(engine: &Engine, wasm: &[u8]) -> Self {
        let module = Module::new(engine, wasm).expect("the kernel is valid");
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("there are no imports");
        if let Some(fuel) = instance.get_global(&mut store, METER_FUEL_EXPORT) {
            fuel.set(&mut store, wasmtime::Val::I64(1 << 60))
                .expect("it is an i64");
        } else {
            store.set_fuel(1 << 60).expect("fuel is counted");
        }
        let memory = instance
            .get_memory(&mut store, "memory")
            .expect("it is exported");
        let functions = ["copy", "fill"].map(|name| {
            instance
                .get_typed_func(&mut store, name)
                .expect("it is exported")
        });
        Self {
            store,
            memory,
            functions,
        }
    }

    /// Runs one function on a memory of different bytes; returns its trap, and what both ends of the
    /// memory are then.
    fn run(&mut self, function: usize, arguments: (u32, u32, u32)) -> (Option<String>, Vec<u8>) {
        let near = 0..NEAR;
        let far = END as usize - NEAR..END as usize;
        let memory = self.memory.data_mut(&mut self.store);
        for at in near.clone().chain(far.clone()) {
            memory[at] = (at * 7 + at / 256) as u8;
        }
        let ended = self.functions[function].call(&mut self.store, arguments);
        let trap = ended.err().map(|error| kind(&error));
        let memory = self.memory.data(&self.store);
        (trap, [&memory[near], &memory[far]].concat())
    }
}

#[test]
fn short_ranges_are_moved_as_the_instructions_move_them() {
    let (plain, engine) = engines();
    let wasm = kernel(FUNCTIONS);
    let mut plain = Ranges::new(&plain, &wasm);
    let mut metered = Ranges::new(&engine, &metered_bytes(&wasm));
    let near = |end: u32| (end.wrapping_sub(18)..=end.wrapping_add(1)).step_by(3);
    let addresses: Vec<u32> = (0..20)
        .step_by(3)
        .chain(near(END))
        .chain([
            END,
            END + 1,
            u32::MAX - 32,
            u32::MAX - 15,
            u32::MAX - 1,
            u32::MAX,
        ])
        .collect();
    let (mut trapped, mut ended) = (0, 0);
    for length in (0..=20).chain([40, 300_000, u32::MAX]) {
        for &to in &addresses {
            for &from in &addresses {
                for function in [0, 1] {
                    let arguments = (to, from, length);
                    let expected = plain.run(function, arguments);
                    assert_eq!(metered.run(function, arguments), expected, "{arguments:?}");
                    match expected.0 {
                        Some(trap) => {
                            assert_eq!(trap, format!("{:?}", Trap::MemoryOutOfBounds));
                            trapped += 1;
                        }
                        None => ended += 1,
                    }
                }
            }
        }
    }
    assert!(trapped > 2_000 && ended > 2_000, "{trapped} and {ended}");
}
