//! The metering pass, held against wasmtime's own count of instructions and against plain modules.

mod checks;
mod hints;
mod modules;
mod offsets;
mod ranges;

use ferrite_cache::{METER_FUEL_EXPORT, METER_HOOK_EXPORT, METER_START_EXPORT};
use ferrite_compiler::meter::{MeterError, meter};
use wasmtime::{
    Config, Engine, Extern, ExternType, Func, Global, Instance, Linker, Memory, Module, Ref, Store,
    Trap, Val,
};

use modules::{KERNELS, kernel, random};

/// Units in a slice; small, so that many end.
const SLICE: i64 = 500;

/// Instructions after which a plain module is stopped.
const PLAIN_FUEL: u64 = 50_000;

/// Fuel used by a metered module.
#[derive(Default)]
struct Used {
    /// Units of slices that are over.
    granted: i64,
    slices: u64,
    /// Units after which it is stopped.
    max: i64,
    /// Most units used beyond a slice when the host was called.
    late: i64,
    /// Times that the host was called while the module's global `returning` was not 0, if it has one.
    returning: u64,
}

struct Metered {
    store: Store<Used>,
    instance: Instance,
    fuel: Global,
}

impl Metered {
    fn new(engine: &Engine, wasm: &[u8], max: i64) -> wasmtime::Result<Self> {
        let module = Module::new(engine, wasm)?;
        let mut store = Store::new(
            engine,
            Used {
                max,
                ..Used::default()
            },
        );
        let instance = stubs(engine, &module)?.instantiate(&mut store, &module)?;
        let fuel = instance
            .get_global(&mut store, METER_FUEL_EXPORT)
            .expect("the fuel is exported");
        let hook = Func::wrap(&mut store, move |mut caller: wasmtime::Caller<'_, Used>| {
            let left = fuel.get(&mut caller).i64().expect("it is an i64");
            let returning = caller
                .get_export("returning")
                .and_then(Extern::into_global)
                .is_some_and(|global| global.get(&mut caller).i32() != Some(0));
            let used = caller.data_mut();
            used.returning += u64::from(returning);
            used.slices += 1;
            used.late = used.late.max(-left);
            let so_far = used.granted - left;
            if so_far > used.max {
                return Err(Trap::OutOfFuel.into());
            }
            used.granted = so_far + SLICE;
            fuel.set(&mut caller, Val::I64(SLICE))
        });
        let table = instance
            .get_table(&mut store, METER_HOOK_EXPORT)
            .expect("the hook's table is exported");
        table.set(&mut store, 0, Ref::Func(Some(hook)))?;
        let mut metered = Self {
            store,
            instance,
            fuel,
        };
        if let Some(start) = metered
            .instance
            .get_func(&mut metered.store, METER_START_EXPORT)
        {
            start.call(&mut metered.store, &[], &mut [])?;
        }
        Ok(metered)
    }

    fn used(&mut self) -> i64 {
        let left = self.fuel.get(&mut self.store).i64().expect("it is an i64");
        self.store.data().granted - left
    }
}

/// Functions that answer zeros for whatever a module imports.
fn stubs<T: 'static>(engine: &Engine, module: &Module) -> wasmtime::Result<Linker<T>> {
    let mut linker = Linker::new(engine);
    for import in module.imports() {
        if let ExternType::Func(ty) = import.ty() {
            let results: Vec<_> = ty.results().collect();
            linker.func_new(
                import.module(),
                import.name(),
                ty.clone(),
                move |_, _, out| {
                    for (out, ty) in out.iter_mut().zip(&results) {
                        *out = Val::default_for_ty(ty).expect("every number has a zero");
                    }
                    Ok(())
                },
            )?;
        }
    }
    Ok(linker)
}

fn engines() -> (Engine, Engine) {
    let mut plain = Config::new();
    plain
        .consume_fuel(true)
        .cranelift_nan_canonicalization(true);
    let mut metered = Config::new();
    metered.cranelift_nan_canonicalization(true);
    (
        Engine::new(&plain).expect("this machine is a target"),
        Engine::new(&metered).expect("this machine is a target"),
    )
}

fn metered_bytes(wasm: &[u8]) -> Vec<u8> {
    meter(wasm).expect("the module is valid").wasm
}

/// A value as bits, so that NaNs are equal to themselves.
fn bits(value: &Val) -> String {
    match value {
        Val::F32(bits) => format!("f32 {bits:x}"),
        Val::F64(bits) => format!("f64 {bits:x}"),
        Val::FuncRef(function) => format!("function {}", function.is_some()),
        other => format!("{other:?}"),
    }
}

/// Returns the part of a trap that both report: its kind.
fn kind(error: &wasmtime::Error) -> String {
    error
        .downcast_ref::<Trap>()
        .map_or_else(|| format!("{error:#}"), |trap| format!("{trap:?}"))
}

/// Everything that a module's exports show.
fn shown<T>(store: &mut Store<T>, instance: &Instance) -> Vec<String> {
    let exports: Vec<(String, Extern)> = instance
        .exports(&mut *store)
        .map(|export| (export.name().to_owned(), export.into_extern()))
        .collect();
    let mut shown = Vec::new();
    for (name, export) in exports {
        if name.starts_with("__ferrite_") {
            continue;
        }
        match export {
            Extern::Global(global) => {
                shown.push(format!("{name}: {}", bits(&global.get(&mut *store))));
            }
            Extern::Memory(memory) => shown.push(format!("{name}: {}", contents(store, memory))),
            Extern::Table(table) => shown.push(format!("{name}: {}", table.size(&*store))),
            _ => {}
        }
    }
    shown
}

fn contents<T>(store: &Store<T>, memory: Memory) -> String {
    let bytes = memory.data(store);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    format!("{} bytes {hash:x}", bytes.len())
}

/// Runs every exported function of a module in turn, plain and metered, and compares.
///
/// Returns how many calls were compared to their end.
fn compare(plain: &Engine, engine: &Engine, wasm: &[u8], what: &str) -> usize {
    // Wasmtime pays for ranges by another measure, and more.
    let same_measure = !what.starts_with("ranges");
    let plain_fuel = if same_measure { PLAIN_FUEL } else { 1 << 40 };
    let Ok(module) = Module::new(plain, wasm) else {
        return 0;
    };
    let mut store = Store::new(plain, ());
    store.set_fuel(plain_fuel).expect("fuel is counted");
    let linker = stubs(plain, &module).expect("the imports are functions");
    let instance = linker.instantiate(&mut store, &module);
    let other = Metered::new(engine, &metered_bytes(wasm), 16 * PLAIN_FUEL as i64);
    let (instance, mut other) = match (instance, other) {
        (Ok(instance), Ok(other)) => (instance, other),
        (Err(error), _) if kind(&error) == "OutOfFuel" => return 0,
        (Err(error), Err(other)) => {
            assert_eq!(kind(&error), kind(&other), "{what}");
            return 0;
        }
        (one, other) => panic!(
            "{what}: {:?} and {:?}",
            one.err().map(|error| kind(&error)),
            other.err().map(|error| kind(&error))
        ),
    };
    let functions: Vec<String> = module
        .exports()
        .filter(|export| export.ty().func().is_some())
        .map(|export| export.name().to_owned())
        .collect();
    let mut compared = 0;
    for name in functions {
        let function = instance
            .get_func(&mut store, &name)
            .expect("it is exported");
        let ty = function.ty(&store);
        let arguments: Vec<Val> = ty
            .params()
            .map(|ty| Val::default_for_ty(&ty).expect("every type has a zero"))
            .collect();
        let zeros = || {
            ty.results()
                .map(|ty| Val::default_for_ty(&ty).expect("every type has a zero"))
                .collect::<Vec<_>>()
        };
        let (mut results, mut others) = (zeros(), zeros());
        store.set_fuel(plain_fuel).expect("fuel is counted");
        let ran = function.call(&mut store, &arguments, &mut results);
        let instructions = plain_fuel - store.get_fuel().expect("fuel is counted");
        let before = other.used();
        // One that goes on for ever is stopped, once it has certainly used as much.
        other.store.data_mut().max = before + 16 * PLAIN_FUEL as i64;
        let metered = other
            .instance
            .get_func(&mut other.store, &name)
            .expect("it is exported");
        let ran_metered = metered.call(&mut other.store, &arguments, &mut others);
        let used = other.used() - before;
        match (ran, ran_metered) {
            (Err(error), _) if kind(&error) == "OutOfFuel" => {
                assert!(
                    used >= instructions as i64,
                    "{what} {name}: {used} units for {instructions} instructions"
                );
                return compared;
            }
            (Ok(()), Ok(())) => {
                let [results, others] =
                    [&results, &others].map(|all| all.iter().map(bits).collect::<Vec<_>>());
                assert_eq!(results, others, "{what} {name}");
            }
            (Err(error), Err(other)) if kind(&error) == kind(&other) => {}
            (one, other) => panic!(
                "{what} {name}: {:?} and {:?}",
                one.err().map(|error| kind(&error)),
                other.err().map(|error| kind(&error))
            ),
        }
        assert!(
            !same_measure || used >= instructions as i64,
            "{what} {name}: {used} units for {instructions} instructions"
        );
        assert_eq!(
            shown(&mut store, &instance),
            shown(&mut other.store, &other.instance),
            "{what} {name}"
        );
        compared += 1;
    }
    compared
}

#[test]
fn random_modules_do_what_they_did_and_never_more_than_they_paid_for() {
    let (plain, metered) = engines();
    let mut compared = 0;
    for number in 0..300 {
        if let Some(wasm) = random(number)
            && meter(&wasm).is_ok()
        {
            compared += compare(&plain, &metered, &wasm, &format!("module {number}"));
        }
    }
    assert!(compared > 150, "{compared} calls were compared");
}

#[test]
fn kernels_do_what_they_did_and_never_more_than_they_paid_for() {
    let (plain, metered) = engines();
    for (what, body) in KERNELS {
        compare(&plain, &metered, &kernel(body), what);
    }
}

/// Units and instructions of the function `run`.
fn units_and_instructions(body: &str) -> (i64, i64) {
    let (plain, engine) = engines();
    let wasm = kernel(body);
    let module = Module::new(&plain, &wasm).expect("the kernel is valid");
    let mut store = Store::new(&plain, ());
    store.set_fuel(1 << 40).expect("fuel is counted");
    let instance = Instance::new(&mut store, &module, &[]).expect("there are no imports");
    let run = instance
        .get_func(&mut store, "run")
        .expect("it is exported");
    let before = store.get_fuel().expect("fuel is counted");
    let mut results = vec![Val::I32(0); run.ty(&store).results().len()];
    run.call(&mut store, &[], &mut results).expect("it returns");
    let instructions = before - store.get_fuel().expect("fuel is counted");
    let mut metered =
        Metered::new(&engine, &metered_bytes(&wasm), 1 << 40).expect("the kernel is valid");
    let before = metered.used();
    let run = metered
        .instance
        .get_func(&mut metered.store, "run")
        .expect("it is exported");
    run.call(&mut metered.store, &[], &mut results)
        .expect("it returns");
    (metered.used() - before, instructions as i64)
}

#[test]
fn units_are_close_to_instructions() {
    for (what, body) in KERNELS {
        if !body.contains(r#"(export "run") (result"#) {
            continue;
        }
        let (units, instructions) = units_and_instructions(body);
        assert!(
            units <= 3 * instructions + 50,
            "{what}: {units} units for {instructions} instructions"
        );
    }
}

#[test]
fn code_that_all_ways_come_by_is_paid_with_what_comes_before_it() {
    for (what, most_charges) in [
        ("a switch of many arms that meet", 2),
        ("arms of equal length before long code", 2),
    ] {
        let (_, body) = KERNELS
            .iter()
            .find(|(name, _)| *name == what)
            .expect("it is a kernel");
        let charges = without_one_charge(&metered_bytes(&kernel(body))).len();
        assert!(charges <= most_charges, "{what}: {charges} charges");
        let (units, instructions) = units_and_instructions(body);
        assert!(
            units * 10 <= instructions * 11,
            "{what}: {units} units for {instructions} instructions"
        );
    }
}

#[test]
fn the_same_call_costs_the_same() {
    for (what, body) in KERNELS {
        if body.contains(r#"(export "run") (result"#) {
            assert_eq!(
                units_and_instructions(body),
                units_and_instructions(body),
                "{what}"
            );
        }
    }
}

#[test]
fn slices_end_on_time() {
    let (_, engine) = engines();
    for (what, body) in KERNELS {
        let wasm = metered_bytes(&kernel(body));
        let mut metered = Metered::new(&engine, &wasm, 100_000).expect("the kernel is valid");
        let names: Vec<String> = metered
            .instance
            .exports(&mut metered.store)
            .filter(|export| export.clone().into_func().is_some())
            .map(|export| export.name().to_owned())
            .filter(|name| !name.starts_with("__ferrite_"))
            .collect();
        for name in names {
            let function = metered
                .instance
                .get_func(&mut metered.store, &name)
                .expect("it is exported");
            let ty = function.ty(&metered.store);
            let arguments = vec![Val::I32(30); ty.params().len()];
            let mut results = vec![Val::I32(0); ty.results().len()];
            let _ = function.call(&mut metered.store, &arguments, &mut results);
            // A piece of a range is the most that is paid at once.
            let most = 100_000 + SLICE + (256 << 10) / 8;
            assert!(metered.used() <= most, "{what} {name}: {}", metered.used());
            metered.store.data_mut().granted = 0;
            metered
                .fuel
                .set(&mut metered.store, Val::I64(0))
                .expect("the fuel can be set");
        }
    }
}

/// The metered modules that lack one charge each: its amount is 0.
fn without_one_charge(wasm: &[u8]) -> Vec<Vec<u8>> {
    let mut places = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        let Ok(wasmparser::Payload::CodeSectionEntry(body)) = payload else {
            continue;
        };
        let mut operators = body.get_operators_reader().expect("it is valid");
        let mut after_get = false;
        while !operators.eof() {
            let (operator, at) = operators.read_with_offset().expect("it is valid");
            let end = operators.original_position();
            if let (true, wasmparser::Operator::I64Const { value: 1.. }) = (after_get, &operator) {
                places.push((at, end));
            }
            after_get = matches!(operator, wasmparser::Operator::GlobalGet { .. });
        }
    }
    places
        .into_iter()
        .map(|(at, end)| {
            let mut mutant = wasm.to_vec();
            // A zero of the same length: all bytes but the last say that more follow.
            for byte in &mut mutant[at + 1..end] {
                *byte = 0x80;
            }
            mutant[end - 1] = 0;
            mutant
        })
        .collect()
}

#[test]
fn a_charge_that_is_missing_is_found() {
    let (plain, engine) = engines();
    let mut mutants = 0;
    for (what, body) in KERNELS {
        if !body.contains(r#"(export "run") (result"#) || what.contains("dead code") {
            continue;
        }
        let wasm = kernel(body);
        let module = Module::new(&plain, &wasm).expect("the kernel is valid");
        let mut store = Store::new(&plain, ());
        store.set_fuel(1 << 40).expect("fuel is counted");
        let instance = Instance::new(&mut store, &module, &[]).expect("there are no imports");
        let mut instructions = 0;
        if let Some(run) = instance.get_func(&mut store, "run") {
            let before = store.get_fuel().expect("fuel is counted");
            run.call(&mut store, &[], &mut [Val::I32(0)])
                .expect("it returns");
            instructions = (before - store.get_fuel().expect("fuel is counted")) as i64;
        }
        let mut used = Vec::new();
        for mutant in without_one_charge(&metered_bytes(&wasm)) {
            let mut metered = Metered::new(&engine, &mutant, 1 << 40).expect("the mutant is valid");
            let before = metered.used();
            let run = metered
                .instance
                .get_func(&mut metered.store, "run")
                .expect("it is exported");
            run.call(&mut metered.store, &[], &mut [Val::I32(0)])
                .expect("it returns");
            used.push(metered.used() - before);
        }
        // Not every charge is due to `run`; the one that pays most is, and without it the rest is
        // less than what ran.
        let least = used.iter().copied().min().expect("there is a charge");
        assert!(
            least < instructions,
            "{what}: {least} units for {instructions} instructions without a charge"
        );
        mutants += used.len();
    }
    assert!(mutants > 15, "{mutants}");
}

#[test]
fn names_that_metering_needs_are_refused() {
    for name in [METER_FUEL_EXPORT, METER_HOOK_EXPORT, METER_START_EXPORT] {
        let wasm = kernel(&format!(r#"(func (export "{name}"))"#));
        let error = meter(&wasm).expect_err("the name is taken");
        assert!(matches!(error, MeterError::Reserved { name: found } if found == name));
        assert!(error.to_string().contains(name), "{error}");
    }
}
