//! The no-op and `get_set` of the workspace's benchmarks, as plug-ins of Extism.
//!
//! `one instance` keeps the plug-in's memory from call to call, as the isolation `reuse` does. `new instance` makes a
//! plug-in of compiled code for each call, as `fresh` does. The host functions keep values in a map, and do nothing else
//! that a store does.

use std::collections::HashMap;

use criterion::{BenchmarkId, Criterion};
use extism::{CompiledPlugin, CurrentPlugin, Error, PTR, Plugin, PluginBuilder, UserData, Val};

const NOOP: &str = r#"(module (memory (export "memory") 1) (func (export "run") (result i32) (i32.const 0)))"#;
const GET_SET: &str = include_str!("../functions/get_set.wat");

/// The key that calls name.
const KEY: &[u8] = b"bench:key";

type Values = HashMap<Vec<u8>, Vec<u8>>;

fn get(
    plugin: &mut CurrentPlugin,
    inputs: &[Val],
    outputs: &mut [Val],
    values: UserData<Values>,
) -> Result<(), Error> {
    let key: &[u8] = plugin.memory_get_val(&inputs[0])?;
    let values = values.get()?;
    let value = values.lock().expect("no call panicked").get(key).cloned();
    let handle = plugin.memory_new(value.unwrap_or_default())?;
    outputs[0] = plugin.memory_to_val(handle);
    Ok(())
}

fn set(
    plugin: &mut CurrentPlugin,
    inputs: &[Val],
    _: &mut [Val],
    values: UserData<Values>,
) -> Result<(), Error> {
    let key: Vec<u8> = plugin.memory_get_val(&inputs[0])?;
    let value: Vec<u8> = plugin.memory_get_val(&inputs[1])?;
    let values = values.get()?;
    values.lock().expect("no call panicked").insert(key, value);
    Ok(())
}

fn compiled(source: &str) -> CompiledPlugin {
    let values = UserData::new(Values::from([(KEY.to_vec(), b"0123456789abcdef".to_vec())]));
    let builder = PluginBuilder::new(wat::parse_str(source).expect("a module"))
        .with_function("get", [PTR], [PTR], values.clone(), get)
        .with_function("set", [PTR, PTR], [], values, set);
    CompiledPlugin::new(builder).expect("a plug-in")
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("Extism");
    for (name, source, length) in [("noop", NOOP, 0), ("get_set", GET_SET, 16)] {
        let compiled = compiled(source);
        let instance = || Plugin::new_from_compiled(&compiled).expect("an instance");
        let call = |plugin: &mut Plugin| {
            let output: &[u8] = plugin.call("run", KEY).expect("a plain return");
            assert_eq!(output.len(), length, "{name}");
        };
        let mut kept = instance();
        group.bench_function(BenchmarkId::new(name, "one instance"), |bencher| {
            bencher.iter(|| call(&mut kept));
        });
        group.bench_function(BenchmarkId::new(name, "new instance"), |bencher| {
            bencher.iter(|| call(&mut instance()));
        });
    }
    group.finish();
    criterion.final_summary();
}
