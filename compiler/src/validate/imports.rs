//! Compares the imports of a module with the functions that the hosts offer.

use ferrite_cache::{ImportInfo, Signature, ValueType};
use ferrite_wasm_abi::{
    ENV_PREFIX, IMPORTS, Import, MEMORY_EXPORT, MODULE, NumType, import as ferrite_import, wasi,
};
use wasmparser::{ExternalKind, TypeRef};

use super::error::ValidateError;
use super::names::{display_name, nearest};
use super::sections::Sections;

/// Host functions without pointers; a module without memory may import these.
const WITHOUT_POINTERS: &[&str] = &[
    "key_count",
    "arg_count",
    "reply_null",
    "reply_bool",
    "reply_int",
    "reply_double",
    "reply_array",
    "reply_map",
    "time_millis",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_renumber",
    "fd_sync",
    "proc_exit",
    "proc_raise",
    "sched_yield",
    "sock_shutdown",
];

/// Imports that reveal an unsupported toolchain, and how to build instead: module, prefix of the name
/// (empty for every name), remedy.
const FOREIGN: &[(&str, &str, &str)] = &[
    (
        "wasi_unstable",
        "",
        "this is WASI preview 0; build against preview 1 (`wasi_snapshot_preview1`)",
    ),
    (
        "__wbindgen_placeholder__",
        "",
        "this needs wasm-bindgen and a browser; leave that crate, or its feature in a \
         dependency, out",
    ),
    (
        "wbg",
        "",
        "this needs wasm-bindgen's JavaScript; leave that crate, or its feature in a dependency, \
         out",
    ),
    (
        "gojs",
        "",
        "this is Go for JavaScript; build with `GOOS=wasip1 GOARCH=wasm` and \
         `-buildmode=c-shared`",
    ),
    (
        "go",
        "",
        "this is Go for JavaScript; build with `GOOS=wasip1 GOARCH=wasm` and \
         `-buildmode=c-shared`",
    ),
    (
        "env",
        "emscripten_",
        "this needs Emscripten's JavaScript; build with `-sSTANDALONE_WASM`",
    ),
    (
        "env",
        "__cxa_",
        "C++ exceptions need a host that unwinds; build with `-fno-exceptions`",
    ),
];

/// Checks and describes every import, in the module's order.
pub(super) fn check(
    sections: &Sections<'_>,
) -> impl Iterator<Item = Result<ImportInfo, ValidateError>> {
    let memory_exported = sections
        .export(MEMORY_EXPORT)
        .is_some_and(|(_, export)| export.kind == ExternalKind::Memory);
    sections
        .imports
        .iter()
        .map(move |(offset, import)| check_one(sections, *offset, import, memory_exported))
}

fn check_one(
    sections: &Sections<'_>,
    offset: u64,
    import: &wasmparser::Import<'_>,
    memory_exported: bool,
) -> Result<ImportInfo, ValidateError> {
    let found = function_type(sections, offset, import)?;
    let Some(host) = offered(import.module, import.name) else {
        return Err(ValidateError::UnknownImport {
            import: shown_import(import),
            remedy: remedy(import.module, import.name, found),
            offset,
        });
    };
    let expected = host_signature(host);
    if *found != expected {
        return Err(ValidateError::ImportSignature {
            import: shown_import(import),
            expected: expected.to_string(),
            found: found.to_string(),
            offset,
        });
    }
    if !memory_exported && !WITHOUT_POINTERS.contains(&host.name) {
        return Err(ValidateError::MemoryMissing {
            import: shown_import(import),
            offset,
        });
    }
    Ok(ImportInfo {
        module: import.module.to_owned(),
        name: import.name.to_owned(),
        signature: expected,
    })
}

/// Formats module and name of an import for a message.
fn shown_import(import: &wasmparser::Import<'_>) -> String {
    format!(
        "{}.{}",
        display_name(import.module),
        display_name(import.name)
    )
}

/// Returns the host function with this name.
fn offered(module: &str, name: &str) -> Option<&'static Import> {
    ferrite_import(module, name).or_else(|| wasi::preview1(module, name))
}

/// Returns the type of an imported function; refuses any other import.
fn function_type<'a>(
    sections: &'a Sections<'_>,
    offset: u64,
    import: &wasmparser::Import<'_>,
) -> Result<&'a Signature, ValidateError> {
    let (kind, remedy) = match import.ty {
        TypeRef::Func(index) | TypeRef::FuncExact(index) => {
            return sections
                .type_at(index)
                .ok_or_else(|| ValidateError::Malformed {
                    message: format!("import of unknown type {index}"),
                    offset,
                });
        }
        TypeRef::Memory(_) => (
            "memory",
            "define and export it: link without `--import-memory`",
        ),
        TypeRef::Table(_) => ("table", "define it: link without `--import-table`"),
        TypeRef::Global(_) => (
            "global",
            "link statically, as position-independent code is made for dynamic linking",
        ),
        TypeRef::Tag(_) => ("tag", "build without exceptions"),
    };
    Err(ValidateError::ImportKind {
        import: shown_import(import),
        kind,
        remedy,
        offset,
    })
}

/// Returns the signature of a host function.
fn host_signature(import: &Import) -> Signature {
    let value = |num: &NumType| match num {
        NumType::I32 => ValueType::I32,
        NumType::I64 => ValueType::I64,
        NumType::F64 => ValueType::F64,
    };
    Signature {
        params: import.params.iter().map(value).collect(),
        results: import.result.iter().map(value).collect(),
    }
}

/// Returns the remedy for an import that no host offers.
fn remedy(module: &str, name: &str, found: &Signature) -> String {
    if let Some((_, _, advice)) = FOREIGN
        .iter()
        .find(|(foreign, prefix, _)| *foreign == module && name.starts_with(prefix))
    {
        return (*advice).to_owned();
    }
    if module.starts_with("wasi:") || module.starts_with("wasi_snapshot_preview2") {
        return "this is WASI preview 2; build for preview 1 (a wasip1 target)".to_owned();
    }
    match suggestion(module, name) {
        Some((spelling, host)) => format!(
            "did you mean `{spelling}`, which is {}? Yours is {found}",
            host_signature(host)
        ),
        None => format!(
            "the hosts offer `{MODULE}.*` (also spelled `env.{ENV_PREFIX}*`) and `{}.*`, and none \
             of their functions is called this; yours is {found}",
            wasi::PREVIEW1_MODULE
        ),
    }
}

/// Returns the host function that was probably meant, with its import name.
fn suggestion(module: &str, name: &str) -> Option<(String, &'static Import)> {
    let bare = name.strip_prefix(ENV_PREFIX).unwrap_or(name);
    // First the same name in another module, then a similar name.
    for wanted in [Some(bare), nearest(bare, names(module))] {
        let Some(wanted) = wanted else { continue };
        if let Some(host) = ferrite_import(MODULE, wanted) {
            let spelling = if module == "env" {
                format!("env.{ENV_PREFIX}{wanted}")
            } else {
                format!("{MODULE}.{wanted}")
            };
            return Some((spelling, host));
        }
        if let Some(host) = wasi::preview1(wasi::PREVIEW1_MODULE, wanted) {
            return Some((format!("{}.{wanted}", wasi::PREVIEW1_MODULE), host));
        }
    }
    None
}

/// Returns the candidate names for an import from this module.
fn names(module: &str) -> impl Iterator<Item = &'static str> {
    let from_wasi = module != MODULE && module != "env";
    let from_ferrite = module != wasi::PREVIEW1_MODULE;
    IMPORTS
        .iter()
        .filter(move |_| from_ferrite)
        .chain(wasi::PREVIEW1.iter().filter(move |_| from_wasi))
        .map(|import| import.name)
}

#[cfg(test)]
mod tests {
    use super::{WITHOUT_POINTERS, offered};
    use ferrite_wasm_abi::wasi;

    #[test]
    fn every_function_without_pointers_exists() {
        for name in WITHOUT_POINTERS {
            let found = offered("ferrite", name).or(offered(wasi::PREVIEW1_MODULE, name));
            assert!(found.is_some(), "{name}");
        }
    }

    /// No name stands in both tables, so one list serves both.
    #[test]
    fn names_of_the_two_tables_differ() {
        for import in ferrite_wasm_abi::IMPORTS {
            assert!(offered(wasi::PREVIEW1_MODULE, import.name).is_none());
        }
    }
}
