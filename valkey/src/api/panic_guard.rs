//! What stands between the server and our own faults: no panic crosses into its code.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::api::context::log;

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

/// Has panics told in the server's log alone, with their place, and without a trace of the stack: to
/// print one, the standard library would free memory that the C library allocated, which ends
/// servers that bring an allocator of their own.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let text = format!(
            "ferrite: panic at {}: {}",
            place.as_deref().unwrap_or("an unknown place"),
            message(panic.payload())
        );
        log(c"warning", &text);
    }));
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
