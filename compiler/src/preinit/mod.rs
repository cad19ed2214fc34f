//! Pre-initialisation: a module whose start has run already.
//!
//! A module may have work to do before its first entry: a start function, and the initialiser that
//! it exports as `_initialize`. Language runtimes do a good deal there, Go's about a millisecond of
//! it, and every fresh instance pays again. This pass runs the start once, when the module is
//! compiled, and writes the memory and the globals that it left into another module, which has no
//! start any more. Nothing else of the module changes.
//!
//! The start runs in an interpreter, so that a compile worker needs no executable memory for it, a
//! module can be compiled for any target, and only the code that really runs is translated.
//! `wasmtime-wizer` writes the other module.
//!
//! It is sound only where the start would do the same every time. Whatever reads the outside world
//! or changes it is refused, with the reason, and then the module stays as it is; `outside` has
//! the list. What a language's SDK vouches for by the marker is let through: `Trust`.

mod host;
mod start;

use ferrite_cache::{Digest, OffsetShift, Rewind};
use ferrite_wasm_abi::{INITIALIZE_EXPORT, PREINIT_EXPORT};
use wasmparser::{ExternalKind, Parser, Payload};
use wasmtime_wizer::Wizer;

/// What to pre-initialise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreinitChoice {
    /// Modules that ask for it by the marker that their SDK exports.
    #[default]
    Marked,
    /// Every module that has a start.
    Always,
    /// None.
    Never,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preinit {
    /// Nobody asked for it, or the module has no start.
    NotAsked,
    /// The module's start has run.
    Done,
    /// The module stays as it was, and its start runs in every new instance.
    Refused {
        /// What stands in the way, to follow "because".
        reason: String,
    },
}

/// Who vouches for what a start reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RandomBytes {
    /// Nobody: a random number would be the same in every instance without the author's knowing.
    Refused,
    /// The SDK, by its marker: what its runtime draws in the start seeds hash tables and
    /// schedulers, and no secret.
    Seeded,
}

/// The start that a module has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Start {
    /// A start function, or the export `_initialize`.
    any: bool,
    /// The marker.
    marked: bool,
    /// The name section stands before the code, where the writer cannot put data before it.
    names_first: bool,
}

/// A module after this pass.
#[derive(Clone, Debug)]
pub struct Preinitialised {
    /// The other module; none where the source is to be compiled as it is.
    pub wasm: Option<Vec<u8>>,
    /// What became of it.
    pub preinit: Preinit,
}

/// Runs the start of a valid module, if `choice` says so and it is sound.
#[must_use]
pub fn preinit(wasm: &[u8], choice: PreinitChoice) -> Preinitialised {
    let start = Start::of(wasm);
    let wanted = match choice {
        PreinitChoice::Marked => start.marked,
        PreinitChoice::Always => true,
        PreinitChoice::Never => false,
    };
    if !wanted || !start.any {
        return Preinitialised {
            wasm: None,
            preinit: Preinit::NotAsked,
        };
    }
    match run(wasm, start) {
        Ok(other) => Preinitialised {
            wasm: Some(other),
            preinit: Preinit::Done,
        },
        Err(reason) => Preinitialised {
            wasm: None,
            preinit: Preinit::Refused { reason },
        },
    }
}

/// Whether a valid module has a start: a start function, or the initialiser.
#[must_use]
pub fn has_start(wasm: &[u8]) -> bool {
    Start::of(wasm).any
}

/// Has a rewritten other module tell its code's offsets as those of the source.
///
/// All code moves by one distance, since the sections before it have another length.
pub(crate) fn map_offsets_to_source(rewind: &mut Rewind, source: &[u8], other: &[u8]) {
    let (Rewind::Allowed(plan), Some(from), Some(to)) =
        (rewind, code_start(source), code_start(other))
    else {
        return;
    };
    let back = from as i64 - to as i64;
    for shift in &mut plan.offsets {
        shift.back += back;
    }
    if plan.offsets.is_empty() && back != 0 {
        let from = to as u64;
        plan.offsets.push(OffsetShift { from, back });
    }
}

/// Where the content of the code section begins.
fn code_start(wasm: &[u8]) -> Option<usize> {
    Parser::new(0)
        .parse_all(wasm)
        .map_while(Result::ok)
        .find_map(|payload| match payload {
            Payload::CodeSectionStart { range, .. } => Some(range.start),
            _ => None,
        })
}

/// The other module, or why there is none.
fn run(wasm: &[u8], start: Start) -> Result<Vec<u8>, String> {
    if start.names_first {
        return Err("its name section stands before its code".to_owned());
    }
    let random_bytes = if start.marked {
        RandomBytes::Seeded
    } else {
        RandomBytes::Refused
    };
    let mut wizer = Wizer::new();
    wizer.init_func(INITIALIZE_EXPORT);
    let (context, instrumented) = wizer
        .instrument(wasm)
        .map_err(|error| format!("{error:#}"))?;
    let mut state = start::run(&instrumented, random_bytes, Digest::of(wasm))?;
    pollster::block_on(wizer.snapshot(&context, &mut state)).map_err(|error| format!("{error:#}"))
}

impl Start {
    fn of(wasm: &[u8]) -> Self {
        let mut start = Self::default();
        let mut names = false;
        for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
            match payload {
                Payload::StartSection { .. } => start.any = true,
                Payload::ExportSection(exports) => {
                    for export in exports.into_iter().map_while(Result::ok) {
                        if export.kind == ExternalKind::Func {
                            start.any |= export.name == INITIALIZE_EXPORT;
                            start.marked |= export.name == PREINIT_EXPORT;
                        }
                    }
                }
                Payload::CustomSection(custom) => names |= custom.name() == "name",
                Payload::CodeSectionStart { .. } | Payload::DataSection(_) => {
                    start.names_first |= names;
                }
                _ => {}
            }
        }
        start
    }
}
