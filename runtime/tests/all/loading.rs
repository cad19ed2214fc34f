//! Functions that are refused at loading, and a check that the linker has every import.

use ferrite_wasm_abi::wasi::{PREVIEW1, PREVIEW1_MODULE};
use ferrite_wasm_abi::{ENV_PREFIX, IMPORTS, Import, MODULE};

use crate::support::Host;

fn import(module: &str, prefix: &str, import: &Import) -> String {
    let params: String = import
        .params
        .iter()
        .map(|ty| format!(" {}", ty.name()))
        .collect();
    let result = import
        .result
        .map_or(String::new(), |ty| format!("(result {})", ty.name()));
    format!(
        "(import \"{module}\" \"{prefix}{}\" (func (param{params}) {result}))\n",
        import.name
    )
}

#[tokio::test]
async fn every_declared_import_can_be_linked() {
    let host = Host::new();
    let mut wat = String::from("(module\n");
    for declared in IMPORTS {
        wat += &import(MODULE, "", declared);
        wat += &import("env", ENV_PREFIX, declared);
    }
    for declared in PREVIEW1 {
        wat += &import(PREVIEW1_MODULE, "", declared);
    }
    wat += "(memory (export \"memory\") 1) (func (export \"run\") (result i32) (i32.const 1)))";
    let function = host.load(&wat);
    assert_eq!(host.call(&function, &[], &[]).await, ":1");
}

#[test]
fn what_could_never_run_is_refused_at_load() {
    let host = Host::new();
    let refused =
        |wat: &str, adjust: &dyn Fn(&mut ferrite_runtime::policy::function_spec::FunctionSpec)| {
            match host.try_load(wat, |spec| adjust(spec)) {
                Ok(_) => panic!("loaded: {wat}"),
                Err(error) => error.to_string(),
            }
        };
    let large = "(module (memory 3) (table 20 funcref) (func (export \"run\")))";
    assert_eq!(
        refused(large, &|spec| spec.limits.memory_bytes_max = 128 << 10),
        "MEMORY the function wanted 196608 bytes of memory, its limit is 131072; raise max_memory, or use less"
    );
    assert_eq!(
        refused(large, &|spec| spec.limits.table_elements_max = 19),
        "LIMIT the module starts with 20 table elements, its limit is 19; raise max_table_elements"
    );
}
