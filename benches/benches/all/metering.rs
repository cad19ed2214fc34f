//! Cost of counting for the guest's own code: the same module without it, with the meter of the compiler here, and
//! with wasmtime's fuel and epochs, which it replaces.
//!
//! The Rust example `json_patch` parses, changes and writes a document; it is skipped unless `cargo xtask examples`
//! has built it.

use std::hint::black_box;

use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use ferrite_cache::{METER_FUEL_EXPORT, METER_START_EXPORT, Profile};
use wasmtime::{Caller, Engine, Extern, Instance, Linker, Memory, Module, Store, TypedFunc, Val};

/// The kernels, with the numbers that they are called with.
const KERNELS: &[(&str, &str, i64)] = &[
    (
        "a tight loop",
        include_str!("../../functions/sum.wat"),
        100_000,
    ),
    (
        "small functions that call each other",
        include_str!("../../functions/kernels/calls.wat"),
        100_000,
    ),
];

const JSON: &str = "../target/examples/json_patch.wasm";

/// The change of the document.
const PATCH: &str = r#"[{"op":"replace","path":"/items/7/price","value":12.5},{"op":"add","path":"/items/0/tags/-","value":"new"},{"op":"remove","path":"/items/3"}]"#;

/// Ways to count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Never,
    ByTheMeter,
    ByFuelAndEpochs,
}

impl Counted {
    const ALL: [(&str, Self); 3] = [
        ("not counted", Self::Never),
        ("metered", Self::ByTheMeter),
        ("fuel and epochs of wasmtime", Self::ByFuelAndEpochs),
    ];
}

/// Keys, arguments and values of the host that the example sees.
#[derive(Default)]
struct Host {
    document: Vec<u8>,
    /// The last result, which the guest reads on by `take`.
    long: Vec<u8>,
}

pub(crate) fn bench(criterion: &mut Criterion) {
    for (name, text, number) in KERNELS {
        let wasm = wat::parse_str(text).expect("the kernel is well-formed");
        let mut group = criterion.benchmark_group(format!("meter/{name}"));
        each(&mut group, &wasm, |store, instance| {
            let run: TypedFunc<i64, i64> = instance
                .get_typed_func(&mut *store, "run")
                .expect("the kernel exports it");
            Box::new(move |store| {
                black_box(run.call(store, black_box(*number)).expect("it returns"));
            })
        });
        group.finish();
    }
    let Ok(wasm) = std::fs::read(JSON) else {
        return;
    };
    let mut group = criterion.benchmark_group("meter/JSON is parsed, changed and written");
    each(&mut group, &wasm, |store, instance| {
        if let Ok(start) = instance.get_typed_func::<(), ()>(&mut *store, "_initialize") {
            start.call(&mut *store, ()).expect("it returns");
        }
        let run: TypedFunc<(), ()> = instance
            .get_typed_func(&mut *store, "json_patch")
            .expect("the example exports it");
        Box::new(move |store| run.call(store, ()).expect("it returns"))
    });
    group.finish();
}

/// A call of a module in its store.
type Call = Box<dyn Fn(&mut Store<Host>)>;

/// Measures a call of the module, counted in each way.
fn each(
    group: &mut BenchmarkGroup<'_, WallTime>,
    wasm: &[u8],
    call: impl Fn(&mut Store<Host>, &Instance) -> Call,
) {
    for (how, counted) in Counted::ALL {
        let (mut store, instance) = instance(wasm, counted);
        let call = call(&mut store, &instance);
        // The example must have done its work.
        call(&mut store);
        group.bench_function(how, |bencher| {
            bencher.iter(|| {
                refill(&mut store, &instance, counted);
                call(&mut store);
            });
        });
    }
}

/// Gives so much fuel that it never ends.
fn refill(store: &mut Store<Host>, instance: &Instance, counted: Counted) {
    match counted {
        Counted::Never => {}
        Counted::ByTheMeter => {
            let fuel = instance
                .get_global(&mut *store, METER_FUEL_EXPORT)
                .expect("the meter exports it");
            fuel.set(store, Val::I64(1 << 60)).expect("it is an i64");
        }
        Counted::ByFuelAndEpochs => {
            store.set_fuel(1 << 60).expect("fuel is counted");
            store.set_epoch_deadline(1 << 40);
        }
    }
}

/// Instantiates a module with a host of one document.
fn instance(wasm: &[u8], counted: Counted) -> (Store<Host>, Instance) {
    let mut config = Profile::native().compiler_config();
    if counted == Counted::ByFuelAndEpochs {
        config.consume_fuel(true).epoch_interruption(true);
    }
    let engine = Engine::new(&config).expect("this machine is a target");
    let metered = ferrite_compiler::meter::meter(wasm).expect("the module is valid");
    let code = match counted {
        Counted::ByTheMeter => metered.wasm.as_slice(),
        _ => wasm,
    };
    let module = Module::new(&engine, code).expect("the module is valid");
    let host = Host {
        document: document(),
        ..Host::default()
    };
    let mut store = Store::new(&engine, host);
    if counted == Counted::ByFuelAndEpochs {
        store.set_fuel(1 << 60).expect("fuel is counted");
        store.set_epoch_deadline(1 << 40);
    }
    let instance = linker(&engine, &module)
        .instantiate(&mut store, &module)
        .expect("the host has what it imports");
    refill(&mut store, &instance, counted);
    if let Some(start) = instance.get_func(&mut store, METER_START_EXPORT) {
        start.call(&mut store, &[], &mut []).expect("it returns");
    }
    (store, instance)
}

/// A document of some two kilobytes.
fn document() -> Vec<u8> {
    let item = |number: u32| {
        format!(
            r#"{{"id":{number},"name":"item {number}","price":{}.25,"tags":["a","b \"quoted\"","c"],"stock":{{"here":{},"there":{}}}}}"#,
            number * 3,
            number % 7,
            number * 11
        )
    };
    let items: Vec<String> = (0..20).map(item).collect();
    format!(
        r#"{{"items":[{}],"total":20,"open":true}}"#,
        items.join(",")
    )
    .into_bytes()
}

fn memory(caller: &mut Caller<'_, Host>) -> Memory {
    caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .expect("the guest exports it")
}

/// Writes a result as the guest ABI has it, and keeps it for `take`.
fn give(caller: &mut Caller<'_, Host>, result: Vec<u8>, buffer: i32, capacity: i32) -> i32 {
    let count = result.len().min(capacity as usize);
    let memory = memory(caller);
    memory
        .write(&mut *caller, buffer as usize, &result[..count])
        .expect("the buffer is the guest's");
    let len = result.len() as i32;
    caller.data_mut().long = result;
    len
}

/// The host functions that the example needs; others trap.
fn linker(engine: &Engine, module: &Module) -> Linker<Host> {
    let mut linker = Linker::new(engine);
    let names = |_: Caller<'_, Host>| 1_i32;
    let add = |linker: wasmtime::Result<&mut Linker<Host>>| {
        linker.map(drop).expect("each has a name of its own");
    };
    add(linker.func_wrap("ferrite", "key_count", names));
    add(linker.func_wrap("ferrite", "arg_count", names));
    add(linker.func_wrap(
        "ferrite",
        "key",
        |mut caller: Caller<'_, Host>, _: i32, buffer: i32, capacity: i32| {
            give(&mut caller, b"document".to_vec(), buffer, capacity)
        },
    ));
    add(linker.func_wrap(
        "ferrite",
        "arg",
        |mut caller: Caller<'_, Host>, _: i32, buffer: i32, capacity: i32| {
            give(&mut caller, PATCH.as_bytes().to_vec(), buffer, capacity)
        },
    ));
    add(linker.func_wrap(
        "ferrite",
        "get",
        |mut caller: Caller<'_, Host>, _: i32, _: i32, buffer: i32, capacity: i32| {
            let document = caller.data().document.clone();
            give(&mut caller, document, buffer, capacity)
        },
    ));
    add(linker.func_wrap(
        "ferrite",
        "take",
        |mut caller: Caller<'_, Host>, buffer: i32, offset: i32, len: i32| {
            let long = &caller.data().long;
            let rest: Vec<u8> = long[offset as usize..]
                .iter()
                .take(len as usize)
                .copied()
                .collect();
            memory(&mut caller)
                .write(&mut caller, buffer as usize, &rest)
                .expect("the buffer is the guest's");
            rest.len() as i32
        },
    ));
    add(linker.func_wrap(
        "ferrite",
        "set",
        |_: Caller<'_, Host>, _: i32, _: i32, _: i32, len: i32, _: i32, _: i64| {
            assert!(len > 1000, "the example stores the document");
            0_i32
        },
    ));
    add(linker.func_wrap(
        "ferrite",
        "reply_bulk",
        |_: Caller<'_, Host>, _: i32, len: i32| assert!(len > 1000, "it replies the document"),
    ));
    linker
        .define_unknown_imports_as_traps(module)
        .expect("the rest is not called");
    linker
}
