//! A function in the registry: its record, its stats, and its code once loaded.

use std::sync::{Arc, Weak};

use crate::error::CallError;
use crate::executor::function::Function;
use crate::metrics::function_stats::FunctionStats;
use crate::registry::record::Record;
use crate::scheduling::cancellation::{CallId, RunningCall};
use crate::scheduling::pool::PoolUsage;
use crate::service::once_loader::OnceLoader;
use ferrite_protocol::keyspace::Keyspace;

/// The code of a function, which is loaded at its first use.
type Code<K> = OnceLoader<Arc<Function<K>>>;

/// A function in the registry.
///
/// A change, such as a reload, replaces it by another one; running calls finish on this one.
pub struct RegisteredFunction<K: Keyspace> {
    record: Arc<Record>,
    stats: Arc<FunctionStats>,
    code: Arc<Code<K>>,
    /// Code from before changes, which lives while calls run on it.
    earlier: Vec<Weak<Code<K>>>,
    /// The reason why it is never run, if there is one.
    refusal: Option<CallError>,
}

impl<K: Keyspace> RegisteredFunction<K> {
    /// Creates a function whose code is loaded at its first use.
    pub(crate) fn lazy(record: Record) -> Self {
        Self::arrived(record, None)
    }

    /// Creates a function of another server. If it is refused here, each use of it fails with the error.
    pub(crate) fn arrived(record: Record, refusal: Option<CallError>) -> Self {
        Self {
            refusal,
            record: Arc::new(record),
            stats: Arc::default(),
            code: Arc::new(OnceLoader::empty()),
            earlier: Vec::new(),
        }
    }

    /// Returns this function with its code.
    pub(crate) fn with_code(self, function: Arc<Function<K>>) -> Self {
        Self {
            code: Arc::new(OnceLoader::loaded(function)),
            ..self
        }
    }

    /// Returns a function with another record in place of this one. It keeps the counters, and its code
    /// is loaded at its first use.
    pub(crate) fn with_record(&self, record: impl Into<Arc<Record>>) -> Self {
        let earlier = self.earlier.iter().filter(|code| code.strong_count() > 0);
        Self {
            refusal: self.refusal.clone(),
            record: record.into(),
            stats: Arc::clone(&self.stats),
            code: Arc::new(OnceLoader::empty()),
            earlier: earlier
                .cloned()
                .chain([Arc::downgrade(&self.code)])
                .collect(),
        }
    }

    /// As [`RegisteredFunction::with_record`], for a record that is accepted here.
    pub(crate) fn accepted(&self, record: Record) -> Self {
        Self {
            refusal: None,
            ..self.with_record(record)
        }
    }

    /// Returns this function without its code, which is loaded at its first use.
    pub(crate) fn without_code(&self) -> Self {
        self.with_record(Arc::clone(&self.record))
    }

    /// Returns true if it is never run here.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Returns its record.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Returns the counters of its calls.
    #[must_use]
    pub fn stats(&self) -> &Arc<FunctionStats> {
        &self.stats
    }

    /// Returns its code, if loaded.
    #[must_use]
    #[inline]
    pub fn function(&self) -> Option<&Arc<Function<K>>> {
        self.code.get()
    }

    /// Returns the calls that run, also those that began on code from before a change.
    #[must_use]
    pub fn running(&self) -> Vec<RunningCall> {
        self.in_use()
            .flat_map(|function| function.running())
            .collect()
    }

    /// Returns the usage of its pool, and of those from before a change on which calls still run.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        let mut sum = PoolUsage::default();
        for function in self.in_use() {
            let PoolUsage {
                running,
                waiting,
                idle,
                started,
            } = function.usage();
            sum.running += running;
            sum.waiting += waiting;
            sum.idle += idle;
            sum.started = sum.started.wrapping_add(started);
        }
        sum
    }

    /// Kills all calls, waiting ones included. Returns the number of running ones.
    pub fn kill_all(&self) -> usize {
        self.in_use().map(|function| function.kill_all()).sum()
    }

    /// Kills one call. Returns true if it was running.
    pub fn kill(&self, id: CallId) -> bool {
        self.in_use().any(|function| function.kill(id))
    }

    /// The code on which calls may run.
    fn in_use(&self) -> impl Iterator<Item = Arc<Function<K>>> {
        let earlier = self.earlier.iter().filter_map(Weak::upgrade);
        earlier
            .chain([Arc::clone(&self.code)])
            .filter_map(|code| code.get().cloned())
    }

    /// Makes the next use load the code at once, even after a recent failure.
    pub(crate) fn retry_now(&self) {
        self.code.retry_now();
    }

    /// Returns its code; loads it by `at_once` or else by `fetch` if necessary; see [`OnceLoader`].
    ///
    /// # Errors
    ///
    /// The error of `fetch`, which is also kept with the function's errors.
    pub(crate) async fn wait_ready(
        &self,
        at_once: impl FnOnce(&Record) -> Option<Arc<Function<K>>>,
        fetch: impl FnOnce(&Record) -> Result<Arc<Function<K>>, CallError> + Send + 'static,
    ) -> Result<&Arc<Function<K>>, CallError> {
        if let Some(refusal) = &self.refusal {
            self.stats.record_error(refusal, None);
            return Err(refusal.clone());
        }
        let record = Arc::clone(&self.record);
        let stats = Arc::clone(&self.stats);
        let fetch = move || fetch(&record).inspect_err(|error| stats.record_error(error, None));
        self.code.wait(|| at_once(&self.record), fetch).await
    }
}
