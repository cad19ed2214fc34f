//! The sections of the module that is written, and copies of core modules into them.

use std::collections::{BTreeMap, HashMap, HashSet};

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    CodeSection, DataCountSection, DataSection, ElementSection, Elements, Encode as _,
    ExportSection, Function, FunctionSection, GlobalSection, ImportSection, MemorySection, Module,
    NameMap, NameSection, StartSection, TableSection, TypeSection,
};
use wasmparser::{FuncType, GlobalSectionReader, Parser, Payload};

use super::FlattenError;
use super::adapter::Adapter;
use super::module::{Kind, Survey};
use super::renumber::Renumber;
use super::resolve::broken;

/// The types of functions, each once.
#[derive(Default)]
pub(super) struct Types {
    pub(super) section: TypeSection,
    known: HashMap<FuncType, u32>,
}

impl Types {
    pub(super) fn of(&mut self, ty: &FuncType) -> Result<u32, FlattenError> {
        if let Some(known) = self.known.get(ty) {
            return Ok(*known);
        }
        let encoded = RoundtripReencoder
            .func_type(ty.clone())
            .map_err(|_| broken())?;
        self.section.ty().func_type(&encoded);
        let index = self.known.len() as u32;
        self.known.insert(ty.clone(), index);
        Ok(index)
    }

    pub(super) fn of_all(&mut self, types: &[FuncType]) -> Result<Vec<u32>, FlattenError> {
        types.iter().map(|ty| self.of(ty)).collect()
    }
}

/// The sections of the module that is written.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    pub(super) globals: GlobalSection,
    pub(super) exports: ExportSection,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
    /// True if code names data segments.
    counts_data: bool,
    /// Functions whose references code takes.
    references: Vec<u32>,
    /// Start functions of the core instances, in order.
    pub(super) starts: Vec<u32>,
    pub(super) names: NameMap,
}

impl Parts {
    pub(super) fn function(&mut self, ty: u32, body: &Function) {
        self.functions.function(ty);
        self.code.function(body);
    }

    /// Copies a core instance, whose globals begin at `first_global`; `set` holds those that code sets.
    pub(super) fn copy(
        &mut self,
        survey: &Survey<'_>,
        renumber: &mut Renumber,
        first_global: u32,
        set: &HashSet<u32>,
    ) -> Result<(), FlattenError> {
        for ty in &survey.functions {
            self.functions.function(renumber.type_index(*ty)?);
        }
        for payload in Parser::new(0).parse_all(survey.wasm) {
            match payload? {
                Payload::TableSection(it) => renumber.parse_table_section(&mut self.tables, it)?,
                Payload::MemorySection(it) => {
                    renumber.parse_memory_section(&mut self.memories, it)?;
                }
                Payload::GlobalSection(it) => self.globals(it, renumber, first_global, set)?,
                Payload::ElementSection(it) => {
                    renumber.parse_element_section(&mut self.elements, it)?;
                }
                Payload::CodeSectionEntry(it) => {
                    renumber.parse_function_body(&mut self.code, it)?;
                }
                Payload::DataSection(it) => renumber.parse_data_section(&mut self.data, it)?,
                _ => {}
            }
        }
        self.counts_data |= survey.counts_data;
        for function in &survey.references {
            self.references.push(renumber.function_index(*function)?);
        }
        if let Some(start) = survey.start {
            self.starts.push(renumber.function_index(start)?);
        }
        let imported = survey.imports(Kind::Function).len() as u32;
        let names = survey
            .function_names
            .iter()
            .filter(|(index, _)| *index >= imported);
        let names: BTreeMap<u32, &str> = names.copied().collect();
        for (index, name) in names {
            // A section of names may name what is not there.
            if let Ok(index) = renumber.function_index(index) {
                self.names.append(index, name);
            }
        }
        Ok(())
    }

    /// Copies globals. Those that no code sets become constants.
    fn globals(
        &mut self,
        section: GlobalSectionReader<'_>,
        renumber: &mut Renumber,
        first: u32,
        set: &HashSet<u32>,
    ) -> Result<(), FlattenError> {
        for (index, global) in (first..).zip(section) {
            let global = global?;
            let value = renumber.const_expr(global.init_expr)?;
            let mut ty = renumber.global_type(global.ty)?;
            if !set.contains(&index) {
                ty.mutable = false;
                let mut bytes = Vec::new();
                value.encode(&mut bytes);
                // Without the instruction that ends it.
                bytes.pop();
                renumber.constants.borrow_mut().insert(index, bytes);
            }
            self.globals.global(ty, &value);
        }
        Ok(())
    }

    /// Copies those functions of the adapter that are reached, and its globals.
    pub(super) fn copy_adapter(
        &mut self,
        adapter: &Adapter,
        renumber: &mut Renumber,
        reached: &[bool],
        first_global: u32,
        set: &HashSet<u32>,
    ) -> Result<(), FlattenError> {
        let mut functions = adapter
            .survey
            .functions
            .iter()
            .zip(&reached[adapter.imported() as usize..]);
        for payload in Parser::new(0).parse_all(adapter.survey.wasm) {
            match payload? {
                Payload::GlobalSection(it) => self.globals(it, renumber, first_global, set)?,
                Payload::CodeSectionEntry(body) => {
                    let (ty, reached) = functions.next().ok_or_else(broken)?;
                    if *reached {
                        self.functions.function(renumber.type_index(*ty)?);
                        renumber.parse_function_body(&mut self.code, body)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self, types: &TypeSection, start: Option<u32>) -> Vec<u8> {
        if !self.references.is_empty() {
            // An export declared them before.
            self.references.sort_unstable();
            self.references.dedup();
            let functions = Elements::Functions(self.references.into());
            self.elements.declared(functions);
        }
        let mut module = Module::new();
        module
            .section(types)
            .section(&self.imports)
            .section(&self.functions)
            .section(&self.tables)
            .section(&self.memories)
            .section(&self.globals)
            .section(&self.exports);
        if let Some(function_index) = start {
            module.section(&StartSection { function_index });
        }
        module.section(&self.elements);
        if self.counts_data {
            let count = self.data.len();
            module.section(&DataCountSection { count });
        }
        module.section(&self.code).section(&self.data);
        let mut names = NameSection::new();
        names.functions(&self.names);
        module.section(&names);
        module.finish()
    }
}
