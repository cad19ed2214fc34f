//! The counting pass: a module whose calls cannot nest deeper than the host allows.
//!
//! It runs only under a profile that says so, on what [`rewrite`](mod@crate::rewrite) leaves. The
//! module gets one global, which holds how much deeper calls may nest, and every function that
//! calls functions of the module takes one from it while it runs:
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
//! Branches to the function's own label end up at the end of the block, one level in, without
//! being written differently. Whatever way a function returns, it gives back what it took: the
//! global is the limit again when the entry has returned, and an instance that trapped serves no
//! other call. So the host sets it once for an instance. It is no global of the author's and is
//! put in after those are counted, so that rewinding does not know it, nor pre-initialisation,
//! which ran before.
//!
//! A function that calls nothing but functions of the host cannot make calls nest deeper than by
//! itself, and stays as it is: small functions that are called often are the ones that counting
//! would cost most.
//!
//! A start function that is left is exported for the host to run, since the limit has to be set
//! before.
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

/// The longest list of moved code, in bytes: half of what a manifest may be in all.
const MOVES_BYTES_MAX: usize = 512 << 10;

/// A module that counts how deep its calls nest.
#[derive(Clone, Debug)]
pub struct Instrumented {
    /// The module to compile.
    pub wasm: Vec<u8>,
    /// What the host has to know of it.
    pub plan: DepthPlan,
}

/// Why a valid module cannot be made to count.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DepthError {
    /// It is not valid after all.
    #[error("the module cannot be read to count its calls")]
    Parse(#[from] wasmparser::Error),
    /// It has something of the name that the pass needs.
    #[error(
        "the module exports \"{name}\", which is reserved where calls are counted; give the export another name, or leave max_stack_depth out"
    )]
    Reserved {
        /// The name.
        name: &'static str,
    },
    /// A call that leaves no frame to count by, or a type that no block can have.
    #[error("the module uses {what}, which calls cannot be counted with")]
    Unknown {
        /// What it uses.
        what: Cow<'static, str>,
    },
    /// There are too many functions for the manifest to tell where each went.
    #[error(
        "the module has {functions} functions, too many to tell where a trap of code that counts its calls came from ({bytes} bytes of notes, at most {max}); leave max_stack_depth out"
    )]
    TooLarge {
        /// Functions that the module defines.
        functions: u32,
        /// Bytes that the notes take.
        bytes: usize,
        /// Bytes that they may take.
        max: usize,
    },
}

impl DepthError {
    /// The word that stands for this error in replies.
    #[must_use]
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Reserved { .. } => "INVALID",
            Self::TooLarge { .. } => "LIMIT",
            Self::Parse(_) | Self::Unknown { .. } => "INTERNAL",
        }
    }
}

/// Makes a valid module count how deep its calls nest.
///
/// `info` tells which of its functions are the author's: those that other passes added come after
/// them and are not counted.
///
/// # Errors
///
/// What about the module stands in the way; nothing about most.
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

/// The code section, whose header will stand at `at`.
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
    // (where in the source, where in the content)
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
