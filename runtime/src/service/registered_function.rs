//! A function in the registry: its record, its stats, and its code once loaded.

use std::sync::Arc;

use crate::error::CallError;
use crate::executor::function::Function;
use crate::metrics::function_stats::FunctionStats;
use crate::registry::record::Record;
use crate::service::once_loader::OnceLoader;
use ferrite_protocol::keyspace::Keyspace;

/// A function in the registry.
///
/// A change, such as a reload, replaces it by another one; running calls finish on this one.
pub struct RegisteredFunction<K: Keyspace> {
    record: Arc<Record>,
    stats: Arc<FunctionStats>,
    function: Arc<OnceLoader<Arc<Function<K>>>>,
    /// The reason why it is never run, if there is one.
    refusal: Option<CallError>,
}

impl<K: Keyspace> RegisteredFunction<K> {
    /// Creates a function with its code.
    pub(crate) fn ready(
        record: Record,
        stats: Arc<FunctionStats>,
        function: Arc<Function<K>>,
    ) -> Self {
        Self {
            record: Arc::new(record),
            stats,
            function: Arc::new(OnceLoader::loaded(function)),
            refusal: None,
        }
    }

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
            function: Arc::new(OnceLoader::empty()),
        }
    }

    /// Returns a function with another record, whose code is loaded at its first use.
    pub(crate) fn with_record(&self, record: Record) -> Self {
        Self {
            refusal: self.refusal.clone(),
            record: Arc::new(record),
            stats: Arc::clone(&self.stats),
            function: Arc::new(OnceLoader::empty()),
        }
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
        self.function.get()
    }

    /// Makes the next use load the code at once, even after a recent failure.
    pub(crate) fn retry_now(&self) {
        self.function.retry_now();
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
        self.function.wait(|| at_once(&self.record), fetch).await
    }
}
