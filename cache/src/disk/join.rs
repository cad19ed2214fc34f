//! Two operations that wait for the disk, run in parallel.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

/// Runs both closures in parallel: the first on a thread of its own, or after the second if no
/// thread can be started.
pub(super) fn join<A: Send, B>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    let work = Mutex::new(Some(one));
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).take();
    scope(|scope| {
        let thread = Builder::new()
            .name("ferrite-sync".to_owned())
            .spawn_scoped(scope, move || take().map(|one| one()));
        let other = other();
        let done = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => take().map(|one| one()),
        };
        (done.expect("nobody else takes it"), other)
    })
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::sync::Barrier;

    use super::join;

    #[test]
    fn both_are_done_at_the_same_time() {
        // Neither can pass the barrier alone.
        let both = Barrier::new(2);
        let done = join(
            || {
                both.wait();
                1
            },
            || {
                both.wait();
                "other"
            },
        );
        assert_eq!(done, (1, "other"));
    }

    #[test]
    fn a_panic_of_either_is_passed_on() {
        assert!(catch_unwind(|| join(|| panic!("on purpose"), || 1)).is_err());
        assert!(catch_unwind(|| join(|| 1, || panic!("on purpose"))).is_err());
    }
}
