//! Compiles sources to native code under one profile.

pub(crate) mod emit;

use std::borrow::Cow;
use std::time::Instant;

use ferrite_cache::{
    CodeOffsetMap, JavaScript, KnownEngine, ManifestError, ModuleInfo, Profile, ProfileError,
    Rewind, engine_base,
};
use thiserror::Error;
use wasmtime::Engine;

use crate::compile::emit::{Compiled, NativeCode};
use crate::depth::{self, DepthError, Instrumented};
use crate::flatten::{self, FlattenError};
use crate::limits::SourceLimits;
use crate::meter::{self, MeterError, Metered};
use crate::preinit::{self, Preinit, PreinitChoice, Preinitialised};
use crate::split::{self, Split};
use crate::targets::{self, TargetError};
use crate::text::{self, TextError};
use crate::validate::automation::{self, DeclarationError};
use crate::validate::{self, ValidateError, Wanted};

/// Compiles sources for one profile. Several threads may use it at once.
pub struct Compiler {
    engine: Engine,
    profile: Profile,
    bounds: SourceLimits,
    preinit: PreinitChoice,
}

impl Compiler {
    /// Creates a compiler for `profile` that accepts sources within `bounds`.
    ///
    /// # Errors
    ///
    /// The profile belongs to another build, or this build's Cranelift has no backend for it.
    pub fn new(profile: &Profile, bounds: SourceLimits) -> Result<Self, CompileError> {
        profile.check()?;
        targets::check(profile)?;
        let engine =
            Engine::new(&profile.compiler_config()).map_err(|error| CompileError::Backend {
                source: error.into(),
            })?;
        Ok(Self {
            engine,
            profile: profile.clone(),
            bounds,
            preinit: PreinitChoice::default(),
        })
    }

    /// Chooses which modules are pre-initialised. The default is those that ask for it.
    #[must_use]
    pub fn with_preinit(mut self, choice: PreinitChoice) -> Self {
        self.preinit = choice;
        self
    }

    /// Returns the profile.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Validates and compiles a module in the binary or the text format, or a component.
    ///
    /// The same source and profile give the same bytes on any machine.
    ///
    /// # Errors
    ///
    /// The source is refused, or the compiler fails, which is a bug.
    pub fn compile(&self, source: &[u8]) -> Result<Compiled, CompileError> {
        self.compile_with(source, &[], |engine| self.compile_engine(engine))
    }

    /// Compiles like [`Compiler::compile`], but leaves out the native code of an engine that is among
    /// `engines`: the result then has none, and its manifest says which it needs.
    ///
    /// # Errors
    ///
    /// As [`Compiler::compile`].
    pub fn compile_unless_known(
        &self,
        source: &[u8],
        engines: &[KnownEngine],
    ) -> Result<Compiled, CompileError> {
        self.compile_with(source, engines, |engine| self.compile_engine(engine))
    }

    /// Compiles like [`Compiler::compile_unless_known`], but returns the module of an engine in the place of
    /// its native code, for [`Compiler::compile_engine`].
    ///
    /// # Errors
    ///
    /// As [`Compiler::compile`].
    pub fn compile_without_engine(
        &self,
        source: &[u8],
        engines: &[KnownEngine],
    ) -> Result<Compiled, CompileError> {
        self.compile_with(source, engines, |engine| Ok(engine.to_vec()))
    }

    /// Compiles the module of an engine. Its [base](engine_base), if it has one, follows the native code.
    ///
    /// # Errors
    ///
    /// The module is not valid, or the compiler fails, which is a bug.
    pub fn compile_engine(&self, engine: &[u8]) -> Result<Vec<u8>, CompileError> {
        let mut native = self.native_code(engine)?;
        if let Some(base) = split::base_of(engine) {
            engine_base::append(&mut native, base);
        }
        Ok(native)
    }

    fn compile_with(
        &self,
        source: &[u8],
        engines: &[KnownEngine],
        compile_engine: impl Fn(&[u8]) -> Result<Vec<u8>, CompileError>,
    ) -> Result<Compiled, CompileError> {
        let started = Instant::now();
        let wasm = text::to_wasm(source, &self.bounds)?;
        let wanted = if JavaScript::is_engine(source) {
            Wanted::Engine
        } else {
            Wanted::Entries
        };
        let flat = flatten::flatten(&wasm, &self.bounds)?;
        let (module, rewritten) = validate::validate_and_rewrite(&flat, &self.bounds, wanted)?;
        let declared = automation::read(&wasm, &module.entries)?;
        let limits = automation::read_limits(&wasm)?;
        let Preinitialised {
            wasm: other,
            mut preinit,
        } = preinit::preinit(&flat, self.preinit);
        // The pre-initialised module, with its state, must be within the same limits.
        let other = other.and_then(|other| {
            match validate::validate_and_rewrite(&other, &self.bounds, wanted) {
                Ok((mut module, rewritten)) => {
                    preinit::map_offsets_to_source(&mut module.rewind, &flat, &other);
                    Some((module, Cow::Owned(rewritten.into_owned())))
                }
                Err(error) => {
                    let reason = format!("the module with its state is refused: {error}");
                    preinit = Preinit::Refused { reason };
                    None
                }
            }
        });
        let (mut module, mut compiled) = other.unwrap_or((module, rewritten));
        module.automation = declared;
        module.limits = limits;
        if self.profile.counts_stack_depth() {
            let Instrumented { wasm, plan } = depth::instrument(&compiled, &module)?;
            module.stack_depth = Some(plan);
            compiled = Cow::Owned(wasm);
        }
        let Metered {
            wasm: metered,
            plan,
        } = meter::meter(&compiled)?;
        module.meter = Some(plan);
        compiled = Cow::Owned(metered);
        let mut split =
            split::split(&compiled, &module).map_err(|error| CompileError::Backend {
                source: error.into(),
            })?;
        let is_program = JavaScript::is(source);
        if is_program {
            forget_offsets(&mut module, split.as_mut());
        }
        let native = match &split {
            Some(Split { engine, info, .. }) => {
                match engines.iter().find(|known| known.engine == info.engine) {
                    Some(known) => NativeCode::Known(*known),
                    None => NativeCode::New(compile_engine(engine)?),
                }
            }
            None => NativeCode::New(self.native_code(&compiled)?),
        };
        drop(compiled);
        drop(flat);
        // The manifest names the original source, even if another module was compiled. A program is evaluated
        // again where it is needed, by whatever engine there is then.
        let original = if is_program {
            source.to_vec()
        } else {
            wasm.into_owned()
        };
        emit::emit(
            self.profile.clone(),
            original,
            module,
            native,
            split.map(|split| (split.info, split.image)),
            started.elapsed(),
            preinit,
        )
        .map_err(CompileError::Manifest)
    }

    fn native_code(&self, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        self.engine
            .precompile_module(wasm)
            .map_err(|error| CompileError::Backend {
                source: error.into(),
            })
    }
}

/// Leaves out where code stands in a source that has none: offsets in errors are then those in the engine.
fn forget_offsets(module: &mut ModuleInfo, split: Option<&mut Split>) {
    let Some(split) = split else {
        return;
    };
    split.info.back = 0;
    if let Rewind::Allowed(plan) = &mut module.rewind {
        plan.offsets.clear();
    }
    if let Some(plan) = &mut module.meter {
        plan.moves = CodeOffsetMap::default();
    }
    if let Some(plan) = &mut module.stack_depth {
        plan.moves = CodeOffsetMap::default();
    }
}

/// Describes a binary module, a component or an encoded program, without compiling it.
///
/// # Errors
///
/// The source is refused.
pub fn describe(source: &[u8], bounds: &SourceLimits) -> Result<ModuleInfo, CompileError> {
    let made = JavaScript::is(source)
        .then(|| text::to_wasm(source, bounds))
        .transpose()?;
    let source = made.as_deref().unwrap_or(source);
    let flat = flatten::flatten(source, bounds)?;
    let mut module = validate::validate(&flat, bounds)?;
    module.automation = automation::read(source, &module.entries)?;
    module.limits = automation::read_limits(source)?;
    Ok(module)
}

/// A source was not compiled.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The text is not a module.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The component cannot become one module.
    #[error(transparent)]
    Flatten(#[from] FlattenError),
    /// The module is refused.
    #[error(transparent)]
    Validate(#[from] ValidateError),
    /// The triggers and schedules that the module declares are refused.
    #[error(transparent)]
    Declaration(#[from] DeclarationError),
    /// The profile belongs to another build.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Cranelift cannot compile for the profile's target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The module cannot be made to count its call depth.
    #[error(transparent)]
    Depth(#[from] DepthError),
    /// The module cannot be metered.
    #[error(transparent)]
    Meter(#[from] MeterError),
    /// The description of the module does not fit into a manifest.
    #[error("the module has too many or too long imports and exports")]
    Manifest(#[source] ManifestError),
    /// The backend failed on a valid module.
    #[error("the compiler failed on a valid module")]
    Backend {
        /// The error of wasmtime.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CompileError {
    /// Returns the error code for replies: `INVALID`, `LIMIT` or `INTERNAL`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Text(TextError::Length { .. })
            | Self::Validate(ValidateError::LimitExceeded { .. })
            | Self::Manifest(ManifestError::TooLong { .. }) => "LIMIT",
            Self::Text(TextError::JavaScript(error)) => error.code(),
            Self::Text(_) | Self::Validate(_) => "INVALID",
            Self::Flatten(error) => error.code(),
            Self::Declaration(error) => error.code(),
            Self::Depth(error) => error.code(),
            Self::Meter(error) => error.code(),
            Self::Profile(_) | Self::Target(_) | Self::Manifest(_) | Self::Backend { .. } => {
                "INTERNAL"
            }
        }
    }

    /// Returns the offset of the fault in the source, in bytes, if it has a single position.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Text(error) => error.offset(),
            Self::Flatten(error) => error.offset(),
            Self::Validate(error) => error.offset(),
            Self::Declaration(_)
            | Self::Profile(_)
            | Self::Target(_)
            | Self::Depth(_)
            | Self::Meter(_)
            | Self::Manifest(_)
            | Self::Backend { .. } => None,
        }
    }
}
