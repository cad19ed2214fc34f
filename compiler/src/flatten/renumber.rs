//! Copies parts of a core module into another one, where everything has another index.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{ConstExpr, Encode, Instruction};
use wasmparser::Operator;

use super::FlattenError;
use super::resolve::broken;

/// Longest initial value of a constant global that is written in the place of its name, in bytes.
const CONSTANT_BYTES_MAX: usize = 64;

/// Initial values of the globals that never change, by their new indices.
///
/// Constant expressions may only name imported globals, and after flattening there are none.
pub(super) type Constants = Rc<RefCell<HashMap<u32, Vec<u8>>>>;

/// The new indices of a module's items.
#[derive(Default)]
pub(super) struct Renumber {
    pub(super) types: Vec<u32>,
    pub(super) functions: Vec<u32>,
    pub(super) tables: Vec<u32>,
    pub(super) memories: Vec<u32>,
    pub(super) globals: Vec<u32>,
    pub(super) first_element: u32,
    pub(super) first_data: u32,
    pub(super) constants: Constants,
}

type Result<T> = std::result::Result<T, Error<FlattenError>>;

fn at(all: &[u32], index: u32) -> Result<u32> {
    all.get(index as usize)
        .copied()
        .ok_or_else(|| Error::UserError(broken()))
}

impl Reencode for Renumber {
    type Error = FlattenError;

    fn type_index(&mut self, index: u32) -> Result<u32> {
        at(&self.types, index)
    }

    fn function_index(&mut self, index: u32) -> Result<u32> {
        at(&self.functions, index)
    }

    fn table_index(&mut self, index: u32) -> Result<u32> {
        at(&self.tables, index)
    }

    fn memory_index(&mut self, index: u32) -> Result<u32> {
        at(&self.memories, index)
    }

    fn global_index(&mut self, index: u32) -> Result<u32> {
        at(&self.globals, index)
    }

    fn element_index(&mut self, index: u32) -> Result<u32> {
        Ok(self.first_element + index)
    }

    fn data_index(&mut self, index: u32) -> Result<u32> {
        Ok(self.first_data + index)
    }

    fn const_expr(&mut self, expression: wasmparser::ConstExpr<'_>) -> Result<ConstExpr> {
        let mut bytes = Vec::new();
        let mut operators = expression.get_operators_reader();
        loop {
            match operators.read()? {
                Operator::End => return Ok(ConstExpr::raw(bytes)),
                Operator::GlobalGet { global_index } => {
                    let global = self.global_index(global_index)?;
                    match self.constants.borrow().get(&global) {
                        Some(value) => bytes.extend_from_slice(value),
                        None => Instruction::GlobalGet(global).encode(&mut bytes),
                    }
                }
                operator => self.instruction(operator)?.encode(&mut bytes),
            }
            if bytes.len() > CONSTANT_BYTES_MAX {
                return Err(Error::UserError(FlattenError::LimitExceeded {
                    what: "bytes of a constant expression",
                    bound: "component_constant_bytes_max",
                    found: bytes.len() as u64,
                    max: CONSTANT_BYTES_MAX as u64,
                }));
            }
        }
    }
}

impl From<Error<Self>> for FlattenError {
    fn from(error: Error<Self>) -> Self {
        match error {
            Error::UserError(error) => error,
            Error::ParseError(error) => error.into(),
            other => Self::Malformed {
                message: other.to_string(),
                offset: 0,
            },
        }
    }
}
