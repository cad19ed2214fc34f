//! Decides if instances of a module can be rewound, and which changes that needs.

use wasmparser::{
    ConstExpr, DataKind, Error, GlobalType, MemoryType, Operator, Parser, Payload, ValType,
};

/// Prefix of the export names that the pass adds. A source that uses it is not rewritten.
pub(super) const RESERVED_PREFIX: &str = "__ferrite_";

/// Extra initial pages of 64 KiB for a module that grows its memory. Allocators grow by one to a few
/// dozen pages in a usual call; untouched pages cost only address space.
const HEADROOM_PAGES: u64 = 64;

/// Most `memory.grow` and `memory.size` instructions in a rewritten module: code moves at each of them,
/// and the manifest, which records every move, must not become too long.
const GROWTH_SITES_MAX: u32 = 10_000;

/// Bytes in a page.
const PAGE: u64 = 65_536;

/// Most pages that a 32-bit memory can have.
const PAGES_MAX: u64 = 65_536;

/// The decision of the pass.
pub(super) enum Decision {
    /// The module stays as it is.
    Refuse(String),
    /// The module is rewritten by this plan.
    Allow(Plan),
}

/// The changes to a module.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Indices of the mutable globals that the module defines.
    pub(super) mutable_globals: Vec<u32>,
    /// Virtual growth, for a module that grows its memory.
    pub(super) growth: Option<Growth>,
    /// Number of functions, imported and defined.
    pub(super) functions: u32,
    /// Number of globals.
    pub(super) globals: u32,
    /// Number of types.
    pub(super) types: u32,
    /// The start function.
    pub(super) start: Option<u32>,
    /// True if the module has a memory.
    pub(super) memory: bool,
    /// True if the module has active data segments.
    pub(super) data: bool,
}

/// The memory of a module that grows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// Initial pages that the guest sees.
    pub(super) pages: u64,
    /// Real initial pages.
    pub(super) pages_with_headroom: u64,
    /// Most pages, as the module declares.
    pub(super) pages_max: u64,
}

/// Reads a valid module and decides what to change.
pub(super) fn plan(wasm: &[u8]) -> Result<Decision, Error> {
    let mut facts = Facts::default();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Some(reason) = facts.take(payload?)? {
            return Ok(Decision::Refuse(reason));
        }
    }
    Ok(Decision::Allow(facts.plan()))
}

/// Facts about the module, collected section by section.
#[derive(Default)]
struct Facts {
    plan: Plan,
    memory: Option<MemoryType>,
    grows: bool,
    growth_sites: u32,
    /// Highest end of an active data segment with a constant offset.
    data_end: Option<u64>,
    data_elsewhere: bool,
}

impl Facts {
    /// Reads a section; returns the reason if the module must be refused.
    fn take(&mut self, payload: Payload<'_>) -> Result<Option<String>, Error> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    self.plan.types += group?.types().len() as u32;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    match import.ty {
                        wasmparser::TypeRef::Func(_) => self.plan.functions += 1,
                        _ => {
                            return Ok(Some(format!(
                                "it imports {:?} from {:?}, which is no function",
                                import.name, import.module
                            )));
                        }
                    }
                }
            }
            Payload::FunctionSection(section) => self.plan.functions += section.count(),
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    if self.memory.is_some() {
                        return Ok(Some("it has several memories".to_owned()));
                    }
                    if memory.shared || memory.memory64 || memory.page_size_log2.is_some() {
                        return Ok(Some(
                            "its memory is shared, has 64-bit addresses or pages of another size"
                                .to_owned(),
                        ));
                    }
                    self.memory = Some(memory);
                    self.plan.memory = true;
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
                    let data = data?;
                    if let DataKind::Active { offset_expr, .. } = data.kind {
                        self.plan.data = true;
                        match constant(&offset_expr)? {
                            Some(offset) => {
                                let end = u64::from(offset) + data.data.len() as u64;
                                self.data_end = self.data_end.max(Some(end));
                            }
                            None => self.data_elsewhere = true,
                        }
                    }
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
                if self.growth_sites > GROWTH_SITES_MAX {
                    return Ok(Some(format!(
                        "it asks for its memory's size or grows it at more than {GROWTH_SITES_MAX} places"
                    )));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn global(&mut self, ty: GlobalType) -> Option<String> {
        let index = self.plan.globals;
        self.plan.globals += 1;
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
            Operator::MemoryGrow { .. } => {
                self.grows = true;
                self.growth_sites += 1;
                None
            }
            Operator::MemorySize { .. } => {
                self.growth_sites += 1;
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

    fn plan(self) -> Plan {
        let mut plan = self.plan;
        if let (true, Some(memory)) = (self.grows, self.memory) {
            let pages_max = memory.maximum.unwrap_or(PAGES_MAX).min(PAGES_MAX);
            // A data segment that is out of bounds in the source must not fit into the headroom.
            let data_fits = !self.data_elsewhere
                && self.data_end.unwrap_or(0) <= memory.initial.saturating_mul(PAGE);
            let headroom = if data_fits {
                HEADROOM_PAGES.min(pages_max.saturating_sub(memory.initial))
            } else {
                0
            };
            plan.growth = Some(Growth {
                pages: memory.initial,
                pages_with_headroom: memory.initial + headroom,
                pages_max,
            });
        }
        plan
    }
}

/// Returns the value of an offset expression that is a plain constant.
fn constant(expression: &ConstExpr<'_>) -> Result<Option<u32>, Error> {
    let mut operators = expression.get_operators_reader();
    let first = operators.read()?;
    let then = operators.read()?;
    Ok(match (first, then) {
        (Operator::I32Const { value }, Operator::End) => Some(value.cast_unsigned()),
        _ => None,
    })
}
