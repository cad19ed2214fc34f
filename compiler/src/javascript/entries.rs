//! Adds the entries of a program to the engine that has evaluated it.

use ferrite_cache::javascript::JAVASCRIPT_ENTRIES_MAX;
use wasm_encoder::{Encode, ExportKind, Function, SectionId, ValType};
use wasmparser::{CompositeInnerType, Error, ExternalKind, Parser, Payload, TypeRef};

use crate::sections::{Additions, Replacement, copy};
use crate::split::EntryFunctions;

/// The export of the engine that calls a function of the program by its number.
const CALL: &str = "__engine_call";

/// Returns the module with a command entry for each name, in the order of their numbers. It defines all that a
/// program may have, so that all programs have the same code.
///
/// The exports for evaluation stay, which no client can call: the engine on which hosts evaluate is the same code.
///
/// # Errors
///
/// The module is malformed.
pub(super) fn add(wasm: &[u8], names: &[String]) -> Result<Vec<u8>, Error> {
    let mut functions = 0;
    let mut types = 0;
    let mut command_type = None;
    let mut call = None;
    let mut kept = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group?.into_types() {
                        if let CompositeInnerType::Func(ty) = &ty.composite_type.inner
                            && ty.params().is_empty()
                            && ty.results().is_empty()
                        {
                            command_type = Some(types);
                        }
                        types += 1;
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    functions += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::FunctionSection(section) => functions += section.count(),
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.name == CALL {
                        call = Some(export.index);
                    } else {
                        kept.push((export.name, export.kind, export.index));
                    }
                }
            }
            _ => {}
        }
    }
    let mut additions = Additions::default();
    let command_type = command_type.unwrap_or_else(|| {
        additions.add(SectionId::Type, |out| {
            out.push(0x60);
            let none: [ValType; 0] = [];
            none.encode(out);
            none.encode(out);
        });
        types
    });
    let call = call.unwrap_or_default();
    let mut exports = Vec::new();
    (kept.len() + names.len()).encode(&mut exports);
    for (name, kind, index) in kept {
        name.encode(&mut exports);
        export_kind(kind).encode(&mut exports);
        index.encode(&mut exports);
    }
    for number in 0..JAVASCRIPT_ENTRIES_MAX as i32 {
        additions.add(SectionId::Function, |out| command_type.encode(out));
        additions.add(SectionId::Code, |out| {
            let mut body = Function::new([]);
            body.instructions().i32_const(number).call(call).end();
            body.encode(out);
        });
    }
    for (index, name) in (functions..).zip(names) {
        name.as_str().encode(&mut exports);
        ExportKind::Func.encode(&mut exports);
        index.encode(&mut exports);
    }
    let mut module = copy(wasm, &additions, |section, _| {
        Ok(if section.is(SectionId::Export) {
            Replacement::Content(exports.clone())
        } else {
            Replacement::Copy
        })
    })?;
    EntryFunctions {
        first: functions,
        count: JAVASCRIPT_ENTRIES_MAX as u32,
    }
    .append_to(&mut module);
    Ok(module)
}

fn export_kind(kind: ExternalKind) -> ExportKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    }
}
