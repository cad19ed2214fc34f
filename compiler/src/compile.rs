//! From source to native code, under one profile.

use std::borrow::Cow;
use std::time::Instant;

use ferrite_cache::{ManifestError, Profile, ProfileError};
use thiserror::Error;
use wasmtime::Engine;

use crate::bounds::Bounds;
use crate::depth::{self, Counted, DepthError};
use crate::emit::{self, Compiled};
use crate::meter::{self, MeterError, Metered};
use crate::preinit::{self, Preinit, PreinitChoice, Preinitialised};
use crate::targets::{self, TargetError};
use crate::text::{self, TextError};
use crate::validate::{self, ValidateError};

/// Compiles sources for one profile. It may be used from several threads at once.
pub struct Compiler {
    engine: Engine,
    profile: Profile,
    bounds: Bounds,
    preinit: PreinitChoice,
}

impl Compiler {
    /// Prepares a compiler for `profile` that takes sources within `bounds`.
    ///
    /// # Errors
    ///
    /// A profile of another build, or one for which this build's Cranelift has no backend.
    pub fn new(profile: &Profile, bounds: Bounds) -> Result<Self, CompileError> {
        profile.check()?;
        targets::check(profile)?;
        let engine =
            Engine::new(&profile.compiler_config()).map_err(|error| CompileError::Backend {
                message: chain(&error),
            })?;
        Ok(Self {
            engine,
            profile: profile.clone(),
            bounds,
            preinit: PreinitChoice::default(),
        })
    }

    /// Chooses which modules are pre-initialised; without this, those that ask for it.
    #[must_use]
    pub fn with_preinit(mut self, choice: PreinitChoice) -> Self {
        self.preinit = choice;
        self
    }

    /// The profile that this compiles for.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Validates and compiles a module, binary or text.
    ///
    /// The same source under the same profile gives the same bytes, on any machine.
    ///
    /// # Errors
    ///
    /// What is wrong with the source; or a fault of the compiler, which is ours.
    pub fn compile(&self, source: &[u8]) -> Result<Compiled, CompileError> {
        let started = Instant::now();
        let wasm = text::to_wasm(source, &self.bounds)?;
        let (module, rewritten) = validate::validate_and_rewrite(&wasm, &self.bounds)?;
        let Preinitialised {
            wasm: other,
            mut preinit,
        } = preinit::preinit(&wasm, self.preinit);
        // The other module has to hold to the same bounds, its state included.
        let other =
            other.and_then(
                |other| match validate::validate_and_rewrite(&other, &self.bounds) {
                    Ok((mut module, rewritten)) => {
                        preinit::trace_back(&mut module.rewind, &wasm, &other);
                        Some((module, Cow::Owned(rewritten.into_owned())))
                    }
                    Err(error) => {
                        let reason = format!("the module with its state is refused: {error}");
                        preinit = Preinit::Refused { reason };
                        None
                    }
                },
            );
        let (mut module, mut compiled) = other.unwrap_or((module, rewritten));
        if self.profile.counts_stack_depth() {
            let Counted { wasm, plan } = depth::count(&compiled, &module)?;
            module.stack_depth = Some(plan);
            compiled = Cow::Owned(wasm);
        }
        let Metered {
            wasm: metered,
            plan,
        } = meter::meter(&compiled)?;
        module.meter = Some(plan);
        compiled = Cow::Owned(metered);
        let artifact =
            self.engine
                .precompile_module(&compiled)
                .map_err(|error| CompileError::Backend {
                    message: chain(&error),
                })?;
        drop(compiled);
        // The source stays what it was, and its digest the identity, whatever was compiled.
        emit::emit(
            self.profile.clone(),
            wasm.into_owned(),
            module,
            artifact,
            started.elapsed(),
            preinit,
        )
        .map_err(CompileError::Manifest)
    }
}

/// Why a source was not compiled.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The text is no module.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The module may not be compiled.
    #[error(transparent)]
    Validate(#[from] ValidateError),
    /// The profile belongs to another build.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Cranelift cannot compile for the profile's target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Its calls cannot be counted.
    #[error(transparent)]
    Depth(#[from] DepthError),
    /// It cannot be metered.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// What is to be said about the module does not fit into a manifest.
    #[error("the module has too many or too long imports and exports")]
    Manifest(#[source] ManifestError),
    /// A valid module that the backend does not take.
    #[error("the compiler failed on a valid module: {message}")]
    Backend {
        /// What wasmtime says.
        message: String,
    },
}

impl CompileError {
    /// The word that stands for this error in replies: `INVALID`, `LIMIT` or `INTERNAL`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Text(TextError::Length { .. })
            | Self::Validate(ValidateError::Bound { .. })
            | Self::Manifest(ManifestError::TooLong { .. }) => "LIMIT",
            Self::Text(_) | Self::Validate(_) => "INVALID",
            Self::Depth(error) => error.code(),
            Self::Meter(error) => error.code(),
            Self::Profile(_) | Self::Target(_) | Self::Manifest(_) | Self::Backend { .. } => {
                "INTERNAL"
            }
        }
    }

    /// Where in the source the fault is, in bytes from its start, if it is at one place.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Text(error) => error.offset(),
            Self::Validate(error) => error.offset(),
            Self::Profile(_)
            | Self::Target(_)
            | Self::Depth(_)
            | Self::Meter(_)
            | Self::Manifest(_)
            | Self::Backend { .. } => None,
        }
    }
}

/// An error of wasmtime's with its causes, on one line.
fn chain(error: &wasmtime::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}
