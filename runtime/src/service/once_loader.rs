//! A value that is loaded at its first use, once for all tasks that wait for it.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{CallError, Code};

/// Time after a failed load until the next try.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A value that is loaded at its first use.
pub(crate) struct OnceLoader<T> {
    value: OnceLock<T>,
    state: Mutex<State>,
    retry_after: Duration,
}

/// Progress of loading a value.
enum State {
    /// No load has begun.
    Idle,
    /// A load runs; the wakers of the tasks that wait for it.
    Fetching(Vec<Waker>),
    /// The last load failed; `at` is the time, unless the next use is to retry at once.
    Failed {
        error: CallError,
        at: Option<Instant>,
    },
}

impl<T: Send + Sync + 'static> OnceLoader<T> {
    /// Creates a loader that has its value.
    pub(crate) fn loaded(value: T) -> Self {
        Self {
            value: OnceLock::from(value),
            ..Self::empty()
        }
    }

    /// Creates a loader without a value.
    pub(crate) const fn empty() -> Self {
        Self {
            value: OnceLock::new(),
            state: Mutex::new(State::Idle),
            retry_after: RETRY_AFTER,
        }
    }

    /// Returns the value if it is loaded.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Returns the value; loads it by `at_once` or else by `fetch` if necessary.
    ///
    /// `at_once` runs on this thread and gives up rather than take long. `fetch` runs on a thread of
    /// its own, which continues if the waiting task is dropped. After a failure the next `fetch` runs
    /// some seconds later. Waking another thread and being woken takes as long as a small load, which
    /// is why `at_once` comes first.
    ///
    /// # Errors
    ///
    /// The error of `fetch`, for all tasks that wait.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        at_once: impl FnOnce() -> Option<T>,
        fetch: impl FnOnce() -> Result<T, CallError> + Send + 'static,
    ) -> Result<&T, CallError> {
        if self.claim() && !self.settle_at_once(at_once) {
            let this = Arc::clone(self);
            let fetching = std::thread::Builder::new()
                .name("ferrite-fetch".to_owned())
                .spawn(move || {
                    let claim = Claim(&this);
                    let result = fetch();
                    claim.settle(result);
                });
            if let Err(error) = fetching {
                Claim(self).settle(Err(CallError::new(
                    Code::Busy,
                    format!("there is no thread to load the function ({error}); try again later"),
                )));
            }
        }
        poll_fn(|context| {
            let mut state = self.state.lock();
            if let Some(value) = self.value.get() {
                return Poll::Ready(Ok(value));
            }
            match &mut *state {
                State::Fetching(waiting) => {
                    if !waiting.iter().any(|one| one.will_wake(context.waker())) {
                        waiting.push(context.waker().clone());
                    }
                    Poll::Pending
                }
                State::Failed { error, .. } => Poll::Ready(Err(error.clone())),
                // A claim always ends in one of the other states.
                State::Idle => Poll::Ready(Err(given_up())),
            }
        })
        .await
    }

    /// Stores the value if `at_once` has it; else keeps the claim.
    fn settle_at_once(&self, at_once: impl FnOnce() -> Option<T>) -> bool {
        let claim = Claim(self);
        match at_once() {
            Some(value) => {
                claim.settle(Ok(value));
                true
            }
            None => {
                // It stays claimed.
                std::mem::forget(claim);
                false
            }
        }
    }

    /// Makes the next use after a failure load at once, because the code may be available now.
    pub(crate) fn retry_now(&self) {
        if let State::Failed { at, .. } = &mut *self.state.lock() {
            *at = None;
        }
    }

    /// Claims the load. Returns true if the caller has to load the value.
    fn claim(&self) -> bool {
        let mut state = self.state.lock();
        let free = match &*state {
            State::Idle => self.value.get().is_none(),
            State::Fetching(_) => false,
            State::Failed { at, .. } => at.is_none_or(|at| at.elapsed() >= self.retry_after),
        };
        if free {
            *state = State::Fetching(Vec::new());
        }
        free
    }

    fn end(&self, state: State) {
        let before = std::mem::replace(&mut *self.state.lock(), state);
        if let State::Fetching(waiting) = before {
            for waker in waiting {
                waker.wake();
            }
        }
    }
}

/// The duty to finish a load that others wait for. A panic finishes it as failed.
struct Claim<'a, T: Send + Sync + 'static>(&'a OnceLoader<T>);

impl<T: Send + Sync + 'static> Claim<'_, T> {
    fn settle(self, result: Result<T, CallError>) {
        match result {
            Ok(value) => {
                // Only the holder of the claim sets it.
                let _ = self.0.value.set(value);
                self.0.end(State::Idle);
            }
            Err(error) => self.0.end(State::Failed {
                error,
                at: Some(Instant::now()),
            }),
        }
        std::mem::forget(self);
    }
}

impl<T: Send + Sync + 'static> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        self.0.end(State::Failed {
            error: given_up(),
            at: Some(Instant::now()),
        });
    }
}

fn given_up() -> CallError {
    CallError::new(
        Code::NoArtifact,
        "loading the function failed by a fault of ours; the log has more",
    )
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::task::{Context, Poll, Wake, Waker};
    use std::time::Duration;

    use super::OnceLoader;
    use crate::error::CallError;

    /// Of what takes its time.
    fn never<T>() -> Option<T> {
        None
    }

    /// Reports by a channel that it was woken.
    struct Woken(std::sync::mpsc::Sender<()>);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            // The receiver is gone once the test has its result.
            let _ = self.0.send(());
        }
    }

    fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(waker))
    }

    #[test]
    fn one_fetch_serves_all_who_wait() {
        let (go, wait) = channel::<()>();
        let (woken, wakes) = channel();
        let waker = Waker::from(Arc::new(Woken(woken)));
        let fetched = Arc::new(OnceLoader::empty());
        let fetches = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&fetches);
        let mut first = pin!(fetched.wait(never, move || {
            count.fetch_add(1, Ordering::Relaxed);
            wait.recv().expect("the test says when");
            Ok(7)
        }));
        let mut second = pin!(fetched.wait(never, || panic!("the first one fetches")));
        assert!(poll(first.as_mut(), &waker).is_pending());
        assert!(!fetched.claim(), "somebody is at it");
        assert!(poll(second.as_mut(), &waker).is_pending());
        assert_eq!(fetched.get(), None);
        go.send(()).expect("the fetch is waiting");
        wakes.recv().expect("those who wait are woken");
        assert_eq!(poll(first.as_mut(), &waker), Poll::Ready(Ok(&7)));
        assert_eq!(poll(second.as_mut(), &waker), Poll::Ready(Ok(&7)));
        assert_eq!(fetches.load(Ordering::Relaxed), 1);
        let mut third = pin!(fetched.wait(never, || panic!("it is there")));
        assert_eq!(poll(third.as_mut(), &waker), Poll::Ready(Ok(&7)));
    }

    /// Waits for a value with wakes from `wakes`.
    fn finish<F: Future>(future: F) -> F::Output {
        let (woken, wakes) = channel();
        let waker = Waker::from(Arc::new(Woken(woken)));
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = poll(future.as_mut(), &waker) {
                return output;
            }
            wakes.recv().expect("it wakes those who wait");
        }
    }

    #[test]
    fn a_failure_is_told_to_all_and_tried_again_later() {
        let fetched = Arc::new(OnceLoader::<u32>::empty());
        let failed = Err(CallError::invalid("no"));
        assert_eq!(
            finish(fetched.wait(never, || Err(CallError::invalid("no")))),
            failed
        );
        assert_eq!(
            finish(fetched.wait(never, || panic!("it is too early"))),
            failed
        );
        fetched.retry_now();
        assert_eq!(finish(fetched.wait(never, || Ok(7))), Ok(&7));

        let impatient = Arc::new(OnceLoader::<u32> {
            retry_after: Duration::ZERO,
            ..OnceLoader::empty()
        });
        assert_eq!(
            finish(impatient.wait(never, || Err(CallError::invalid("no")))),
            failed
        );
        assert_eq!(finish(impatient.wait(never, || Ok(1))), Ok(&1));
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let fetched = Arc::new(OnceLoader::<u32>::empty());
        let error = finish(fetched.wait(never, || panic!("this panic belongs to the test")));
        let error = error.expect_err("there is no value");
        assert!(
            error
                .to_string()
                .starts_with("NOARTIFACT loading the function failed")
        );
    }

    #[test]
    fn what_is_had_at_once_is_not_fetched() {
        let fetched = Arc::new(OnceLoader::empty());
        let value = finish(fetched.wait(|| Some(5), || panic!("it was had at once")));
        assert_eq!(value, Ok(&5));
        let again = finish(fetched.wait(|| panic!("it is there"), || panic!("it is there")));
        assert_eq!(again, Ok(&5));
    }

    #[test]
    fn what_panics_on_the_way_leaves_nobody_waiting() {
        let fetched = Arc::new(OnceLoader::<u32>::empty());
        let panicked = std::thread::scope(|scope| {
            let wait = fetched.wait(|| panic!("this panic belongs to the test"), || Ok(1));
            scope.spawn(move || finish(wait)).join().is_err()
        });
        assert!(panicked);
        let error = finish(fetched.wait(never, || panic!("it is too early")));
        assert!(error.is_err());
    }

    #[test]
    fn a_value_that_is_there_is_not_fetched() {
        let fetched = Arc::new(OnceLoader::loaded(3));
        assert_eq!(
            finish(fetched.wait(never, || panic!("it is there"))),
            Ok(&3)
        );
    }
}
