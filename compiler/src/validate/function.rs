//! Validates one function body and checks its limits.

use wasmparser::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, Operator, OperatorsReader,
    ValidatorResources,
};

use super::Fault;
use super::error::ValidateError;
use crate::limits::SourceLimits;

/// Validates a body, and checks its size, locals, nesting and jump tables.
pub(super) fn check(
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
    bounds: &SourceLimits,
    allocations: FuncValidatorAllocations,
) -> Result<FuncValidatorAllocations, Fault> {
    let start = body.range().start as u64;
    let bytes = body.as_bytes().len() as u64;
    if bytes > bounds.function_body_bytes_max {
        return Err(Fault::Refused(ValidateError::LimitExceeded {
            what: "bytes of one function",
            bound: "function_body_bytes_max",
            found: bytes,
            max: bounds.function_body_bytes_max,
            offset: start,
        }));
    }
    let mut validator = function.into_validator(allocations);
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    if validator.len_locals() > bounds.function_locals_max {
        return Err(Fault::Refused(ValidateError::LimitExceeded {
            what: "locals of one function",
            bound: "function_locals_max",
            found: validator.len_locals().into(),
            max: bounds.function_locals_max.into(),
            offset: start,
        }));
    }
    let mut operators = OperatorsReader::new(reader);
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        if let Operator::BrTable { targets } = &operator
            && targets.len() > bounds.br_table_targets_max
        {
            return Err(Fault::Refused(ValidateError::LimitExceeded {
                what: "targets of one `br_table`",
                bound: "br_table_targets_max",
                found: targets.len().into(),
                max: bounds.br_table_targets_max.into(),
                offset: offset as u64,
            }));
        }
        validator.op(offset, &operator)?;
        // The outermost frame is the function itself.
        let nesting = validator.control_stack_height().saturating_sub(1);
        if nesting > bounds.function_nesting_max {
            return Err(Fault::Refused(ValidateError::LimitExceeded {
                what: "blocks inside one another",
                bound: "function_nesting_max",
                found: nesting.into(),
                max: bounds.function_nesting_max.into(),
                offset: offset as u64,
            }));
        }
    }
    operators.finish()?;
    Ok(validator.into_allocations())
}
