//! Validation and ahead-of-time compilation of WebAssembly modules.
//!
//! The stages, each in a module of its own:
//!
//! 1. [`to_wasm`] parses the text format, and evaluates programs in JavaScript;
//! 2. [`flatten()`](flatten::flatten) makes one module of a component;
//! 3. [`validate()`] checks the module and describes it;
//! 4. [`preinit`] runs its start ahead of time, if that is asked for;
//! 5. [`rewrite`] lets the host rewind its instances, [`depth`] limits the depth of its calls;
//! 6. `split` separates code that programs may share from the memory of each;
//! 7. [`Compiler`] makes native code under a profile, with a manifest for the cache.
//!
//! [`worker`] does all of it in a sandboxed process for servers, which link no compiler. [`targets()`]
//! lists the platforms that this build can compile for.
//!
//! ```
//! use ferrite_cache::Profile;
//! use ferrite_compiler::{Compiler, SourceLimits};
//! # fn main() -> Result<(), ferrite_compiler::CompileError> {
//! let compiler = Compiler::new(&Profile::native(), SourceLimits::default())?;
//! let compiled = compiler.compile(
//!     br#"(module (func (export "answer") (result i64) i64.const 42))"#,
//! )?;
//! assert_eq!(compiled.manifest.module.entries[0].name, "answer");
//! assert_eq!(compiled.manifest.artifact_len, compiled.artifact.len() as u64);
//! # Ok(())
//! # }
//! ```

mod compile;
pub mod depth;
pub mod flatten;
mod javascript;
mod limits;
pub mod meter;
pub mod preinit;
pub mod rewrite;
pub mod sandbox;
mod sections;
mod split;
mod targets;
mod text;
mod validate;
pub mod worker;

pub use compile::emit::Compiled;
pub use compile::{CompileError, Compiler, describe};
pub use flatten::FlattenError;
pub use limits::SourceLimits;
pub use preinit::{Preinit, PreinitChoice};
pub use targets::{BaselineInfo, TargetError, TargetInfo, targets};
pub use text::{TextError, to_stored, to_wasm};
pub use validate::automation::DeclarationError;
pub use validate::{ValidateError, problems, validate};
