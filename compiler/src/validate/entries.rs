//! Finds the entries of a module; the signature decides the kind of each.

use ferrite_cache::{EntryInfo, EntryKind, Signature, ValueType};
use ferrite_wasm_abi::{ALLOC_EXPORT, DEALLOC_EXPORT, INITIALIZE_EXPORT, MEMORY_EXPORT};
use wasmparser::ExternalKind;

use super::error::ValidateError;
use super::names::display_name;
use super::sections::Sections;

/// Most exported functions that a message lists when none is an entry.
const SEEN_MAX: usize = 4;

/// Reserved export names: allocators and start-up code of our ABI, libc, TinyGo and AssemblyScript.
const RESERVED: &[&str] = &[
    ALLOC_EXPORT,
    DEALLOC_EXPORT,
    INITIALIZE_EXPORT,
    MEMORY_EXPORT,
    "_start",
    "malloc",
    "calloc",
    "realloc",
    "free",
];

/// Prefixes of reserved export names.
const RESERVED_PREFIXES: &[&str] = &["__", "cabi_", "asyncify_"];

/// Returns the entries, at least one, in the module's order.
pub(super) fn find(sections: &Sections<'_>) -> Result<Vec<EntryInfo>, ValidateError> {
    check_reserved(sections)?;
    let buffers = allocates(sections);
    let entries: Vec<EntryInfo> = functions(sections)
        .filter(|(name, index, _)| !is_reserved(name) && !sections.is_imported(*index))
        .filter_map(|(name, _, signature)| {
            Some(EntryInfo {
                name: name.to_owned(),
                kind: kind(signature, buffers)?,
                signature: signature.clone(),
            })
        })
        .collect();
    if entries.is_empty() {
        return Err(no_entry(sections));
    }
    Ok(entries)
}

/// Returns the kind of entry for a signature; `None` if the function cannot be called.
fn kind(signature: &Signature, buffers: bool) -> Option<EntryKind> {
    use ValueType::{F32, F64, I32, I64};
    let Signature { params, results } = signature;
    match (params.as_slice(), results.as_slice()) {
        ([], []) => Some(EntryKind::Command),
        ([I32, I32], [I64]) if buffers => Some(EntryKind::Buffer),
        _ => params
            .iter()
            .chain(results)
            .all(|ty| matches!(ty, I32 | I64 | F32 | F64))
            .then_some(EntryKind::Scalar),
    }
}

/// Returns name, index and signature of every exported function.
fn functions<'s>(
    sections: &'s Sections<'_>,
) -> impl Iterator<Item = (&'s str, u32, &'s Signature)> {
    sections
        .exports
        .iter()
        .filter(|(_, export)| export.kind == ExternalKind::Func)
        .filter_map(|(_, export)| {
            let signature = sections.function(export.index)?;
            Some((export.name, export.index, signature))
        })
}

fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Returns true if the module exports `memory` and `alloc(i32) -> i32`, which buffer entries need.
fn allocates(sections: &Sections<'_>) -> bool {
    let memory = sections
        .export(MEMORY_EXPORT)
        .is_some_and(|(_, export)| export.kind == ExternalKind::Memory);
    let alloc = functions(sections).any(|(name, _, signature)| {
        name == ALLOC_EXPORT
            && signature.params == [ValueType::I32]
            && signature.results == [ValueType::I32]
    });
    memory && alloc
}

/// Checks the exports that the host uses by name.
fn check_reserved(sections: &Sections<'_>) -> Result<(), ValidateError> {
    let refuse = |name, expected, found: String, offset| {
        Err(ValidateError::ReservedExport {
            name,
            expected,
            found,
            offset,
        })
    };
    if let Some((offset, export)) = sections.export(MEMORY_EXPORT)
        && export.kind != ExternalKind::Memory
    {
        return refuse(
            MEMORY_EXPORT,
            "the linear memory",
            described(export.kind).to_owned(),
            *offset,
        );
    }
    if let Some((offset, export)) = sections.export(INITIALIZE_EXPORT) {
        if export.kind != ExternalKind::Func {
            let found = described(export.kind).to_owned();
            return refuse(INITIALIZE_EXPORT, "a function () -> ()", found, *offset);
        }
        if let Some(signature) = sections.function(export.index)
            && *signature != Signature::default()
        {
            let found = signature.to_string();
            return refuse(INITIALIZE_EXPORT, "a function () -> ()", found, *offset);
        }
    }
    Ok(())
}

fn described(kind: ExternalKind) -> &'static str {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => "a function",
        ExternalKind::Table => "a table",
        ExternalKind::Memory => "a memory",
        ExternalKind::Global => "a global",
        ExternalKind::Tag => "a tag",
    }
}

/// Builds the error for a module without an entry: lists its exports, and how its toolchain makes an
/// entry.
fn no_entry(sections: &Sections<'_>) -> ValidateError {
    let mut seen: Vec<String> = functions(sections)
        .map(|(name, index, signature)| {
            let reason = if is_reserved(name) {
                "a reserved name".to_owned()
            } else if sections.is_imported(index) {
                "an import".to_owned()
            } else {
                signature.to_string()
            };
            format!("`{}` is {reason}", display_name(name))
        })
        .collect();
    if seen.len() > SEEN_MAX {
        let more = seen.len() - SEEN_MAX;
        seen.truncate(SEEN_MAX);
        seen.push(format!("and {more} more"));
    }
    let hint = if sections.export("_start").is_some() {
        "; this one is a command: build a library instead (rustc: `--crate-type cdylib`, clang: \
         `-mexec-model=reactor`, go: `-buildmode=c-shared`)"
    } else {
        ""
    };
    ValidateError::NoEntry {
        seen: if seen.is_empty() {
            String::new()
        } else {
            format!(" ({})", seen.join(", "))
        },
        hint,
    }
}
