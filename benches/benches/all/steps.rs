//! The steps of a no-op call on the engine alone: the lower bound for the figures of `call`.

use criterion::Criterion;
use ferrite_cache::Profile;
use wasmtime::{Engine, InstanceAllocationStrategy, Linker, Module, Store};

use crate::bed::block_on;

/// A function with the memory and the data that functions in real languages have.
const MODULE: &str =
    r#"(module (memory (export "memory") 2) (data (i32.const 1024) "data") (func (export "run")))"#;

pub(crate) fn bench(criterion: &mut Criterion) {
    // As the runtime's engine, and able to compile.
    let mut config = Profile::native().compiler_config();
    config.allocation_strategy(InstanceAllocationStrategy::pooling());
    let engine = Engine::new(&config).expect("an engine");
    let source = wat::parse_str(MODULE).expect("a module");
    let module = Module::new(&engine, source).expect("a valid module");
    let prepared = Linker::new(&engine)
        .instantiate_pre(&module)
        .expect("no imports");
    let store = || Store::new(&engine, ());
    let mut group = criterion.benchmark_group("step");
    group.bench_function("store", |bencher| bencher.iter(store));
    group.bench_function("store, instance", |bencher| {
        bencher.iter(|| {
            let mut store = store();
            block_on(prepared.instantiate_async(&mut store)).expect("room");
            store
        });
    });
    group.bench_function("store, instance, call", |bencher| {
        bencher.iter(|| {
            let mut store = store();
            let instance = block_on(prepared.instantiate_async(&mut store)).expect("room");
            let run = instance
                .get_typed_func::<(), ()>(&mut store, "run")
                .expect("an export");
            block_on(run.call_async(&mut store, ())).expect("a plain return");
            store
        });
    });
    let mut warm = store();
    let instance = block_on(prepared.instantiate_async(&mut warm)).expect("room");
    let run = instance
        .get_typed_func::<(), ()>(&mut warm, "run")
        .expect("an export");
    group.bench_function("fuel, call", |bencher| {
        bencher.iter(|| {
            block_on(run.call_async(&mut warm, ())).expect("a plain return");
        });
    });
    group.finish();
}
