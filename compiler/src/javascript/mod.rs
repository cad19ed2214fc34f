//! Makes a module of a program in JavaScript.
//!
//! The program runs on an interpreter, QuickJS-ng, which is a module itself: `compiler/javascript/engine.c`
//! compiled by `cargo xtask engine`. To make a module of a program is to run its top level on that
//! engine, as [`preinit`](crate::preinit) runs a start, to keep the memory that this leaves, and to add
//! one command entry for each function that the program exports. No compiler of JavaScript is involved,
//! and the result is a module like any other.

mod engine;
mod entries;

use ferrite_cache::{AUTOMATION_SECTION, Digest, JavaScript, JavaScriptError};
use ferrite_wasm_abi::INITIALIZE_EXPORT;
use thiserror::Error;
use wasm_encoder::{CustomSection, Section as _};
use wasmtime_wizer::Wizer;

use crate::preinit::RandomBytes;
use crate::preinit::start::{StartLimits, Started};

/// Instructions that the top level of a program may use. Large packages take some hundred million instructions.
const LIMITS: StartLimits = StartLimits {
    fuel_max: 5_000_000_000,
    memory_bytes_max: 64 << 20,
};

/// The longest source, in bytes.
const SOURCE_BYTES_MAX: usize = 8 << 20;

/// Name and version of the engine.
pub const JAVASCRIPT_ENGINE: &str = "QuickJS-ng 0.16.2";

/// Exports of the engine.
const BUFFER: &str = "__engine_buffer";
const EVALUATE: &str = "__engine_evaluate";

/// A program is not made a module.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The program is not encoded as it should be.
    #[error(transparent)]
    Encoding(#[from] JavaScriptError),
    /// The source is longer than the limit.
    #[error("{found} bytes of JavaScript, where at most {SOURCE_BYTES_MAX} are allowed")]
    Length {
        /// Bytes of the source.
        found: usize,
    },
    /// The source is not UTF-8.
    #[error("{name}: the program is not UTF-8: byte {offset} does not belong to a character")]
    Utf8 {
        /// The program's name.
        name: String,
        /// Offset of the first such byte.
        offset: usize,
    },
    /// The program has a syntax error, or its top level threw.
    #[error("{message}")]
    Thrown {
        /// The error with its position.
        message: String,
    },
    /// The top level does not end within its limits, or cannot run when the program is compiled.
    #[error("{name}: {reason}")]
    Evaluation {
        /// The program's name.
        name: String,
        /// The error's text.
        reason: String,
    },
    /// The engine is damaged, which is a bug.
    #[error("the JavaScript engine: {reason}")]
    Engine {
        /// The fault.
        reason: String,
    },
}

impl ProgramError {
    /// Returns the error code for replies: `INVALID`, `LIMIT` or `INTERNAL`.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "LIMIT",
            Self::Engine { .. } => "INTERNAL",
            Self::Encoding(_)
            | Self::Utf8 { .. }
            | Self::Thrown { .. }
            | Self::Evaluation { .. } => "INVALID",
        }
    }

    /// Returns the offset of the fault in the source, in bytes.
    pub(crate) fn offset(&self) -> Option<u64> {
        match self {
            Self::Utf8 { offset, .. } => Some(*offset as u64),
            _ => None,
        }
    }
}

/// Makes a module of an encoded program.
pub(crate) fn to_module(encoded: &[u8]) -> Result<Vec<u8>, ProgramError> {
    let program = JavaScript::decode(encoded)?;
    if program.source.len() > SOURCE_BYTES_MAX {
        return Err(ProgramError::Length {
            found: program.source.len(),
        });
    }
    if let Err(error) = std::str::from_utf8(program.source) {
        return Err(ProgramError::Utf8 {
            name: program.name.to_owned(),
            offset: error.valid_up_to(),
        });
    }
    let broken = |reason| ProgramError::Engine { reason };
    let engine = engine::wasm().map_err(broken)?;
    let mut wizer = Wizer::new();
    wizer.init_func(INITIALIZE_EXPORT);
    let (context, instrumented) = wizer
        .instrument(&engine)
        .map_err(|error| broken(format!("{error:#}")))?;
    let evaluation = |reason: String| ProgramError::Evaluation {
        name: program.name.to_owned(),
        reason: reason.replacen("its start", "its top level", 1),
    };
    let mut started = Started::new(
        &instrumented,
        RandomBytes::Refused,
        Digest::of(encoded),
        LIMITS,
    )
    .map_err(evaluation)?;
    let Exports { names, automation } = evaluate(&mut started, &program).map_err(evaluation)??;
    let snapshot = pollster::block_on(wizer.snapshot(&context, &mut started.state()))
        .map_err(|error| broken(format!("{error:#}")))?;
    let mut module = entries::add(&snapshot, &names).map_err(|error| broken(error.to_string()))?;
    if !automation.is_empty() {
        let section = CustomSection {
            name: AUTOMATION_SECTION.into(),
            data: automation.as_bytes().into(),
        };
        section.append_to(&mut module);
    }
    Ok(module)
}

/// The exports of a program that has been evaluated.
struct Exports {
    /// Names of its entries.
    names: Vec<String>,
    /// The triggers and schedules that it declares, one a line.
    automation: String,
}

/// Evaluates the program in the engine. Returns its exports; the outer error is the engine's, the inner one
/// the program's.
fn evaluate(
    started: &mut Started,
    program: &JavaScript<'_>,
) -> Result<Result<Exports, ProgramError>, String> {
    let terminated = |bytes: &[u8]| [bytes, b"\0"].concat();
    let source = place(started, &terminated(program.source))?;
    let name = place(started, &terminated(program.name.as_bytes()))?;
    let positions = place(started, program.positions)?;
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let outcome = started.call(
        EVALUATE,
        &[
            source,
            len(program.source),
            name,
            positions,
            len(program.positions),
        ],
    )?;
    let memory = started.memory();
    let bad = || "its start returns no result".to_owned();
    let word = |at: u32| -> Option<u32> {
        let bytes = memory.get(at as usize..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    let read = || -> Option<(bool, String)> {
        let (failed, text, len) = (word(outcome)?, word(outcome + 4)?, word(outcome + 8)?);
        let bytes = memory.get(text as usize..)?.get(..len as usize)?;
        Some((failed != 0, String::from_utf8_lossy(bytes).into_owned()))
    };
    let (failed, text) = read().ok_or_else(bad)?;
    Ok(if failed {
        // The stack is left out: replies are one line.
        let message = text.lines().next().unwrap_or_default().to_owned();
        Err(ProgramError::Thrown { message })
    } else {
        let mut exports = Exports {
            names: Vec::new(),
            automation: String::new(),
        };
        for line in text.lines() {
            // A declaration follows a tab, which no name of an entry has at its start.
            match line.strip_prefix('\t') {
                Some(declaration) => {
                    exports.automation.push_str(declaration);
                    exports.automation.push('\n');
                }
                None => exports.names.push(line.to_owned()),
            }
        }
        Ok(exports)
    })
}

/// Copies bytes into the engine's memory and returns their address.
fn place(started: &mut Started, bytes: &[u8]) -> Result<u32, String> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let at = started.call(BUFFER, &[len])?;
    started
        .memory()
        .get_mut(at as usize..)
        .and_then(|room| room.get_mut(..bytes.len()))
        .filter(|_| at != 0)
        .ok_or_else(|| "there is no memory for the program".to_owned())?
        .copy_from_slice(bytes);
    Ok(at)
}
