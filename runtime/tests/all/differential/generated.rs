//! One generated module, called through the product in every way and on two other engines.
//!
//! The others are plain wasmtime and the interpreter wasmi: the module as it is, without metering,
//! rewriting and pre-initialisation. Results, traps, memory, globals and sizes of tables must be the
//! same, call by call.

use arbitrary::Unstructured;
use ferrite_cache::{Profile, VerifiedArtifact};
use ferrite_compiler::{Compiler, PreinitChoice, SourceLimits};
use ferrite_protocol::resp::Protocol;
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::policy::function_spec::Isolation;
use wasm_smith::{Config, Module as SmithModule};
use wasmtime::{Engine, Instance, Module, Store, Trap};

use crate::support::adapter::Adapter;
use crate::support::number::{Number, numbers};
use crate::support::{Host, TestFunction, spec};

/// Loop iterations and calls after which a module ends itself, so that each call ends.
const STEPS: u32 = 300;

/// Calls of each module.
const CALLS: usize = 10;

/// Counts of what was compared.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) modules: u64,
    pub(crate) calls: u64,
    pub(crate) traps: u64,
    pub(crate) rewound: u64,
    /// Modules whose start ran when they were compiled.
    pub(crate) preinitialised: u64,
    /// Calls with a result that depends on calls before them.
    pub(crate) by_state: u64,
}

/// Everything that modules run on.
pub(crate) struct Machine {
    host: Host,
    /// Without and with pre-initialisation.
    compilers: [Compiler; 2],
    plain: Engine,
    interpreter: wasmi::Engine,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let compilers = [PreinitChoice::Never, PreinitChoice::Always].map(|choice| {
            Compiler::new(&Profile::native(), SourceLimits::default())
                .expect("this machine is a target")
                .with_preinit(choice)
        });
        let mut config = wasmi::Config::default();
        config.set_max_recursion_depth(10_000);
        Self {
            host: Host::with_instances(8),
            compilers,
            plain: Engine::default(),
            interpreter: wasmi::Engine::new(&config),
        }
    }
}

/// The end of a call: its results as bits and its trap.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Returned(Vec<Number>),
    Trapped(&'static str),
}

/// Messages of traps that all engines have, as replies show them.
const TRAPS: &[(&str, Trap)] = &[
    ("unreachable", Trap::UnreachableCodeReached),
    ("out of bounds memory access", Trap::MemoryOutOfBounds),
    ("out of bounds table access", Trap::TableOutOfBounds),
    ("uninitialized element", Trap::IndirectCallToNull),
    ("indirect call type mismatch", Trap::BadSignature),
    ("integer overflow", Trap::IntegerOverflow),
    ("integer divide by zero", Trap::IntegerDivisionByZero),
    (
        "invalid conversion to integer",
        Trap::BadConversionToInteger,
    ),
    ("call stack exhausted", Trap::StackOverflow),
];

/// The message of a stack that is used up, which happens elsewhere on each engine.
const EXHAUSTED: &str = "call stack exhausted";

fn message(trap: Trap) -> &'static str {
    TRAPS.iter().find(|(_, known)| *known == trap).map_or_else(
        || panic!("{trap:?} is no trap of such modules"),
        |(text, _)| text,
    )
}

/// An entry of the module: its name, and numbers of its parameters' types.
struct Entry {
    name: String,
    params: Vec<Number>,
}

/// Generates a module, with entries for its functions that also return a digest of what they leave.
fn generate(input: &mut Unstructured<'_>, references: bool) -> Option<(Vec<u8>, Vec<Entry>)> {
    let config = Config {
        max_imports: 0,
        allow_start_export: true,
        export_everything: true,
        max_memories: 1,
        max_tables: 2,
        min_funcs: 1,
        max_funcs: 10,
        max_data_segments: 6,
        bulk_memory_enabled: references,
        reference_types_enabled: references,
        multi_value_enabled: true,
        simd_enabled: true,
        relaxed_simd_enabled: false,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        extended_const_enabled: true,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        canonicalize_nans: true,
        memory_max_size_required: true,
        max_memory32_bytes: 4 << 16,
        table_max_size_required: true,
        max_table_elements: 100,
        ..Config::default()
    };
    let mut module = SmithModule::new(config, input).ok()?;
    module.ensure_termination(STEPS).ok()?;
    let wasm = module.to_bytes();
    let mut adapter = Adapter::new(&wasm)?;
    let digest = adapter.digest();
    let mut entries = Vec::new();
    for (_, kind, index) in adapter.exports.clone() {
        if kind != wasmparser::ExternalKind::Func {
            continue;
        }
        if let Some(function) = adapter.with_numbers(index, Some(digest)) {
            let name = format!("entry{}", entries.len());
            adapter.export(&name, function);
            let params = adapter.signature(function).map_or(&[][..], |ty| &ty.params);
            let params = params.iter().map(|ty| zero(*ty)).collect();
            entries.push(Entry { name, params });
        }
    }
    adapter.export("digest", digest);
    Some((adapter.finish(), entries))
}

fn zero(ty: wasmparser::ValType) -> Number {
    match ty {
        wasmparser::ValType::I32 => Number::I32(0),
        wasmparser::ValType::I64 => Number::I64(0),
        wasmparser::ValType::F32 => Number::F32(0),
        wasmparser::ValType::F64 => Number::F64(0),
        _ => panic!("entries take numbers alone"),
    }
}

/// Returns a number of the same type, often an edge of something.
fn choose(like: Number, input: &mut Unstructured<'_>) -> Number {
    const EDGES: &[u64] = &[
        0,
        1,
        4,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0x7f80_0001,
        0x7fc0_0000,
        0x3f80_0000,
        0x7ff0_0000_0000_0001,
        0xfff8_0000_0000_0000,
        0x3ff0_0000_0000_0000,
        1 << 63,
        u64::MAX,
    ];
    let bits = match input.ratio(2_u8, 3_u8) {
        Ok(true) => *input.choose(EDGES).unwrap_or(&0),
        _ => input.arbitrary().unwrap_or(7),
    };
    match like {
        Number::I32(_) => Number::I32(bits as u32),
        Number::I64(_) => Number::I64(bits),
        Number::F32(_) => Number::F32(bits as u32),
        Number::F64(_) => Number::F64(bits),
    }
}

/// An instance in plain wasmtime, or the trap that ended its start.
struct Plain(Result<(Store<()>, Instance), &'static str>);

impl Plain {
    fn new(engine: &Engine, module: &Module) -> Self {
        let mut store = Store::new(engine, ());
        Self(match Instance::new(&mut store, module, &[]) {
            Ok(instance) => Ok((store, instance)),
            Err(error) => Err(of_error(&error)),
        })
    }

    fn call(&mut self, entry: &str, args: &[Number]) -> Outcome {
        let (store, instance) = match &mut self.0 {
            Ok(parts) => parts,
            Err(trap) => return Outcome::Trapped(trap),
        };
        let function = instance.get_func(&mut *store, entry).expect("an entry");
        let args: Vec<_> = args.iter().map(|arg| arg.to_val()).collect();
        let ty = function.ty(&*store);
        let mut results: Vec<_> = ty
            .results()
            .map(|ty| ty.default_value().expect("numbers have one"))
            .collect();
        match function.call(&mut *store, &args, &mut results) {
            Ok(()) => Outcome::Returned(results.iter().map(Number::of_val).collect()),
            Err(error) => Outcome::Trapped(of_error(&error)),
        }
    }
}

fn of_error(error: &wasmtime::Error) -> &'static str {
    match error.downcast_ref::<Trap>() {
        Some(trap) => message(*trap),
        None => panic!("{error:#}"),
    }
}

/// An instance in the interpreter, or the trap that ended its start.
struct Interpreted(Result<(wasmi::Store<()>, wasmi::Instance), &'static str>);

impl Interpreted {
    fn new(engine: &wasmi::Engine, module: &wasmi::Module) -> Self {
        let mut store = wasmi::Store::new(engine, ());
        let linker = wasmi::Linker::new(engine);
        Self(match linker.instantiate_and_start(&mut store, module) {
            Ok(instance) => Ok((store, instance)),
            Err(error) => Err(of_interpreter(&error)),
        })
    }

    fn call(&mut self, entry: &str, args: &[Number]) -> Outcome {
        let (store, instance) = match &mut self.0 {
            Ok(parts) => parts,
            Err(trap) => return Outcome::Trapped(trap),
        };
        let function = instance.get_func(&*store, entry).expect("an entry");
        let args: Vec<_> = args
            .iter()
            .map(|arg| match *arg {
                Number::I32(bits) => wasmi::Val::I32(bits.cast_signed()),
                Number::I64(bits) => wasmi::Val::I64(bits.cast_signed()),
                Number::F32(bits) => wasmi::Val::F32(wasmi::F32::from_bits(bits)),
                Number::F64(bits) => wasmi::Val::F64(wasmi::F64::from_bits(bits)),
            })
            .collect();
        let ty = function.ty(&*store);
        let mut results: Vec<_> = ty
            .results()
            .iter()
            .map(|ty| wasmi::Val::default(*ty))
            .collect();
        match function.call(&mut *store, &args, &mut results) {
            Ok(()) => Outcome::Returned(
                results
                    .iter()
                    .map(|value| match value {
                        wasmi::Val::I32(value) => Number::I32(value.cast_unsigned()),
                        wasmi::Val::I64(value) => Number::I64(value.cast_unsigned()),
                        wasmi::Val::F32(value) => Number::F32(value.to_bits()),
                        wasmi::Val::F64(value) => Number::F64(value.to_bits()),
                        _ => panic!("entries return numbers alone"),
                    })
                    .collect(),
            ),
            Err(error) => Outcome::Trapped(of_interpreter(&error)),
        }
    }
}

fn of_interpreter(error: &wasmi::Error) -> &'static str {
    use wasmi::TrapCode;
    let trap = match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => Trap::UnreachableCodeReached,
        Some(TrapCode::MemoryOutOfBounds) => Trap::MemoryOutOfBounds,
        Some(TrapCode::TableOutOfBounds) => Trap::TableOutOfBounds,
        Some(TrapCode::IndirectCallToNull) => Trap::IndirectCallToNull,
        Some(TrapCode::BadSignature) => Trap::BadSignature,
        Some(TrapCode::IntegerOverflow) => Trap::IntegerOverflow,
        Some(TrapCode::IntegerDivisionByZero) => Trap::IntegerDivisionByZero,
        Some(TrapCode::BadConversionToInteger) => Trap::BadConversionToInteger,
        Some(TrapCode::StackOverflow) => Trap::StackOverflow,
        // A segment that does not fit is reported without a trap's code.
        _ if error.to_string().contains("memory") => Trap::MemoryOutOfBounds,
        _ if error.to_string().contains("table") => Trap::TableOutOfBounds,
        _ => panic!("{error}"),
    };
    message(trap)
}

/// A module as one function of the product.
struct Tested {
    what: String,
    isolation: Isolation,
    function: TestFunction,
}

impl Machine {
    fn artifact(&self, compiler: &Compiler, wasm: &[u8], seen: &mut Seen) -> VerifiedArtifact {
        let compiled = compiler
            .compile(wasm)
            .unwrap_or_else(|error| panic!("a valid module is refused: {error}"));
        if compiled.preinit == ferrite_compiler::Preinit::Done {
            seen.preinitialised += 1;
        }
        VerifiedArtifact::in_memory(compiled.manifest.clone(), compiled.code())
            .expect("the manifest is the artifact's own")
    }

    fn functions(&self, wasm: &[u8], seen: &mut Seen) -> Vec<Tested> {
        let mut functions = Vec::new();
        for (index, compiler) in self.compilers.iter().enumerate() {
            let artifact = self.artifact(compiler, wasm, seen);
            for isolation in Isolation::ALL {
                let mut spec = spec();
                spec.isolation = isolation;
                spec.limits.fuel_max = 1 << 40;
                spec.limits.time_max = std::time::Duration::from_secs(3600);
                spec.pool.instances_max = 1;
                let function = self.host.runtime.hold(&artifact, spec);
                functions.push(Tested {
                    what: format!("{isolation}, preinit {}", index == 1),
                    isolation,
                    function: function.expect("the module is within the limits"),
                });
            }
        }
        functions
    }

    async fn call(&self, function: &TestFunction, entry: &str, args: &[Number]) -> (String, u64) {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        let name = format!("test.{entry}");
        let request = CallRequest::new(name.as_bytes(), &[], &args);
        let (reply, outcome) = self.host.request(Protocol::Resp3, function, &request).await;
        (reply, outcome.fuel)
    }

    /// Generates a module from the input and compares its calls. Panics where they differ.
    pub(crate) async fn compare(&self, input: &[u8], seen: &mut Seen) {
        let mut choices = Unstructured::new(input);
        let references = choices.ratio(1_u8, 6_u8).unwrap_or(false);
        let Some((wasm, entries)) = generate(&mut choices, references) else {
            return;
        };
        let refused = self.compilers[0].compile(&wasm).err();
        // With references come those to values of the host, which modules may not use.
        if refused.is_some_and(|error| error.to_string().contains("externref")) {
            return;
        }
        if entries.is_empty() {
            return;
        }
        seen.modules += 1;
        let starts = has_start(&wasm);
        let functions = self.functions(&wasm, seen);
        seen.rewound += u64::from(functions.iter().any(|tested| {
            tested.isolation == Isolation::Rewind
                && tested.function.effective_isolation().isolation == Isolation::Rewind
        }));
        let plain = Module::new(&self.plain, &wasm).expect("wasmtime takes it");
        let interpreted = wasmi::Module::new(&self.interpreter, &wasm).expect("wasmi takes it");
        let mut reused = Plain::new(&self.plain, &plain);
        let mut reused_interpreted = Interpreted::new(&self.interpreter, &interpreted);
        for _ in 0..CALLS {
            let entry = match choices.choose(&entries) {
                Ok(entry) => entry,
                Err(_) => &entries[0],
            };
            let args: Vec<_> = entry
                .params
                .iter()
                .map(|param| choose(*param, &mut choices))
                .collect();
            let name = &entry.name;
            let fresh = Plain::new(&self.plain, &plain).call(name, &args);
            let other = Interpreted::new(&self.interpreter, &interpreted).call(name, &args);
            let later = reused.call(name, &args);
            let later_other = reused_interpreted.call(name, &args);
            let exhausted = Outcome::Trapped(EXHAUSTED);
            if [&fresh, &other, &later, &later_other].contains(&&exhausted) {
                return;
            }
            assert_eq!(fresh, other, "wasmtime and wasmi: {name} {args:?}");
            assert_eq!(
                later, later_other,
                "wasmtime and wasmi, again: {name} {args:?}"
            );
            seen.calls += 1;
            seen.by_state += u64::from(fresh != later);
            let mut fuel: [Option<u64>; 2] = [None; 2];
            for (index, tested) in functions.iter().enumerate() {
                let expected = match tested.isolation {
                    Isolation::Reuse => &later,
                    Isolation::Fresh | Isolation::Rewind => &fresh,
                };
                let (reply, used) = self.call(&tested.function, name, &args).await;
                let what = &tested.what;
                let same = match expected {
                    Outcome::Returned(results) => {
                        numbers(&reply, results).as_deref() == Some(results.as_slice())
                    }
                    Outcome::Trapped("out of bounds memory access")
                        if reply.contains("the stack in the module's memory is used up") =>
                    {
                        // The first global looks like the end of a stack in the memory.
                        true
                    }
                    Outcome::Trapped(text) => reply.starts_with("-TRAP ") && reply.contains(text),
                };
                assert!(
                    same,
                    "{what}: {name} {args:?} gave {reply}, not {expected:?}"
                );
                // Only a fresh call pays for the start of its instance.
                if !starts
                    && tested.isolation != Isolation::Reuse
                    && matches!(expected, Outcome::Returned(_))
                {
                    let first = fuel[index / Isolation::ALL.len()].get_or_insert(used);
                    assert_eq!(*first, used, "{what}: fuel of {name} {args:?}");
                }
                assert_eq!(tested.function.rewinding_differences(), 0, "{what}");
            }
            seen.traps += u64::from(matches!(fresh, Outcome::Trapped(_)));
            if matches!(later, Outcome::Trapped(_)) {
                reused = Plain::new(&self.plain, &plain);
                reused_interpreted = Interpreted::new(&self.interpreter, &interpreted);
                for tested in &functions {
                    if tested.isolation == Isolation::Reuse {
                        tested.function.drain();
                    }
                }
            }
        }
    }
}

/// Returns true if a module has a start function.
fn has_start(wasm: &[u8]) -> bool {
    wasmparser::Parser::new(0)
        .parse_all(wasm)
        .any(|payload| matches!(payload, Ok(wasmparser::Payload::StartSection { .. })))
}

/// Returns the input of a number, the same on every machine (Vigna's splitmix64).
pub(crate) fn input(number: u64) -> Vec<u8> {
    let mut state = number;
    let mut bytes = Vec::with_capacity(16 << 10);
    while bytes.len() < 16 << 10 {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes
}
