//! Decides if instances of a module can be rewound, and which changes that needs.

use wasmparser::{Error, GlobalType, Operator, Parser, Payload, ValType};

use super::data::{DataSection, Segments};

/// Prefix of the export names that the pass adds. A source that uses it is not rewritten.
pub(super) const RESERVED_PREFIX: &str = "__ferrite_";

/// The decision of the pass.
pub(super) enum Decision<'a> {
    /// The module stays as it is.
    Refuse(String),
    /// The module is rewritten by this plan.
    Allow(Plan<'a>),
}

/// The changes to a module.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// Indices of the mutable globals that the module defines.
    pub(super) mutable_globals: Vec<u32>,
    /// The start function.
    pub(super) start: Option<u32>,
    /// Initial pages of the module's memory.
    pub(super) memory_pages: Option<u64>,
    /// The module's data.
    pub(super) segments: Segments<'a>,
    /// True if code names data segments.
    pub(super) names_segments: bool,
}

impl Plan<'_> {
    /// The module's data in fewer segments; `None` if it stays as it is.
    pub(super) fn joined_data(&self) -> Option<DataSection> {
        self.segments
            .joined(self.memory_pages?, self.names_segments)
    }
}

/// Reads a valid module and decides what to change.
pub(super) fn plan(wasm: &[u8]) -> Result<Decision<'_>, Error> {
    let mut facts = Facts::default();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Some(reason) = facts.take(payload?)? {
            return Ok(Decision::Refuse(reason));
        }
    }
    Ok(Decision::Allow(facts.plan))
}

/// Facts about the module, collected section by section.
#[derive(Default)]
struct Facts<'a> {
    plan: Plan<'a>,
    /// Globals so far.
    globals: u32,
}

impl<'a> Facts<'a> {
    /// Reads a section; returns the reason if the module must be refused.
    fn take(&mut self, payload: Payload<'a>) -> Result<Option<String>, Error> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if !matches!(import.ty, wasmparser::TypeRef::Func(_)) {
                        return Ok(Some(format!(
                            "it imports {:?} from {:?}, which is no function",
                            import.name, import.module
                        )));
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    if self.plan.memory_pages.is_some() {
                        return Ok(Some("it has several memories".to_owned()));
                    }
                    if memory.shared || memory.memory64 || memory.page_size_log2.is_some() {
                        return Ok(Some(
                            "its memory is shared, has 64-bit addresses or pages of another size"
                                .to_owned(),
                        ));
                    }
                    self.plan.memory_pages = Some(memory.initial);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    if let Some(reason) = self.global(global?.ty) {
                        return Ok(Some(reason));
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let name = export?.name;
                    if name.starts_with(RESERVED_PREFIX) {
                        return Ok(Some(format!(
                            "it exports {name:?}, and names that begin with {RESERVED_PREFIX} are reserved"
                        )));
                    }
                }
            }
            Payload::StartSection { func, .. } => self.plan.start = Some(func),
            Payload::DataSection(section) => {
                for data in section {
                    self.plan.segments.add(&data?)?;
                }
            }
            Payload::CodeSectionEntry(body) => {
                let mut operators = body.get_operators_reader()?;
                while !operators.eof() {
                    let (operator, offset) = operators.read_with_offset()?;
                    if let Some(what) = self.operator(&operator) {
                        return Ok(Some(format!(
                            "it uses {what} (at offset {offset:#x}), which cannot be undone"
                        )));
                    }
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn global(&mut self, ty: GlobalType) -> Option<String> {
        let index = self.globals;
        self.globals += 1;
        if !ty.mutable {
            return None;
        }
        match ty.content_type {
            ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 | ValType::V128 => {
                self.plan.mutable_globals.push(index);
                None
            }
            ValType::Ref(_) => Some(format!(
                "its global {index} is a mutable reference, which cannot be restored"
            )),
        }
    }

    /// Reads an instruction; returns its name if its effect cannot be undone.
    fn operator(&mut self, operator: &Operator<'_>) -> Option<&'static str> {
        match operator {
            Operator::MemoryInit { .. } => {
                self.plan.names_segments = true;
                None
            }
            Operator::TableSet { .. } => Some("table.set"),
            Operator::TableGrow { .. } => Some("table.grow"),
            Operator::TableFill { .. } => Some("table.fill"),
            Operator::TableCopy { .. } => Some("table.copy"),
            Operator::TableInit { .. } => Some("table.init"),
            Operator::ElemDrop { .. } => Some("elem.drop"),
            Operator::DataDrop { .. } => Some("data.drop"),
            _ => None,
        }
    }
}
