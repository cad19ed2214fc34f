//! Decides which functions of a module are counted.

use std::collections::HashMap;

use ferrite_cache::{DEPTH_REMAINING_EXPORT, DEPTH_START_EXPORT, ModuleInfo};
use wasm_encoder::{BlockType, Encode, SectionId, ValType};
use wasmparser::{CompositeInnerType, FuncType, Operator, Parser, Payload, TypeRef};

use super::DepthError;
use crate::sections::Additions;

/// The functions to count, and the global that counts.
pub(super) struct Plan {
    /// Index of the global that holds the remaining call depth.
    pub(super) remaining: u32,
    /// The start function.
    pub(super) start: Option<u32>,
    /// The block around the body of each defined function; `None` if it is not counted.
    blocks: Vec<Option<BlockType>>,
}

impl Plan {
    /// Reads a valid module, and adds the types that blocks need to `additions`.
    pub(super) fn read(
        wasm: &[u8],
        info: &ModuleInfo,
        additions: &mut Additions,
    ) -> Result<Self, DepthError> {
        let mut plan = Self {
            remaining: 0,
            start: None,
            blocks: Vec::new(),
        };
        let mut types = Types::default();
        let mut types_of = Vec::new();
        let imported = info.imports.len() as u32;
        let authors = imported..imported.saturating_add(info.functions);
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        for ty in group?.into_types() {
                            types.push(&ty.composite_type.inner)?;
                        }
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        if let TypeRef::Global(_) = import?.ty {
                            plan.remaining += 1;
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    types_of = section.into_iter().collect::<Result<Vec<u32>, _>>()?;
                }
                Payload::GlobalSection(section) => plan.remaining += section.count(),
                Payload::ExportSection(section) => {
                    for export in section {
                        let found = export?.name;
                        let reserved = [DEPTH_REMAINING_EXPORT, DEPTH_START_EXPORT];
                        if let Some(name) = reserved.into_iter().find(|name| *name == found) {
                            return Err(DepthError::Reserved { name });
                        }
                    }
                }
                Payload::StartSection { func, .. } => plan.start = Some(func),
                Payload::CodeSectionEntry(body) => {
                    let index = plan.blocks.len() as u32;
                    let mut calls = false;
                    if index < info.functions {
                        let mut operators = body.get_operators_reader()?;
                        while !operators.eof() {
                            calls |= calls_in(&operators.read()?, &authors)?;
                        }
                    }
                    let block = match types_of.get(index as usize) {
                        Some(&ty) if calls => Some(types.block_of(ty, additions)?),
                        _ => None,
                    };
                    plan.blocks.push(block);
                }
                _ => {}
            }
        }
        Ok(plan)
    }

    /// Returns the block around a body, by its index in the code section; `None` if it is not
    /// counted.
    pub(super) fn block(&self, index: u32) -> Option<BlockType> {
        self.blocks.get(index as usize).copied().flatten()
    }
}

/// Returns true if an instruction may call a function of the module.
fn calls_in(operator: &Operator<'_>, authors: &std::ops::Range<u32>) -> Result<bool, DepthError> {
    Ok(match operator {
        Operator::Call { function_index } => authors.contains(function_index),
        Operator::CallIndirect { .. } => true,
        Operator::ReturnCall { .. }
        | Operator::ReturnCallIndirect { .. }
        | Operator::ReturnCallRef { .. } => {
            return Err(DepthError::Unknown {
                what: "tail calls".into(),
            });
        }
        Operator::CallRef { .. } => {
            return Err(DepthError::Unknown {
                what: "calls of typed references".into(),
            });
        }
        _ => false,
    })
}

/// The result types of functions, and block types for them.
#[derive(Default)]
struct Types {
    /// Results of each type.
    results: Vec<Vec<ValType>>,
    /// Index of each type without parameters, existing or added, by its results.
    without_params: HashMap<Vec<ValType>, u32>,
    added: u32,
}

impl Types {
    fn push(&mut self, ty: &CompositeInnerType) -> Result<(), DepthError> {
        let CompositeInnerType::Func(ty) = ty else {
            return Err(DepthError::Unknown {
                what: "types that are no functions".into(),
            });
        };
        let results = results(ty)?;
        let index = self.results.len() as u32;
        if ty.params().is_empty() {
            self.without_params.entry(results.clone()).or_insert(index);
        }
        self.results.push(results);
        Ok(())
    }

    /// Returns a block type with the results of this function type.
    fn block_of(&mut self, ty: u32, additions: &mut Additions) -> Result<BlockType, DepthError> {
        let results = self
            .results
            .get(ty as usize)
            .ok_or_else(|| DepthError::Unknown {
                what: format!("type {ty}, which it does not have").into(),
            })?;
        Ok(match results.as_slice() {
            [] => BlockType::Empty,
            [one] => BlockType::Result(*one),
            _ => {
                let next = self.results.len() as u32 + self.added;
                let added = &mut self.added;
                let index = self
                    .without_params
                    .entry(results.clone())
                    .or_insert_with(|| {
                        *added += 1;
                        additions.add(SectionId::Type, |out| {
                            out.push(0x60);
                            [ValType::I32; 0].as_slice().encode(out);
                            results.as_slice().encode(out);
                        });
                        next
                    });
                BlockType::FunctionType(*index)
            }
        })
    }
}

fn results(ty: &FuncType) -> Result<Vec<ValType>, DepthError> {
    ty.results()
        .iter()
        .map(|ty| {
            Ok(match *ty {
                wasmparser::ValType::I32 => ValType::I32,
                wasmparser::ValType::I64 => ValType::I64,
                wasmparser::ValType::F32 => ValType::F32,
                wasmparser::ValType::F64 => ValType::F64,
                wasmparser::ValType::V128 => ValType::V128,
                wasmparser::ValType::FUNCREF => ValType::FUNCREF,
                wasmparser::ValType::EXTERNREF => ValType::EXTERNREF,
                other => {
                    return Err(DepthError::Unknown {
                        what: format!("the type {other}").into(),
                    });
                }
            })
        })
        .collect()
}
