//! Writes the engine: the module without what its image holds.

use ferrite_cache::ENGINE_ENTRY_PREFIX;
use ferrite_cache::engine_base;
use ferrite_cache::javascript::{JAVASCRIPT_BUFFER_EXPORT, JAVASCRIPT_EVALUATE_EXPORT};
use ferrite_wasm_abi::{ALLOC_EXPORT, DEALLOC_EXPORT, INITIALIZE_EXPORT, MEMORY_EXPORT};
use wasm_encoder::{ConstExpr, Encode as _, ExportKind, GlobalType, MemoryType, SectionId};
use wasmparser::{
    BinaryReader, Error, ExternalKind, GlobalSectionReader, MemorySectionReader, ValType,
};

use super::facts::{Entries, Facts, is_among};
use crate::sections::{Additions, BRANCH_HINTS_SECTION, Replacement, Section, content_start, copy};

/// Exports that hosts use by name, beside those of the compiler's own passes.
const HOST_EXPORTS: [&str; 6] = [
    ALLOC_EXPORT,
    DEALLOC_EXPORT,
    INITIALIZE_EXPORT,
    MEMORY_EXPORT,
    JAVASCRIPT_BUFFER_EXPORT,
    JAVASCRIPT_EVALUATE_EXPORT,
];

/// Prefix of the exports of the compiler's passes.
const OUR_PREFIX: &str = "__ferrite_";

/// An engine.
pub(super) struct Engine {
    /// The module.
    pub(super) wasm: Vec<u8>,
    /// Added to an offset of code in it, this gives the offset in the module that it was made of.
    pub(super) back: i64,
}

/// Writes the engine of a module.
pub(super) fn write(wasm: &[u8], facts: &Facts<'_>, entries: &Entries) -> Result<Engine, Error> {
    let exports = exports(facts, entries);
    let mut back = 0;
    let wasm = copy(wasm, &Additions::default(), |section, at| {
        let reader = || BinaryReader::new(section.content, section.at);
        if section.is(SectionId::Custom) {
            let name = reader().read_string()?;
            return Ok(match name {
                "name" | BRANCH_HINTS_SECTION => Replacement::Copy,
                engine_base::BASE_SECTION if facts.base.is_some() => Replacement::Copy,
                _ => Replacement::Omit,
            });
        }
        if section.is(SectionId::Code) {
            back = section.at as i64 - content_start(at, section.content.len()) as i64;
        }
        Ok(if section.is(SectionId::Memory) {
            Replacement::Content(memories(reader())?)
        } else if section.is(SectionId::Global) {
            Replacement::Content(globals(section, facts.globals.len())?)
        } else if section.is(SectionId::Export) {
            Replacement::Content(exports.clone())
        } else if section.is(SectionId::DataCount) || section.is(SectionId::Data) {
            Replacement::Omit
        } else {
            Replacement::Copy
        })
    })?;
    Ok(Engine { wasm, back })
}

/// The memories, of which each begins with no page.
fn memories(reader: BinaryReader<'_>) -> Result<Vec<u8>, Error> {
    let memories = MemorySectionReader::new(reader)?;
    let mut content = Vec::new();
    memories.count().encode(&mut content);
    for memory in memories {
        // A memory that can be rewound has no other properties.
        let memory = MemoryType {
            minimum: 0,
            maximum: memory?.maximum,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        memory.encode(&mut content);
    }
    Ok(content)
}

/// The globals, of which the first `wanted` mutable ones begin with zero.
fn globals(section: &Section<'_>, wanted: usize) -> Result<Vec<u8>, Error> {
    let reader = BinaryReader::new(section.content, section.at);
    let globals = GlobalSectionReader::new(reader)?;
    let mut content = Vec::new();
    globals.count().encode(&mut content);
    let globals = globals
        .into_iter_with_offsets()
        .collect::<Result<Vec<_>, _>>()?;
    let mut before = 0;
    for (index, (offset, global)) in globals.iter().enumerate() {
        if is_among(global, before, wanted) {
            before += 1;
            let ty = GlobalType {
                val_type: value_type(global.ty.content_type),
                mutable: true,
                shared: false,
            };
            ty.encode(&mut content);
            zero(global.ty.content_type).encode(&mut content);
        } else {
            let end = globals.get(index + 1).map(|(offset, _)| *offset);
            let end = end.map_or(section.content.len(), |end| end - section.at);
            content.extend_from_slice(&section.content[offset - section.at..end]);
        }
    }
    Ok(content)
}

fn value_type(ty: ValType) -> wasm_encoder::ValType {
    match ty {
        ValType::I64 => wasm_encoder::ValType::I64,
        ValType::F32 => wasm_encoder::ValType::F32,
        ValType::F64 => wasm_encoder::ValType::F64,
        ValType::V128 => wasm_encoder::ValType::V128,
        // A mutable reference cannot be rewound.
        ValType::I32 | ValType::Ref(_) => wasm_encoder::ValType::I32,
    }
}

fn zero(ty: ValType) -> ConstExpr {
    match ty {
        ValType::I64 => ConstExpr::i64_const(0),
        ValType::F32 => ConstExpr::f32_const(0.0.into()),
        ValType::F64 => ConstExpr::f64_const(0.0.into()),
        ValType::V128 => ConstExpr::v128_const(0),
        // A mutable reference cannot be rewound.
        ValType::I32 | ValType::Ref(_) => ConstExpr::i32_const(0),
    }
}

/// The exports that a host uses, each entry under its number.
fn exports(facts: &Facts<'_>, entries: &Entries) -> Vec<u8> {
    let mut kept: Vec<_> = facts
        .exports
        .iter()
        .filter(|(name, ..)| HOST_EXPORTS.contains(name) || name.starts_with(OUR_PREFIX))
        .collect();
    kept.sort_unstable_by_key(|(name, ..)| *name);
    let mut content = Vec::new();
    (kept.len() + entries.functions.len()).encode(&mut content);
    for (name, kind, index) in kept {
        name.encode(&mut content);
        export_kind(*kind).encode(&mut content);
        index.encode(&mut content);
    }
    for (number, index) in entries.functions.iter().enumerate() {
        format!("{ENGINE_ENTRY_PREFIX}{number}")
            .as_str()
            .encode(&mut content);
        ExportKind::Func.encode(&mut content);
        index.encode(&mut content);
    }
    content
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
