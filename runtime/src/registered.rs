//! A name in the registry: what is remembered of it, its figures, and its code once it is there.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{CallError, Code};
use crate::function::Function;
use crate::keyspace::Keyspace;
use crate::record::Record;
use crate::stats::FunctionStats;

/// How long a function that could not be made ready is left alone before the next try.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A name in the registry.
///
/// A change of the name, such as a reload, puts another one in its place; calls that run on this
/// one end on it.
pub struct Registered<K: Keyspace> {
    record: Record,
    stats: Arc<FunctionStats>,
    function: OnceLock<Arc<Function<K>>>,
    preparing: Mutex<Preparing>,
}

/// How far the code is that is not there yet.
enum Preparing {
    /// Nobody has asked for it.
    No,
    /// Somebody is at it; those who wait for it.
    Yes(Vec<Waker>),
    /// It could not be had.
    Failed { error: CallError, at: Instant },
}

impl<K: Keyspace> Registered<K> {
    /// A function whose code is there.
    pub(crate) fn ready(
        record: Record,
        stats: Arc<FunctionStats>,
        function: Arc<Function<K>>,
    ) -> Self {
        Self {
            record,
            stats,
            function: OnceLock::from(function),
            preparing: Mutex::new(Preparing::No),
        }
    }

    /// A function whose code will be fetched when it is needed.
    pub(crate) fn lazy(record: Record) -> Self {
        Self {
            record,
            stats: Arc::default(),
            function: OnceLock::new(),
            preparing: Mutex::new(Preparing::No),
        }
    }

    /// What is remembered of it.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What happened to its calls.
    #[must_use]
    pub fn stats(&self) -> &Arc<FunctionStats> {
        &self.stats
    }

    /// Its code, if it is there.
    #[must_use]
    #[inline]
    pub fn function(&self) -> Option<&Arc<Function<K>>> {
        self.function.get()
    }

    /// Its code, fetched by `fetch` if it is not there. `fetch` runs on a thread of its own, once
    /// for all who wait, and again only some seconds after a failure.
    ///
    /// # Errors
    ///
    /// What `fetch` says, to all who wait.
    pub(crate) async fn wait_ready(
        self: &Arc<Self>,
        fetch: impl FnOnce(&Record) -> Result<Arc<Function<K>>, CallError> + Send + 'static,
    ) -> Result<&Arc<Function<K>>, CallError> {
        if self.claim() {
            let this = Arc::clone(self);
            let fetching = std::thread::Builder::new()
                .name("ferrite-fetch".to_owned())
                .spawn(move || {
                    let claim = Claim(&this);
                    let result = fetch(&this.record);
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
            let mut preparing = self.preparing.lock();
            if let Some(function) = self.function.get() {
                return Poll::Ready(Ok(function));
            }
            match &mut *preparing {
                Preparing::Yes(waiting) => {
                    if !waiting.iter().any(|one| one.will_wake(context.waker())) {
                        waiting.push(context.waker().clone());
                    }
                    Poll::Pending
                }
                Preparing::Failed { error, .. } => Poll::Ready(Err(error.clone())),
                Preparing::No => Poll::Ready(Err(CallError::new(
                    Code::NoArtifact,
                    "loading the function was given up",
                ))),
            }
        })
        .await
    }

    /// Whether it is for the caller to fetch the code.
    fn claim(&self) -> bool {
        let mut preparing = self.preparing.lock();
        let free = match &*preparing {
            Preparing::No => self.function.get().is_none(),
            Preparing::Yes(_) => false,
            Preparing::Failed { at, .. } => at.elapsed() >= RETRY_AFTER,
        };
        if free {
            *preparing = Preparing::Yes(Vec::new());
        }
        free
    }
}

/// The duty to settle what others wait for; fulfilled even by a panic.
struct Claim<'a, K: Keyspace>(&'a Registered<K>);

impl<K: Keyspace> Claim<'_, K> {
    fn settle(self, result: Result<Arc<Function<K>>, CallError>) {
        match result {
            Ok(function) => {
                // Only the one that claims ever sets it.
                let _ = self.0.function.set(function);
                self.end(Preparing::No);
            }
            Err(error) => {
                self.0.stats.record_error(&error, None);
                self.end(Preparing::Failed {
                    error,
                    at: Instant::now(),
                });
            }
        }
        std::mem::forget(self);
    }

    fn end(&self, state: Preparing) {
        let before = std::mem::replace(&mut *self.0.preparing.lock(), state);
        if let Preparing::Yes(waiting) = before {
            for waker in waiting {
                waker.wake();
            }
        }
    }
}

impl<K: Keyspace> Drop for Claim<'_, K> {
    fn drop(&mut self) {
        self.end(Preparing::Failed {
            error: CallError::new(
                Code::NoArtifact,
                "loading the function failed by a fault of ours; the log has more",
            ),
            at: Instant::now(),
        });
    }
}
