//! Facts about a finished module: those parts of it that an engine must not have.

use ferrite_cache::{ImageValue, ModuleInfo, WASM_PAGE_BYTES, engine_base, patches};
use wasmparser::{
    ConstExpr, DataKind, Error, ExternalKind, Global, Operator, Parser, Payload, ValType,
};

use super::EntryFunctions;
use crate::rewrite::data::constant_offset;

/// Facts about a module that the pass needs.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    /// Pages of 64 KiB that the memory begins with.
    pub(super) memory_pages: u32,
    /// Start values of the globals that calls can change.
    pub(super) globals: Vec<ImageValue>,
    /// Number of such globals.
    globals_wanted: usize,
    /// Data segments in their order: offset and bytes.
    pub(super) data: Vec<(u32, &'a [u8])>,
    pub(super) exports: Vec<(&'a str, ExternalKind, u32)>,
    /// The memory that all programs on the engine begin with, as patches to zeros.
    pub(super) base: Option<&'a [u8]>,
    entry_functions: Option<EntryFunctions>,
    /// Functions that the module imports and defines.
    functions: u32,
}

/// The functions that an engine exports as entries.
pub(super) struct Entries {
    /// Their indices, by their numbers.
    pub(super) functions: Vec<u32>,
    /// The number of each entry of the program, in its order.
    pub(super) numbers: Vec<u32>,
}

impl<'a> Facts<'a> {
    /// Reads a module, of whose mutable globals calls can change the first `globals`. Returns `None` if it
    /// stays whole.
    pub(super) fn read(wasm: &'a [u8], globals: u32) -> Result<Option<Self>, Error> {
        let mut facts = Self {
            globals_wanted: globals as usize,
            ..Self::default()
        };
        for payload in Parser::new(0).parse_all(wasm) {
            if facts.take(payload?)?.is_none() {
                return Ok(None);
            }
        }
        facts.base = facts.base.filter(|base| facts.can_begin_with(base));
        let complete = facts.globals.len() == facts.globals_wanted;
        Ok(complete.then_some(facts))
    }

    /// Reads a section; returns `None` if the module stays whole.
    fn take(&mut self, payload: Payload<'a>) -> Result<Option<()>, Error> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    // A module that can be rewound imports only functions.
                    import?;
                    self.functions += 1;
                }
            }
            Payload::FunctionSection(section) => self.functions += section.count(),
            Payload::MemorySection(section) => {
                for memory in section {
                    let Ok(pages) = u32::try_from(memory?.initial) else {
                        return Ok(None);
                    };
                    self.memory_pages = pages;
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    if is_among(&global, self.globals.len(), self.globals_wanted) {
                        let Some(value) = value(&global)? else {
                            return Ok(None);
                        };
                        self.globals.push(value);
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports.push((export.name, export.kind, export.index));
                }
            }
            // The rewriting exports it instead.
            Payload::StartSection { .. } => return Ok(None),
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    let DataKind::Active { offset_expr, .. } = &data.kind else {
                        return Ok(None);
                    };
                    let Some(offset) = constant_offset(offset_expr)? else {
                        return Ok(None);
                    };
                    self.data.push((offset, data.data));
                }
            }
            Payload::CustomSection(section) => {
                let functions = EntryFunctions::of_section(&section);
                self.entry_functions = functions.or(self.entry_functions);
                if section.name() == engine_base::BASE_SECTION {
                    self.base = Some(section.data());
                }
            }
            _ => {}
        }
        Ok(Some(()))
    }

    /// Returns true if the module says which functions are there for the entries of any program.
    pub(super) fn is_made_to_share(&self) -> bool {
        self.entry_functions.is_some()
    }

    /// Returns true if images can be over this base. A module may have a custom section of any content.
    fn can_begin_with(&self, base: &[u8]) -> bool {
        let bytes = u64::from(self.memory_pages) * WASM_PAGE_BYTES;
        let mut memory = vec![0; usize::try_from(bytes).unwrap_or_default()];
        self.is_made_to_share() && patches::apply(base, &mut memory).is_ok()
    }

    /// Returns the functions of the engine's entries; `None` if an entry is missing.
    pub(super) fn entries(&self, module: &ModuleInfo) -> Option<Entries> {
        let used: Vec<u32> = module
            .entries
            .iter()
            .map(|entry| {
                self.exports
                    .iter()
                    .find(|(name, kind, _)| *name == entry.name && *kind == ExternalKind::Func)
                    .map(|(_, _, index)| *index)
            })
            .collect::<Option<_>>()?;
        if let Some(indices) = self.entry_functions.map(EntryFunctions::indices)
            && indices.end <= self.functions
            && used.iter().all(|index| indices.contains(index))
        {
            return Some(Entries {
                numbers: used.iter().map(|index| index - indices.start).collect(),
                functions: indices.collect(),
            });
        }
        let count = u32::try_from(used.len()).ok()?;
        Some(Entries {
            functions: used,
            numbers: (0..count).collect(),
        })
    }
}

/// Returns true if this is one of the first `wanted` mutable globals, of which `before` came already.
pub(super) fn is_among(global: &Global<'_>, before: usize, wanted: usize) -> bool {
    global.ty.mutable && before < wanted
}

/// Returns the start value of a global, if it is a constant.
fn value(global: &Global<'_>) -> Result<Option<ImageValue>, Error> {
    let Some(operator) = only_operator(&global.init_expr)? else {
        return Ok(None);
    };
    Ok(match (operator, global.ty.content_type) {
        (Operator::I32Const { value }, ValType::I32) => {
            Some(ImageValue::I32(value.cast_unsigned()))
        }
        (Operator::I64Const { value }, ValType::I64) => {
            Some(ImageValue::I64(value.cast_unsigned()))
        }
        (Operator::F32Const { value }, ValType::F32) => Some(ImageValue::F32(value.bits())),
        (Operator::F64Const { value }, ValType::F64) => Some(ImageValue::F64(value.bits())),
        (Operator::V128Const { value }, ValType::V128) => {
            Some(ImageValue::V128(u128::from_le_bytes(*value.bytes())))
        }
        _ => None,
    })
}

fn only_operator<'a>(expression: &ConstExpr<'a>) -> Result<Option<Operator<'a>>, Error> {
    let mut operators = expression.get_operators_reader();
    let first = operators.read()?;
    let end = operators.read()?;
    Ok((matches!(end, Operator::End) && operators.eof()).then_some(first))
}
