//! Write Ferrite WASM functions in Rust.
//!
//! A function is ordinary Rust with an attribute. Its parameters are filled from the call's KEYS,
//! then its ARGS, in order; its result becomes the reply:
//!
//! ```
//! use ferrite_wasm_sdk::*;
//!
//! #[ferrite_function]
//! pub fn rate_limit(key: &str, limit: i64, window_secs: i64) -> Result<bool, Error> {
//!     let current: i64 = ferrite::get(key)?.unwrap_or(0);
//!     if current >= limit {
//!         return Ok(false);
//!     }
//!     ferrite::incr(key)?;
//!     if current == 0 {
//!         ferrite::expire(key, window_secs)?;
//!     }
//!     Ok(true)
//! }
//!
//! // On the host the same function runs against a store in memory.
//! let store = mock::Store::new();
//! assert_eq!(rate_limit("ratelimit:api:1", 1, 60), Ok(true));
//! let reply = store.call(entry!(rate_limit), ["ratelimit:api:1"], ["1", "60"]);
//! assert_eq!(reply, Value::Bool(false));
//! ```
//!
//! Built for `wasm32-unknown-unknown` as a `cdylib`, each annotated function is an entry of the
//! module: `WASM.CALL rate_limit KEYS ratelimit:api:1 ARGS 100 60`.
//!
//! - [`ferrite`] has the functions that reach the store.
//! - [`ferrite::on`], [`ferrite::every`] and [`ferrite::cron`] let a host run a function by itself.
//! - [`http`] makes requests to other servers.
//! - [`Parameter`] lists what a parameter may be, [`Reply`] what a result may be.
//! - [`Error`] becomes an error reply, and any standard error turns into one by `?`.
//! - [`console`] has `println!` and its like, which write to the log.
//! - [`mock`] is the store for tests on the host.
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", not(target_family = "wasm")))]
extern crate std;

#[cfg(any(all(target_family = "wasm", feature = "allocator"), test))]
mod allocator;
mod argument;
pub mod console;
mod error;
mod excerpt;
pub mod ferrite;
mod host;
pub mod http;
mod input;
#[cfg(feature = "serde")]
mod json;
mod level;
#[cfg(not(target_family = "wasm"))]
pub mod mock;
mod reply;
mod value;

pub use argument::{Argument, Arguments};
pub use error::Error;
pub use ferrite_wasm_abi::Status;
pub use ferrite_wasm_sdk_macros::{entry, ferrite_function};
#[cfg(all(target_family = "wasm", not(feature = "std")))]
pub use host::panicked;
pub use input::parameter::{Keys, Parameter};
pub use input::{Entry, Input, Refusal};
#[cfg(feature = "serde")]
pub use json::Json;
pub use reply::{Reply, Simple};
pub use value::Value;
pub use value::from_value::{FromValue, Mismatch};

/// Functions that the macro's code calls; not for other use.
#[doc(hidden)]
pub mod __private {
    pub use crate::input::entry::{finish, run, take};
    pub use crate::input::{Description, Entry, Input};
}

/// The guides' code is compiled and run with the tests.
#[cfg(all(doctest, feature = "serde"))]
mod guides {
    #[doc = include_str!("../../../docs/guide/rust.md")]
    struct Rust;

    #[doc = include_str!("../../../docs/everywhere.md")]
    struct Everywhere;

    #[doc = include_str!("../../../docs/guide/from-lua.md")]
    struct FromLua;
}
