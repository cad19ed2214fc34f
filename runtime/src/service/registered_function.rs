//! A name in the registry: what is remembered of it, its figures, and its code once it is there.

use std::sync::Arc;

use crate::error::CallError;
use crate::executor::function::Function;
use crate::metrics::function_stats::FunctionStats;
use crate::registry::record::Record;
use crate::service::once_loader::OnceLoader;
use ferrite_protocol::keyspace::Keyspace;

/// A name in the registry.
///
/// A change of the name, such as a reload, puts another one in its place; calls that run on this
/// one end on it.
pub struct RegisteredFunction<K: Keyspace> {
    record: Arc<Record>,
    stats: Arc<FunctionStats>,
    function: Arc<OnceLoader<Arc<Function<K>>>>,
}

impl<K: Keyspace> RegisteredFunction<K> {
    /// A function whose code is there.
    pub(crate) fn ready(
        record: Record,
        stats: Arc<FunctionStats>,
        function: Arc<Function<K>>,
    ) -> Self {
        Self {
            record: Arc::new(record),
            stats,
            function: Arc::new(OnceLoader::loaded(function)),
        }
    }

    /// A function whose code will be fetched when it is needed.
    pub(crate) fn lazy(record: Record) -> Self {
        Self {
            record: Arc::new(record),
            stats: Arc::default(),
            function: Arc::new(OnceLoader::empty()),
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

    /// Has the code looked for at once where it could not be had some seconds ago.
    pub(crate) fn retry_now(&self) {
        self.function.retry_now();
    }

    /// Its code, got by `at_once` or else fetched by `fetch` if it is not there, once for all who wait;
    /// see [`OnceLoader`].
    ///
    /// # Errors
    ///
    /// What `fetch` says. It is also kept with the function's errors.
    pub(crate) async fn wait_ready(
        &self,
        at_once: impl FnOnce(&Record) -> Option<Arc<Function<K>>>,
        fetch: impl FnOnce(&Record) -> Result<Arc<Function<K>>, CallError> + Send + 'static,
    ) -> Result<&Arc<Function<K>>, CallError> {
        let record = Arc::clone(&self.record);
        let stats = Arc::clone(&self.stats);
        let fetch = move || fetch(&record).inspect_err(|error| stats.record_error(error, None));
        self.function.wait(|| at_once(&self.record), fetch).await
    }
}
