//! Validation and ahead-of-time compilation of WebAssembly modules.
//!
//! A source goes through these stages, each a module of its own: [`to_wasm`] parses the text
//! format, [`validate()`] decides whether the module may be compiled and says what it contains,
//! [`Compiler`] turns it into native code under an explicit profile, and a manifest is made of
//! what is known by then. [`worker`] does all of it at the far end of a pipe, for servers, which
//! link no compiler. [`targets()`] lists what there are backends for.

mod bounds;
mod compile;
pub mod depth;
mod emit;
pub mod meter;
pub mod preinit;
pub mod rewrite;
pub mod sandbox;
mod sections;
mod targets;
mod text;
mod validate;
pub mod worker;

pub use bounds::Bounds;
pub use compile::{CompileError, Compiler};
pub use emit::Compiled;
pub use preinit::{Preinit, PreinitChoice};
pub use targets::{BaselineInfo, TargetError, TargetInfo, targets};
pub use text::{TextError, to_wasm};
pub use validate::{ValidateError, problems, validate};
