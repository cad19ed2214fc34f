//! What stands between the server and our own faults: no panic crosses into its code.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::context::log;

/// Runs what a callback of the server's does; `otherwise` is returned if it panics.
///
/// A panic is a bug of ours. It is written into the server's log, and the server goes on.
pub(crate) fn guard<R>(what: &str, otherwise: R, run: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result,
        Err(panic) => {
            // Logging must not panic out of here either.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                log(
                    c"warning",
                    &format!(
                        "ferrite: {what} ended by a panic, which is a bug: {}",
                        message(&*panic)
                    ),
                );
            }));
            otherwise
        }
    }
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
