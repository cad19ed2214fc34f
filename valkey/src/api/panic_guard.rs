//! Catches panics of the module, so that none crosses into the server's code.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::api::context::log;

/// Runs the body of a callback. Returns `otherwise` if it panics.
///
/// A panic is a bug of the module. It is written into the server's log, as the end of `what`, and
/// the server goes on.
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

/// Writes panics into the server's log, with their place and without a backtrace: to print one, the
/// standard library frees memory that the C library allocated, which crashes servers that bring an
/// allocator of their own.
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

/// Returns the message of a panic.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
