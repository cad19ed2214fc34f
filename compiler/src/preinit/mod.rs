//! Pre-initialisation: runs the start of a module when it is compiled.
//!
//! A module may have work to do before its first entry: a start function, and the initialiser that
//! it exports as `_initialize`. Language runtimes do a good deal there, Go's about a millisecond of
//! it, and every fresh instance pays again. This pass runs the start once and writes the resulting
//! memory and globals into a new module without a start. Nothing else changes.
//!
//! The start runs in an interpreter: the compile worker needs no executable memory, the module can be
//! compiled for any target, and only code that runs is translated. `wasmtime-wizer` writes the new
//! module.
//!
//! This is sound only if the start does the same every time. A start that reads or changes anything
//! outside the module is refused with the reason, and the module stays as it is; `host` has the list.
//! The marker of a language's SDK makes an exception for random bytes: see `RandomBytes`.

mod host;
pub(crate) mod start;

use ferrite_cache::{Digest, OffsetShift, Rewind};
use ferrite_wasm_abi::{INITIALIZE_EXPORT, PREINIT_EXPORT};
use wasmparser::{ExternalKind, Parser, Payload};
use wasmtime_wizer::Wizer;

use crate::rewrite;
use start::{StartLimits, Started};

/// Most data segments that a module may have when its state is written: an engine takes 100,000, and the writer adds
/// up to 10,000.
const SEGMENTS_MAX: u32 = 90_000;

/// Chooses which modules are pre-initialised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreinitChoice {
    /// Modules that export the marker of their SDK.
    #[default]
    Marked,
    /// Every module that has a start.
    Always,
    /// None.
    Never,
}

/// The result of pre-initialisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preinit {
    /// It was not asked for, or the module has no start.
    NotAsked,
    /// The module's start has run.
    Done,
    /// The module stays as it was, and its start runs in every new instance.
    Refused {
        /// The obstacle, worded to follow "because".
        reason: String,
    },
}

/// The answer to a start that asks for random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RandomBytes {
    /// An error: without the author's knowledge, the bytes would be the same in every instance.
    Refused,
    /// Bytes derived from the source. The marker of the SDK promises that its runtime uses them in
    /// the start to seed hash tables and schedulers, not for secrets.
    Seeded,
}

/// Facts about the start of a module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Start {
    /// True if the module has a start function or exports `_initialize`.
    any: bool,
    /// True if the module exports the marker.
    marked: bool,
    /// True if the name section precedes the code or data section; the writer does not support that.
    names_first: bool,
}

/// The output of this pass.
#[derive(Clone, Debug)]
pub struct Preinitialised {
    /// The new module; `None` if the source is compiled as it is.
    pub wasm: Option<Vec<u8>>,
    /// The result.
    pub preinit: Preinit,
}

/// Runs the start of a valid module if `choice` asks for it and it is sound.
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

/// Returns true if a valid module has a start function or exports the initialiser.
#[must_use]
pub fn has_start(wasm: &[u8]) -> bool {
    Start::of(wasm).any
}

/// Makes the offsets in `rewind` refer to `source` instead of the pre-initialised module `other`.
///
/// All code moves by the same distance, because the sections before it have another length.
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

/// Returns the offset of the content of the code section.
fn code_start(wasm: &[u8]) -> Option<usize> {
    Parser::new(0)
        .parse_all(wasm)
        .map_while(Result::ok)
        .find_map(|payload| match payload {
            Payload::CodeSectionStart { range, .. } => Some(range.start),
            _ => None,
        })
}

/// Returns the number of data segments.
fn data_segments(wasm: &[u8]) -> u32 {
    Parser::new(0)
        .parse_all(wasm)
        .map_while(Result::ok)
        .find_map(|payload| match payload {
            Payload::DataSection(section) => Some(section.count()),
            _ => None,
        })
        .unwrap_or(0)
}

/// Returns the new module, or the reason why there is none.
fn run(wasm: &[u8], start: Start) -> Result<Vec<u8>, String> {
    if start.names_first {
        return Err("its name section stands before its code".to_owned());
    }
    let random_bytes = if start.marked {
        RandomBytes::Seeded
    } else {
        RandomBytes::Refused
    };
    // The writer keeps an empty segment for each one of the source, and adds those of the new state.
    let joined = rewrite::join_data(wasm).map_err(|error| error.to_string())?;
    let segments = data_segments(&joined);
    if segments > SEGMENTS_MAX {
        return Err(format!(
            "{segments} of its data segments have to stay, and the state needs room for more: at most {SEGMENTS_MAX} may"
        ));
    }
    let mut wizer = Wizer::new();
    wizer.init_func(INITIALIZE_EXPORT);
    let (context, instrumented) = wizer
        .instrument(&joined)
        .map_err(|error| format!("{error:#}"))?;
    let started = Started::new(
        &instrumented,
        random_bytes,
        Digest::of(wasm),
        StartLimits::default(),
    )?;
    let mut state = started.state();
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
