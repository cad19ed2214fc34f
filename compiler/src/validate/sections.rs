//! Collects the sections of a module and checks the limits of each.

use ferrite_cache::{
    EntryInfo, ExportInfo, ExportKind, ImportInfo, MemoryInfo, ModuleInfo, Rewind, Signature,
    ValueType,
};
use wasmparser::{
    CustomSectionReader, ElementItems, Export, ExternalKind, FuncType, KnownCustom, MemoryType,
    Name, Payload, RefType, TypeRef, ValType,
};

use super::Fault;
use super::error::ValidateError;
use crate::limits::SourceLimits;

/// Most bytes of the module's name that are kept.
const NAME_BYTES_MAX: usize = 128;

/// The parts of a module that later checks and the description need.
#[derive(Default)]
pub(super) struct Sections<'a> {
    types: Vec<Signature>,
    /// Every import with its offset, in order.
    pub(super) imports: Vec<(u64, wasmparser::Import<'a>)>,
    /// Type index of every function, the imported ones first.
    functions: Vec<u32>,
    functions_imported: usize,
    /// Every export with its offset, in order.
    pub(super) exports: Vec<(u64, Export<'a>)>,
    memory: Option<MemoryInfo>,
    table_elements_min: u64,
    code_len: u64,
    start: bool,
    name: Option<String>,
}

/// A count of a section, to compare with a limit.
struct Count {
    what: &'static str,
    bound: &'static str,
    found: u64,
    max: u64,
    offset: usize,
}

impl Count {
    fn check(self) -> Result<(), ValidateError> {
        let Self {
            what,
            bound,
            found,
            max,
            offset,
        } = self;
        if found <= max {
            return Ok(());
        }
        Err(ValidateError::LimitExceeded {
            what,
            bound,
            found,
            max,
            offset: offset as u64,
        })
    }
}

/// Compares a count of a section with the limit of this field name.
macro_rules! check_count {
    ($bounds:ident.$bound:ident, $what:literal, $found:expr, $offset:expr) => {
        Count {
            what: $what,
            bound: stringify!($bound),
            found: u64::from($found),
            max: u64::from($bounds.$bound),
            offset: $offset,
        }
        .check()
    };
}

impl<'a> Sections<'a> {
    /// Checks the limits of a section before it is validated or kept.
    pub(super) fn check_bounds(
        &self,
        payload: &Payload<'a>,
        bounds: &SourceLimits,
    ) -> Result<(), Fault> {
        match payload {
            Payload::TypeSection(types) => {
                let offset = types.range().start;
                check_count!(bounds.types_max, "types", types.count(), offset)?;
                for ty in types.clone().into_iter_err_on_gc_types() {
                    // The validator will refuse a type of another proposal.
                    let Ok(ty) = ty else { break };
                    let longest = ty.params().len().max(ty.results().len()) as u64;
                    check_count!(
                        bounds.type_params_max,
                        "parameters or results of a type",
                        longest,
                        offset
                    )?;
                }
            }
            Payload::ImportSection(imports) => {
                let offset = imports.range().start;
                check_count!(bounds.imports_max, "imports", imports.count(), offset)?;
                // The section's length bounds that of its names.
                let bytes = imports.range().len() as u64;
                check_count!(bounds.names_bytes_max, "bytes of imports", bytes, offset)?;
            }
            Payload::FunctionSection(functions) => {
                let offset = functions.range().start;
                check_count!(bounds.functions_max, "functions", functions.count(), offset)?;
            }
            Payload::TableSection(tables) => {
                let offset = tables.range().start;
                check_count!(bounds.tables_max, "tables", tables.count(), offset)?;
                let mut elements = 0_u64;
                for table in tables.clone() {
                    elements = elements.saturating_add(table?.ty.initial);
                }
                check_count!(
                    bounds.table_elements_max,
                    "initial table elements",
                    elements,
                    offset
                )?;
            }
            Payload::GlobalSection(globals) => {
                let offset = globals.range().start;
                check_count!(bounds.globals_max, "globals", globals.count(), offset)?;
            }
            Payload::ExportSection(exports) => {
                let offset = exports.range().start;
                check_count!(bounds.exports_max, "exports", exports.count(), offset)?;
                let imports: usize = self
                    .imports
                    .iter()
                    .map(|(_, import)| import.module.len() + import.name.len())
                    .sum();
                let bytes = (exports.range().len() + imports) as u64;
                check_count!(
                    bounds.names_bytes_max,
                    "bytes of imports and exports",
                    bytes,
                    offset
                )?;
            }
            Payload::ElementSection(elements) => {
                let offset = elements.range().start;
                check_count!(
                    bounds.element_segments_max,
                    "element segments",
                    elements.count(),
                    offset
                )?;
                let mut items = 0_u64;
                for element in elements.clone() {
                    items += u64::from(match element?.items {
                        ElementItems::Functions(functions) => functions.count(),
                        ElementItems::Expressions(_, expressions) => expressions.count(),
                    });
                }
                check_count!(
                    bounds.element_items_max,
                    "items of element segments",
                    items,
                    offset
                )?;
            }
            Payload::DataCountSection { count, range } => {
                check_count!(
                    bounds.data_segments_max,
                    "data segments",
                    *count,
                    range.start
                )?;
            }
            Payload::DataSection(data) => {
                let offset = data.range().start;
                check_count!(
                    bounds.data_segments_max,
                    "data segments",
                    data.count(),
                    offset
                )?;
            }
            // Bodies are checked one by one; other sections are small or not kept.
            _ => {}
        }
        Ok(())
    }

    /// Keeps the needed parts of a valid section.
    pub(super) fn collect(&mut self, payload: Payload<'a>) -> Result<(), Fault> {
        match payload {
            Payload::TypeSection(types) => {
                let offset = types.range().start as u64;
                for ty in types.into_iter_err_on_gc_types() {
                    self.types.push(signature(&ty?, offset)?);
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports_with_offsets() {
                    let (offset, import) = import?;
                    if let TypeRef::Func(ty) = import.ty {
                        self.functions.push(ty);
                        self.functions_imported += 1;
                    }
                    self.imports.push((offset as u64, import));
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    self.table_elements_min += table?.ty.initial;
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let MemoryType {
                        initial, maximum, ..
                    } = memory?;
                    self.memory = Some(MemoryInfo {
                        min_pages: initial,
                        max_pages: maximum,
                    });
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.into_iter_with_offsets() {
                    let (offset, export) = export?;
                    self.exports.push((offset as u64, export));
                }
            }
            Payload::StartSection { .. } => self.start = true,
            Payload::CodeSectionStart { size, .. } => self.code_len = size.into(),
            Payload::CustomSection(custom) => {
                if let Some(name) = module_name(&custom) {
                    self.name = Some(name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the signature of the function with this index.
    pub(super) fn function(&self, index: u32) -> Option<&Signature> {
        let ty = *self.functions.get(index as usize)?;
        self.type_at(ty)
    }

    /// Returns the type with this index.
    pub(super) fn type_at(&self, index: u32) -> Option<&Signature> {
        self.types.get(index as usize)
    }

    /// Returns true if the function with this index is imported.
    pub(super) fn is_imported(&self, index: u32) -> bool {
        (index as usize) < self.functions_imported
    }

    /// Returns the export with this name.
    pub(super) fn export(&self, name: &str) -> Option<&(u64, Export<'a>)> {
        self.exports.iter().find(|(_, export)| export.name == name)
    }

    /// Returns the description of the module.
    pub(super) fn into_info(
        self,
        imports: Vec<ImportInfo>,
        entries: Vec<EntryInfo>,
        rewind: Rewind,
    ) -> ModuleInfo {
        let exports = self
            .exports
            .iter()
            .filter_map(|(_, export)| {
                let kind = match export.kind {
                    ExternalKind::Func | ExternalKind::FuncExact => {
                        ExportKind::Function(self.function(export.index)?.clone())
                    }
                    ExternalKind::Table => ExportKind::Table,
                    ExternalKind::Memory => ExportKind::Memory,
                    ExternalKind::Global => ExportKind::Global,
                    ExternalKind::Tag => return None,
                };
                Some(ExportInfo {
                    name: export.name.to_owned(),
                    kind,
                })
            })
            .collect();
        ModuleInfo {
            imports,
            exports,
            entries,
            memory: self.memory,
            table_elements_min: self.table_elements_min,
            functions: u32::try_from(self.functions.len() - self.functions_imported)
                .unwrap_or(u32::MAX),
            code_len: self.code_len,
            initialize: self.export(ferrite_wasm_abi::INITIALIZE_EXPORT).is_some(),
            start: self.start,
            rewind,
            meter: None,
            stack_depth: None,
            automation: ferrite_cache::Automation::default(),
            limits: None,
            name: self.name,
        }
    }
}

fn signature(ty: &FuncType, offset: u64) -> Result<Signature, ValidateError> {
    let convert = |types: &[ValType]| types.iter().map(|ty| value_type(*ty)).collect();
    let params: Option<Vec<ValueType>> = convert(ty.params());
    let results: Option<Vec<ValueType>> = convert(ty.results());
    match (params, results) {
        (Some(params), Some(results)) => Ok(Signature { params, results }),
        _ => Err(ValidateError::Malformed {
            message: "a function type uses a reference other than funcref and externref".to_owned(),
            offset,
        }),
    }
}

fn value_type(ty: ValType) -> Option<ValueType> {
    Some(match ty {
        ValType::I32 => ValueType::I32,
        ValType::I64 => ValueType::I64,
        ValType::F32 => ValueType::F32,
        ValType::F64 => ValueType::F64,
        ValType::V128 => ValueType::V128,
        ValType::Ref(RefType::FUNCREF) => ValueType::FuncRef,
        ValType::Ref(RefType::EXTERNREF) => ValueType::ExternRef,
        ValType::Ref(_) => return None,
    })
}

/// Returns the module's name if this is a name section that has it.
///
/// A malformed custom section is ignored: custom sections do not affect validity.
fn module_name(custom: &CustomSectionReader<'_>) -> Option<String> {
    let KnownCustom::Name(names) = custom.as_known() else {
        return None;
    };
    names.into_iter().map_while(Result::ok).find_map(|name| {
        let Name::Module { name, .. } = name else {
            return None;
        };
        let end = name.floor_char_boundary(NAME_BYTES_MAX);
        (end > 0).then(|| name[..end].to_owned())
    })
}
