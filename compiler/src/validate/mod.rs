//! Checks if a module may be compiled, and describes it.

pub(crate) mod automation;
mod entries;
mod error;
mod file_format;
mod function;
mod imports;
mod names;
mod proposals;
mod sections;

use std::borrow::Cow;

use ferrite_cache::ModuleInfo;
use wasmparser::{Chunk, FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator};

use crate::limits::SourceLimits;
use crate::rewrite::{Rewritten, rewrite};
use sections::Sections;

pub use error::ValidateError;

/// First bytes of every binary module and component.
const MAGIC: &[u8; 4] = b"\0asm";

/// Returns the WebAssembly proposals that modules may use.
pub(crate) fn enabled_features() -> wasmparser::WasmFeatures {
    proposals::enabled()
}

/// Checks a binary module and describes it.
///
/// The module must be valid with the enabled proposals, be within `bounds`, import only what the
/// hosts offer, and have at least one entry.
///
/// # Errors
///
/// The first fault, with its offset and a remedy.
///
/// ```
/// use ferrite_compiler::{SourceLimits, validate};
/// let error = validate(b"\x7fELF", &SourceLimits::default()).unwrap_err();
/// assert_eq!(error.offset(), Some(0));
/// ```
pub fn validate(source: &[u8], bounds: &SourceLimits) -> Result<ModuleInfo, ValidateError> {
    validate_and_rewrite(source, bounds, Wanted::Entries).map(|(info, _)| info)
}

/// Tells if a module must have an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// At least one: clients call it.
    Entries,
    /// It may have none: it is an engine, on which programs are evaluated.
    Engine,
}

/// Works as [`validate`], and also returns the rewritten module to compile.
pub(crate) fn validate_and_rewrite<'a>(
    source: &'a [u8],
    bounds: &SourceLimits,
    wanted: Wanted,
) -> Result<(ModuleInfo, Cow<'a, [u8]>), ValidateError> {
    let sections = read(source, bounds)?;
    let imports = imports::check(&sections).collect::<Result<Vec<_>, _>>()?;
    let entries = match wanted {
        Wanted::Entries => entries::find(&sections)?,
        Wanted::Engine => Vec::new(),
    };
    let Rewritten { wasm, rewind } =
        rewrite(source).map_err(|error| proposals::explain(source, &error))?;
    Ok((sections.into_info(imports, entries, rewind), wasm))
}

/// Returns every fault of a module that can be found at once: all bad imports and a missing entry.
///
/// If the module itself is not valid, the result has only that fault.
#[must_use]
pub fn problems(source: &[u8], bounds: &SourceLimits) -> Vec<ValidateError> {
    match read(source, bounds) {
        Ok(sections) => imports::check(&sections)
            .filter_map(Result::err)
            .chain(entries::find(&sections).err())
            .collect(),
        Err(error) => vec![error],
    }
}

/// Reads a module, and checks that it is valid and within the limits.
fn read<'a>(source: &'a [u8], bounds: &SourceLimits) -> Result<Sections<'a>, ValidateError> {
    if source.len() as u64 > bounds.source_bytes_max {
        return Err(ValidateError::LimitExceeded {
            what: "bytes of the module",
            bound: "source_bytes_max",
            found: source.len() as u64,
            max: bounds.source_bytes_max,
            offset: 0,
        });
    }
    if let Some(found) = file_format::describe_other(source) {
        return Err(ValidateError::NotWasm { found });
    }
    walk(source, bounds).map_err(|fault| match fault {
        Fault::Refused(error) => error,
        Fault::Wasm(error) => proposals::explain(source, &error),
    })
}

/// The walk over the module failed: with an error of the validator, or with one of ours.
enum Fault {
    Wasm(wasmparser::Error),
    Refused(ValidateError),
}

impl From<wasmparser::Error> for Fault {
    fn from(error: wasmparser::Error) -> Self {
        Self::Wasm(error)
    }
}

impl From<ValidateError> for Fault {
    fn from(error: ValidateError) -> Self {
        Self::Refused(error)
    }
}

/// Validates section by section and collects what is needed later.
///
/// A section's item count is checked against the limits before the section is validated.
fn walk<'a>(source: &'a [u8], bounds: &SourceLimits) -> Result<Sections<'a>, Fault> {
    let mut parser = Parser::new(0);
    parser.set_features(proposals::enabled());
    let mut validator = Validator::new_with_features(proposals::enabled());
    let mut allocations = FuncValidatorAllocations::default();
    let mut sections = Sections::default();
    let mut rest = source;
    // Tell the parser that more bytes may follow until it asks for them: this distinguishes a
    // truncated module from a malformed one.
    let mut at_end = false;
    loop {
        let (payload, consumed) = match parser.parse(rest, at_end) {
            Ok(Chunk::Parsed { payload, consumed }) => (payload, consumed),
            Ok(Chunk::NeedMoreData(_)) => {
                at_end = true;
                continue;
            }
            Err(_) if at_end => {
                return Err(Fault::Refused(ValidateError::Truncated {
                    bytes: source.len() as u64,
                }));
            }
            Err(error) => return Err(error.into()),
        };
        rest = &rest[consumed..];
        sections.check_bounds(&payload, bounds)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
            allocations = function::check(function, &body, bounds, allocations)?;
        }
        let finished = matches!(payload, Payload::End(_));
        sections.collect(payload)?;
        if finished {
            return Ok(sections);
        }
    }
}
