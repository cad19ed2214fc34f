//! Artifacts load exactly where their profile says they do.

use ferrite_cache::{Baseline, Digest, Profile, Target, VerifiedArtifact};
use wasmtime::{
    Config, Engine, Instance, InstanceAllocationStrategy, Module, ModuleVersionStrategy,
    PoolingAllocationConfig, Store,
};

use crate::fixture::{Example, Fixture};

const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 8) "data")
    (table 1 funcref)
    (elem (i32.const 0) $sum)
    (func $sum (export "sum") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1)))
    (func (export "load") (param i32) (result i32)
        (i32.load8_u (local.get 0)))
    (func (export "blend") (param f64) (result f64)
        (f64x2.extract_lane 1 (f64x2.mul (f64x2.splat (local.get 0)) (f64x2.splat (f64.const 2))))))"#;

fn precompile(profile: &Profile) -> Vec<u8> {
    let wasm = wat::parse_str(MODULE).expect("the text is right");
    Engine::new(&profile.compiler_config())
        .and_then(|engine| engine.precompile_module(&wasm))
        .expect("the module compiles")
}

fn lean(change: impl FnOnce(&mut Config)) -> Engine {
    let mut pooling = PoolingAllocationConfig::new();
    pooling.total_core_instances(2);
    pooling.total_memories(2);
    pooling.total_tables(2);
    pooling.total_stacks(2);
    pooling.max_memory_size(16 << 20);
    let mut config = Profile::native().config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    change(&mut config);
    Engine::new(&config).expect("the engine starts")
}

fn load(engine: &Engine, artifact: &[u8]) -> wasmtime::Result<Module> {
    #[expect(unsafe_code, reason = "the artifact was made just above")]
    // SAFETY: `precompile` made the artifact, and nobody has touched it since.
    unsafe {
        Module::deserialize(engine, artifact)
    }
}

#[test]
fn one_engine_loads_and_runs_the_artifacts_of_every_candidate() {
    let engine = lean(|_| {});
    for profile in Profile::candidates() {
        let module = load(&engine, &precompile(&profile)).expect("a candidate loads");
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("it has no imports");
        let sum = instance
            .get_typed_func::<(i32, i32), i32>(&mut store, "sum")
            .expect("it is exported");
        assert_eq!(sum.call(&mut store, (40, 2)).expect("it returns"), 42);
        let load = instance
            .get_typed_func::<i32, i32>(&mut store, "load")
            .expect("it is exported");
        assert_eq!(
            load.call(&mut store, 8).expect("it is in bounds"),
            i32::from(b'd')
        );
        assert!(load.call(&mut store, 65_536).is_err());
        let blend = instance
            .get_typed_func::<f64, f64>(&mut store, "blend")
            .expect("it is exported");
        assert_eq!(
            blend.call(&mut store, 1.5).expect("it returns").to_bits(),
            3_f64.to_bits()
        );
    }
}

#[test]
fn artifacts_load_from_the_cache_and_from_memory() {
    let wasm = wat::parse_str(MODULE).expect("the text is right");
    let artifact = precompile(&Profile::native());
    let mut example = Example::new("one");
    example.manifest.source = Digest::of(&wasm);
    example.manifest.artifact = Digest::of(&artifact);
    example.manifest.artifact_len = artifact.len() as u64;
    example.artifact = artifact;

    let fixture = Fixture::new();
    let published = example.publish(&fixture.cache);
    let found = example.lookup(&fixture.cache).expect("it is stored");
    let in_memory = VerifiedArtifact::in_memory(example.manifest.clone(), &example.artifact)
        .expect("there is memory");
    let engine = lean(|_| {});
    for verified in [published, found, in_memory] {
        let file = verified.file().try_clone().expect("files can be cloned");
        #[expect(unsafe_code, reason = "the artifact was made just above")]
        // SAFETY: `precompile` made the artifact, the cache has verified it, and its file does not
        // change.
        let module = unsafe { Module::deserialize_open_file(&engine, file) };
        assert_eq!(sum(&engine, &module.expect("it loads")), 42);
    }
}

/// Returns the module's sum of 40 and 2.
fn sum(engine: &Engine, module: &Module) -> i32 {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).expect("it has no imports");
    let sum = instance
        .get_typed_func::<(i32, i32), i32>(&mut store, "sum")
        .expect("it is exported");
    sum.call(&mut store, (40, 2)).expect("it returns")
}

#[test]
fn another_engine_version_is_refused() {
    let profile = Profile::native();
    let artifact = precompile(&profile);
    let engine = lean(|config| {
        config
            .module_version(ModuleVersionStrategy::Custom(String::from("ferrite-0")))
            .expect("short enough");
    });
    let error = load(&engine, &artifact).expect_err("the version differs");
    assert!(
        format!("{error:?}").contains(&profile.engine_version()),
        "{error:?}"
    );
}

#[test]
fn another_platform_is_refused() {
    let other = match Target::host() {
        Target::X86_64Linux => Profile::new(Target::Aarch64Linux, Baseline::Generic),
        Target::Aarch64Linux | Target::Aarch64MacOs => {
            Profile::new(Target::X86_64Linux, Baseline::V2)
        }
    };
    let artifact = precompile(&other.expect("a pair that exists"));
    let error = load(&lean(|_| {}), &artifact).expect_err("the architecture differs");
    assert!(format!("{error:?}").contains("architecture"), "{error:?}");
}

#[test]
fn every_pair_compiles_and_does_so_the_same_way_twice() {
    for target in Target::ALL {
        for &baseline in target.baselines() {
            let profile = Profile::new(target, baseline).expect("a pair that exists");
            assert_eq!(precompile(&profile), precompile(&profile), "{profile}");
        }
    }
}

#[test]
fn a_setting_that_differs_is_refused() {
    let artifact = precompile(&Profile::native());
    assert!(load(&lean(|_| {}), &artifact).is_ok());
    let changes: [fn(&mut Config); 6] = [
        |config| _ = config.consume_fuel(true),
        |config| _ = config.epoch_interruption(true),
        |config| _ = config.memory_guard_size(64 << 20),
        |config| _ = config.memory_may_move(true),
        |config| _ = config.wasm_simd(false),
        |config| _ = config.signals_based_traps(false),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let engine = lean(change);
        assert!(load(&engine, &artifact).is_err(), "change {index}");
    }
}

#[test]
fn features_that_are_off_do_not_compile() {
    let engine = Engine::new(&Profile::native().compiler_config()).expect("the engine starts");
    for (feature, text) in [
        ("gc", "(module (type (struct (field i32))))"),
        ("externref", "(module (func (param externref)))"),
        ("exceptions", "(module (tag))"),
        ("threads", "(module (memory 1 1 shared))"),
        ("memory64", "(module (memory i64 1))"),
        ("multi-memory", "(module (memory 1) (memory 1))"),
        (
            "relaxed-simd",
            "(module (func (param v128) (result v128) \
             (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
        ),
        ("tail calls", "(module (func $f (return_call $f)))"),
        ("custom page sizes", "(module (memory 1 (pagesize 1)))"),
    ] {
        let wasm = wat::parse_str(text).expect("the text is right");
        assert!(engine.precompile_module(&wasm).is_err(), "{feature}");
    }
}
