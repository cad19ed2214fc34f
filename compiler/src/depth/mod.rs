//! Limits how deep the calls of a module may nest.
//!
//! The pass runs only under a profile that asks for it, on the output of
//! [`rewrite`](mod@crate::rewrite). It adds a global with the remaining call depth. Every function
//! that calls functions of the module decrements the global while it runs:
//!
//! ```text
//! if $left is 0: $left = all ones; unreachable       the host tells this trap by the global
//! $left = $left - 1
//! block                                              of the function's results
//!     the body; return becomes a branch out of the block
//! end
//! $left = $left + 1
//! ```
//!
//! Branches to the function's own label reach the end of the block without a change. Every return
//! increments the global again, so it equals the limit when the entry has returned; an instance that
//! trapped serves no other call. Therefore the host sets the limit once per instance. The global is
//! added after rewriting and pre-initialisation, which do not know it.
//!
//! A function that calls only host functions adds at most one level and stays unchanged: counting
//! would cost most in small functions that are called often.
//!
//! A remaining start function is exported, because the host must set the limit before it runs it.
//!
//! `plan` reads the module, `body` writes functions.

mod body;
mod plan;

use std::borrow::Cow;

use ferrite_cache::{
    CodeOffsetMapWriter, DEPTH_REMAINING_EXPORT, DEPTH_START_EXPORT, DepthPlan, ModuleInfo,
};
use thiserror::Error;
use wasm_encoder::{Encode, ExportKind, SectionId};
use wasmparser::BinaryReader;

use crate::sections::{Additions, Replacement, Section, content_start, copy};
use plan::Plan;

/// The longest offset map, in bytes: half of the largest manifest.
const MOVES_BYTES_MAX: usize = 512 << 10;

/// A module that counts how deep its calls nest.
#[derive(Clone, Debug)]
pub struct Instrumented {
    /// The module to compile.
    pub wasm: Vec<u8>,
    /// The host's information about the additions.
    pub plan: DepthPlan,
}

/// A valid module cannot be made to count its call depth.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DepthError {
    /// The module cannot be parsed.
    #[error("the module cannot be read to count its calls")]
    Parse(#[from] wasmparser::Error),
    /// The module exports a reserved name.
    #[error(
        "the module exports \"{name}\", which is reserved where calls are counted; give the export another name, or leave max_stack_depth out"
    )]
    Reserved {
        /// The name.
        name: &'static str,
    },
    /// The module uses a call without a frame, or a type that a block cannot have.
    #[error("the module uses {what}, which calls cannot be counted with")]
    Unknown {
        /// The unsupported feature.
        what: Cow<'static, str>,
    },
    /// The offset map of so large a module does not fit into a manifest.
    #[error(
        "the module has {functions} functions, too many to tell where a trap of code that counts its calls came from ({bytes} bytes of notes, at most {max}); leave max_stack_depth out"
    )]
    TooLarge {
        /// Number of functions that the module defines.
        functions: u32,
        /// Length of the offset map, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        max: usize,
    },
}

impl DepthError {
    /// Returns the error code for replies.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Reserved { .. } => "INVALID",
            Self::TooLarge { .. } => "LIMIT",
            Self::Parse(_) | Self::Unknown { .. } => "INTERNAL",
        }
    }
}

/// Makes a valid module count its call depth.
///
/// `info` gives the number of the author's functions: those that other passes added follow them and
/// are not counted.
///
/// # Errors
///
/// The module exports a reserved name, has too many functions, or uses an unsupported feature.
pub fn instrument(wasm: &[u8], info: &ModuleInfo) -> Result<Instrumented, DepthError> {
    let mut additions = Additions::default();
    let plan = Plan::read(wasm, info, &mut additions)?;
    additions.mutable_i32(0);
    additions.export(DEPTH_REMAINING_EXPORT, ExportKind::Global, plan.remaining);
    if let Some(start) = plan.start {
        additions.export(DEPTH_START_EXPORT, ExportKind::Func, start);
    }
    let mut moves = CodeOffsetMapWriter::default();
    let wasm = copy(wasm, &additions, |section, at| {
        if section.is(SectionId::Start) {
            return Ok(Replacement::Omit);
        }
        if section.is(SectionId::Code) {
            return code(section, &plan, at, &mut moves).map(Replacement::Content);
        }
        Ok(Replacement::Copy)
    })?;
    let moves = moves.finish();
    if moves.len() > MOVES_BYTES_MAX {
        return Err(DepthError::TooLarge {
            functions: info.functions,
            bytes: moves.len(),
            max: MOVES_BYTES_MAX,
        });
    }
    Ok(Instrumented {
        wasm,
        plan: DepthPlan {
            start: plan.start.is_some(),
            moves,
        },
    })
}

/// Rewrites the code section, whose header will be at `at`.
fn code(
    section: &Section<'_>,
    plan: &Plan,
    at: usize,
    moves: &mut CodeOffsetMapWriter,
) -> Result<Vec<u8>, wasmparser::Error> {
    let mut reader = BinaryReader::new(section.content, section.at);
    let count = reader.read_var_u32()?;
    let mut content = Vec::new();
    count.encode(&mut content);
    // (offset in the source, offset in the content)
    let mut offsets = Vec::new();
    for index in 0..count {
        let header = reader.original_position();
        let size = reader.read_var_u32()? as usize;
        let start = reader.original_position();
        let bytes = reader.read_bytes(size)?;
        let Some(block) = plan.block(index) else {
            content.extend_from_slice(
                &section.content[header - section.at..start - section.at + size],
            );
            offsets.push((start, content.len() - size));
            continue;
        };
        let body = body::instrument(bytes, start, plan.remaining, block)?;
        (body.bytes.len() as u32).encode(&mut content);
        let base = content.len();
        offsets.extend(
            body.offsets
                .into_iter()
                .map(|(source, within)| (source, base + within)),
        );
        content.extend_from_slice(&body.bytes);
    }
    let base = content_start(at, content.len());
    for (source, within) in offsets {
        moves.push(source, base + within);
    }
    Ok(content)
}
