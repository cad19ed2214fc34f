//! Surveys a core module: what it imports, defines and exports, by index.

use std::collections::{HashMap, HashSet};

use wasmparser::{ExternalKind, FuncType, KnownCustom, Name, Operator, Parser, Payload, TypeRef};

use super::FlattenError;

/// A kind of items with an index space of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Function,
    Table,
    Memory,
    Global,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Function, Self::Table, Self::Memory, Self::Global];

    fn of(kind: ExternalKind) -> Option<Self> {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => Some(Self::Function),
            ExternalKind::Table => Some(Self::Table),
            ExternalKind::Memory => Some(Self::Memory),
            ExternalKind::Global => Some(Self::Global),
            ExternalKind::Tag => None,
        }
    }
}

/// An import.
#[derive(Clone, Copy)]
pub(super) struct Import<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
    /// The type, if it is a function.
    pub(super) ty: u32,
}

/// The contents of a module.
#[derive(Default)]
pub(super) struct Survey<'a> {
    pub(super) wasm: &'a [u8],
    pub(super) types: Vec<FuncType>,
    /// Imports by their kind.
    imports: [Vec<Import<'a>>; 4],
    /// Number of items of each kind that it defines.
    defined: [u32; 4],
    /// Types of the functions that it defines.
    pub(super) functions: Vec<u32>,
    pub(super) exports: HashMap<&'a str, (Kind, u32)>,
    pub(super) elements: u32,
    pub(super) data: u32,
    /// True if its code names data segments.
    pub(super) counts_data: bool,
    /// Globals that its code sets.
    pub(super) sets: HashSet<u32>,
    /// Functions whose references its code takes.
    pub(super) references: HashSet<u32>,
    /// Functions that each defined function calls by name.
    pub(super) calls: Vec<Vec<u32>>,
    pub(super) start: Option<u32>,
    pub(super) name: Option<&'a str>,
    pub(super) function_names: Vec<(u32, &'a str)>,
}

impl<'a> Survey<'a> {
    pub(super) fn of(wasm: &'a [u8]) -> Result<Self, FlattenError> {
        let mut survey = Self {
            wasm,
            ..Self::default()
        };
        for payload in Parser::new(0).parse_all(wasm) {
            survey.take(payload?)?;
        }
        Ok(survey)
    }

    fn take(&mut self, payload: Payload<'a>) -> Result<(), FlattenError> {
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    self.types.push(ty?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let (kind, ty) = match import.ty {
                        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => (Kind::Function, ty),
                        TypeRef::Table(_) => (Kind::Table, 0),
                        TypeRef::Memory(_) => (Kind::Memory, 0),
                        TypeRef::Global(_) => (Kind::Global, 0),
                        TypeRef::Tag(_) => {
                            return Err(FlattenError::Unsupported {
                                what: "tags of exceptions".to_owned(),
                                remedy: "build it without exceptions",
                            });
                        }
                    };
                    self.imports[kind as usize].push(Import {
                        module: import.module,
                        name: import.name,
                        ty,
                    });
                }
            }
            Payload::FunctionSection(section) => {
                for function in section {
                    self.functions.push(function?);
                }
                self.defined[Kind::Function as usize] = self.functions.len() as u32;
            }
            Payload::TableSection(section) => self.defined[Kind::Table as usize] = section.count(),
            Payload::MemorySection(section) => {
                self.defined[Kind::Memory as usize] = section.count();
            }
            Payload::GlobalSection(section) => {
                self.defined[Kind::Global as usize] = section.count();
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if let Some(kind) = Kind::of(export.kind) {
                        self.exports.insert(export.name, (kind, export.index));
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => self.elements = section.count(),
            Payload::DataCountSection { .. } => self.counts_data = true,
            Payload::DataSection(section) => self.data = section.count(),
            Payload::CodeSectionEntry(body) => {
                let mut calls = Vec::new();
                for operator in body.get_operators_reader()? {
                    match operator? {
                        Operator::GlobalSet { global_index } => {
                            self.sets.insert(global_index);
                        }
                        Operator::RefFunc { function_index } => {
                            self.references.insert(function_index);
                        }
                        Operator::Call { function_index } => calls.push(function_index),
                        _ => {}
                    }
                }
                calls.sort_unstable();
                calls.dedup();
                self.calls.push(calls);
            }
            Payload::CustomSection(section) => {
                // Names are for messages: a broken section gives none.
                if let KnownCustom::Name(names) = section.as_known() {
                    for name in names.into_iter().map_while(Result::ok) {
                        match name {
                            Name::Module { name, .. } => self.name = Some(name),
                            Name::Function(names) => {
                                let names = names.into_iter().map_while(Result::ok);
                                self.function_names
                                    .extend(names.map(|naming| (naming.index, naming.name)));
                            }
                            _ => {}
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the imports of a kind, in order.
    pub(super) fn imports(&self, kind: Kind) -> &[Import<'a>] {
        &self.imports[kind as usize]
    }

    /// Returns how many items of a kind the module defines.
    pub(super) fn defined(&self, kind: Kind) -> u32 {
        self.defined[kind as usize]
    }

    /// Returns the type of a function.
    pub(super) fn function_type(&self, index: u32) -> Option<&FuncType> {
        let imports = self.imports(Kind::Function);
        let ty = match imports.get(index as usize) {
            Some(import) => import.ty,
            None => *self.functions.get(index as usize - imports.len())?,
        };
        self.types.get(ty as usize)
    }
}
