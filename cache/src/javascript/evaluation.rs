//! The evaluation of a program: running its top level on the JavaScript engine.
//!
//! A compiler does it in an interpreter, and a host without a compiler on the engine's native code. Both leave the
//! same memory and globals, which are the program's [image](crate::Image).

use thiserror::Error;

use super::{JavaScript, JavaScriptError};

/// Export of the engine that makes the context on which a program is evaluated. What it leaves is the
/// [base](crate::engine_base) of all programs.
pub const JAVASCRIPT_START_EXPORT: &str = "__engine_start";

/// Export of the engine that allocates a buffer.
pub const JAVASCRIPT_BUFFER_EXPORT: &str = "__engine_buffer";

/// Export of the engine that evaluates a program.
pub const JAVASCRIPT_EVALUATE_EXPORT: &str = "__engine_evaluate";

/// Most functions that a program may export. The engine has this many functions for entries, so that all
/// programs have the same code.
pub const JAVASCRIPT_ENTRIES_MAX: usize = 256;

/// Instructions that the top level of a program may use. Large packages take some hundred million instructions.
pub const EVALUATION_FUEL_MAX: u64 = 5_000_000_000;

/// Most memory after the evaluation of a program, in bytes. The image stores all of it that is not zero.
pub const EVALUATION_MEMORY_BYTES_MAX: usize = 64 << 20;

/// Limits of a program that says nothing, where a host's defaults are lower: an interpreter takes more fuel for
/// each step than compiled code.
pub const JAVASCRIPT_LIMITS: &str = r#"{"max_fuel":200000000}"#;

/// The longest source, in bytes.
const SOURCE_BYTES_MAX: usize = 8 << 20;

/// A program is not evaluated.
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
    /// The program exports more functions than an engine has entries.
    #[error(
        "{name}: the program exports {found} functions, where at most {JAVASCRIPT_ENTRIES_MAX} are allowed; divide it"
    )]
    Entries {
        /// The program's name.
        name: String,
        /// Their number.
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
    /// The top level does not end within its limits, or cannot run without a call.
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
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } | Self::Entries { .. } => "LIMIT",
            Self::Engine { .. } => "INTERNAL",
            Self::Encoding(_)
            | Self::Utf8 { .. }
            | Self::Thrown { .. }
            | Self::Evaluation { .. } => "INVALID",
        }
    }

    /// Returns the offset of the fault in the source, in bytes.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Utf8 { offset, .. } => Some(*offset as u64),
            _ => None,
        }
    }
}

/// The reason why a start or an evaluation did not end, worded to follow "its start".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFault<'a> {
    /// It ran for too long.
    Fuel {
        /// The limit, about in instructions.
        fuel_max: u64,
    },
    /// It took too much memory.
    Memory {
        /// The limit, in bytes.
        memory_bytes_max: usize,
    },
    /// It calls a function of the host that depends on a call.
    HostCall {
        /// The function.
        name: &'a str,
    },
}

impl std::fmt::Display for StartFault<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fuel { fuel_max } => {
                write!(f, "runs for more than {fuel_max} instructions")
            }
            Self::Memory { memory_bytes_max } => {
                write!(f, "takes more than {memory_bytes_max} bytes of memory")
            }
            Self::HostCall { name } => write!(
                f,
                "calls `{name}`; what depends on a call belongs into the entries, not into \
                 `_initialize`"
            ),
        }
    }
}

/// An instance of the engine, in whatever runs WebAssembly.
pub trait EngineInstance {
    /// Calls an export that takes addresses and lengths and returns an address.
    ///
    /// # Errors
    ///
    /// The reason why it did not return one, such as `its start` and a [`StartFault`].
    fn call(&mut self, export: &str, arguments: &[u32]) -> Result<u32, String>;

    /// The memory.
    fn memory(&mut self) -> &mut [u8];
}

/// The exports of a program that has been evaluated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// Names of its entries, in the order of their numbers.
    pub names: Vec<String>,
    /// The triggers and schedules that it declares, one a line.
    pub automation: String,
}

impl JavaScript<'_> {
    /// Checks what needs no engine: the length of the source and its encoding.
    ///
    /// # Errors
    ///
    /// It is too long, or not UTF-8.
    pub fn check(&self) -> Result<(), ProgramError> {
        if self.source.len() > SOURCE_BYTES_MAX {
            return Err(ProgramError::Length {
                found: self.source.len(),
            });
        }
        match std::str::from_utf8(self.source) {
            Ok(_) => Ok(()),
            Err(error) => Err(ProgramError::Utf8 {
                name: self.name.to_owned(),
                offset: error.valid_up_to(),
            }),
        }
    }

    /// Evaluates a program that was [checked](JavaScript::check) in an engine that has started and evaluated
    /// nothing yet.
    ///
    /// # Errors
    ///
    /// The program's error, or the reason why its top level did not end.
    pub fn evaluate(&self, engine: &mut impl EngineInstance) -> Result<Exports, ProgramError> {
        let exports = self
            .run(engine)
            .map_err(|reason| ProgramError::Evaluation {
                name: self.name.to_owned(),
                reason: reason.replacen("its start", "its top level", 1),
            })??;
        if exports.names.len() > JAVASCRIPT_ENTRIES_MAX {
            return Err(ProgramError::Entries {
                name: self.name.to_owned(),
                found: exports.names.len(),
            });
        }
        Ok(exports)
    }

    /// Runs the top level. The outer error is the engine's, the inner one the program's.
    fn run(
        &self,
        engine: &mut impl EngineInstance,
    ) -> Result<Result<Exports, ProgramError>, String> {
        let terminated = |bytes: &[u8]| [bytes, b"\0"].concat();
        let source = place(engine, &terminated(self.source))?;
        let name = place(engine, &terminated(self.name.as_bytes()))?;
        let positions = place(engine, self.positions)?;
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let outcome = engine.call(
            JAVASCRIPT_EVALUATE_EXPORT,
            &[
                source,
                len(self.source),
                name,
                positions,
                len(self.positions),
            ],
        )?;
        let (failed, text) =
            outcome_at(engine.memory(), outcome).ok_or("its start returns no result")?;
        if failed {
            // The stack is left out: replies are one line.
            let message = text.lines().next().unwrap_or_default().to_owned();
            return Ok(Err(ProgramError::Thrown { message }));
        }
        let mut exports = Exports::default();
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
        Ok(Ok(exports))
    }
}

/// Reads the outcome of an evaluation: true if it failed, and the text.
fn outcome_at(memory: &[u8], at: u32) -> Option<(bool, String)> {
    let mut words = memory.get(at as usize..)?.chunks_exact(4);
    let mut word = || Some(u32::from_le_bytes(*words.next()?.first_chunk::<4>()?));
    let (failed, text, len) = (word()?, word()?, word()?);
    let bytes = memory.get(text as usize..)?.get(..len as usize)?;
    Some((failed != 0, String::from_utf8_lossy(bytes).into_owned()))
}

/// Copies bytes into the engine's memory and returns their address.
fn place(engine: &mut impl EngineInstance, bytes: &[u8]) -> Result<u32, String> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let at = engine.call(JAVASCRIPT_BUFFER_EXPORT, &[len])?;
    engine
        .memory()
        .get_mut(at as usize..)
        .and_then(|room| room.get_mut(..bytes.len()))
        .filter(|_| at != 0)
        .ok_or("there is no memory for the program")?
        .copy_from_slice(bytes);
    Ok(at)
}
