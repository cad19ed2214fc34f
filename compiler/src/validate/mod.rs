//! Whether a module may be compiled, and what it contains.

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

/// Checks a binary module and says what it contains.
///
/// The module is valid by the specification with the proposals that are on here, within `bounds`,
/// imports nothing that the hosts do not offer, and has at least one entry.
///
/// # Errors
///
/// The first thing that is wrong, with its offset and what to do about it.
///
/// ```
/// use ferrite_compiler::{SourceLimits, validate};
/// let error = validate(b"\x7fELF", &SourceLimits::default()).unwrap_err();
/// assert_eq!(error.offset(), Some(0));
/// ```
pub fn validate(source: &[u8], bounds: &SourceLimits) -> Result<ModuleInfo, ValidateError> {
    validate_and_rewrite(source, bounds).map(|(info, _)| info)
}

/// The same, and the module that is to be compiled in its place.
pub(crate) fn validate_and_rewrite<'a>(
    source: &'a [u8],
    bounds: &SourceLimits,
) -> Result<(ModuleInfo, Cow<'a, [u8]>), ValidateError> {
    let sections = read(source, bounds)?;
    let imports = imports::check(&sections).collect::<Result<Vec<_>, _>>()?;
    let entries = entries::find(&sections)?;
    let Rewritten { wasm, rewind } =
        rewrite(source).map_err(|error| proposals::explain(source, &error))?;
    Ok((sections.into_info(imports, entries, rewind), wasm))
}

/// Everything that [`validate`] would refuse a module for, as far as it can be told at once.
///
/// Where the module itself is not valid, that is all there is; otherwise every import is judged,
/// and the entries.
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

/// Reads a module that is valid by the specification and within the bounds.
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

/// Why the walk over the module stopped: the validator's word, yet to be explained, or our own.
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
/// The bounds of a section are checked by the count it begins with, before it is validated.
fn walk<'a>(source: &'a [u8], bounds: &SourceLimits) -> Result<Sections<'a>, Fault> {
    let mut parser = Parser::new(0);
    parser.set_features(proposals::enabled());
    let mut validator = Validator::new_with_features(proposals::enabled());
    let mut allocations = FuncValidatorAllocations::default();
    let mut sections = Sections::default();
    let mut rest = source;
    // Parsing goes on as if more bytes could follow until the parser asks for them: that tells a
    // module that is cut off from one that is wrong.
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
