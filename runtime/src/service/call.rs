//! A call: its function's code fetched if it is not there, run, and counted however it ends.

use std::sync::Arc;

use ferrite_cache::Digest;

use super::{Inner, Runtime};
use crate::artifact::Depth;
use crate::call::request::{CallOutcome, CallRequest, ReceiptOf};
use crate::error::{CallError, Code};
use crate::executor::function::Function;
use crate::metrics::function_stats::FunctionStats;
use crate::registry::record::Record;
use crate::scheduling::epoch_ticker::Moment;
use crate::scheduling::wait::{WaitError, with_deadline};
use crate::service::registered_function::RegisteredFunction;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

impl<K: Keyspace> Runtime<K> {
    /// Runs one call and writes exactly one reply, errors included.
    ///
    /// The future may be dropped at any time; the call then leaves no trace.
    pub async fn call(
        &self,
        request: &CallRequest<'_>,
        reply: &mut Encoder,
    ) -> CallOutcome<ReceiptOf<K>> {
        let (name, _) = request.name_and_entry();
        // Held while the call runs, so that no count is touched that all threads share.
        let names = self.0.registry.read();
        let Some(registered) = names.get(name) else {
            let error = CallError::no_function(name);
            reply.error_display(&error);
            return CallOutcome::failed(error);
        };
        let function = match registered.function() {
            Some(function) => function,
            None => match self.fetch(registered, request).await {
                Ok(function) => function,
                Err(error) => {
                    reply.error_display(&error);
                    return CallOutcome::failed(error);
                }
            },
        };
        let counted = Counted {
            stats: registered.stats(),
            digest: function.digest(),
            over: false,
        };
        let outcome = self.0.executor.call(function, request, reply).await;
        counted.end(&outcome);
        outcome
    }

    /// The code of a function that was not needed until now.
    #[cold]
    async fn fetch<'r>(
        &self,
        registered: &'r Arc<RegisteredFunction<K>>,
        request: &CallRequest<'_>,
    ) -> Result<&'r Arc<Function<K>>, CallError> {
        let inner = Arc::clone(&self.0);
        let ready = registered.wait_ready(
            |record| self.0.load_record_at_once(record),
            move |record| inner.load_record(record),
        );
        let time_max = self.0.options.limits.time_max;
        let time_max = request
            .timeout
            .map_or(time_max, |asked| asked.min(time_max));
        let started = Moment::now();
        match with_deadline(ready, started.after(time_max), request.handle).await {
            Ok(result) => result,
            Err(WaitError::Killed) => Err(CallError::killed()),
            Err(WaitError::DeadlinePassed) => Err(CallError::new(
                Code::Timeout,
                "the function is still being loaded; try again later",
            )),
        }
    }

    /// The code of the function of this name. Blocks while it is fetched.
    ///
    /// # Errors
    ///
    /// When there is none, or its code cannot be had.
    pub fn ready(&self, name: &[u8]) -> Result<Arc<Function<K>>, CallError> {
        let registered = self.function(name)?;
        if let Some(function) = registered.function() {
            return Ok(Arc::clone(function));
        }
        let inner = Arc::clone(&self.0);
        let ready = registered.wait_ready(
            |record| self.0.load_record_at_once(record),
            move |record| inner.load_record(record),
        );
        pollster::block_on(ready).cloned()
    }

    /// Says that the code of this function may be there now: if it could not be had a moment ago, the
    /// next call looks for it at once instead of some seconds later.
    pub fn retry_now(&self, name: &[u8]) {
        if let Ok(registered) = self.function(name) {
            registered.retry_now();
        }
    }
}

impl<K: Keyspace> Inner<K> {
    /// The same as [`Inner::load_record`], on a thread that serves others: `None` where that would
    /// hold it up, and where anything is wrong.
    fn load_record_at_once(&self, record: &Record) -> Option<Arc<Function<K>>> {
        if self.options.pool.instances_min > 0 {
            // The guest's initialiser would run here.
            return None;
        }
        let key = record.release.as_ref().map(|release| release.key);
        let spec = self.spec(record).ok()?;
        let depth = Depth::of(&spec.limits);
        let provided = self.artifacts.provide_cached(&record.digest, key, depth)?;
        self.start(&provided, spec).ok()
    }

    /// Fetches the code of a function that is remembered.
    fn load_record(&self, record: &Record) -> Result<Arc<Function<K>>, CallError> {
        let key = record.release.as_ref().map(|release| release.key);
        let spec = self.spec(record)?;
        let depth = Depth::of(&spec.limits);
        let provided = self
            .artifacts
            .provide_registered(&record.digest, key, depth)?;
        self.start(&provided, spec)
    }
}

/// A call that is counted when it is over, also where whoever waited for it dropped it.
struct Counted<'a> {
    stats: &'a FunctionStats,
    digest: Digest,
    over: bool,
}

impl Counted<'_> {
    #[inline]
    fn end<R>(mut self, outcome: &CallOutcome<R>) {
        self.over = true;
        self.stats
            .record(outcome.fuel, outcome.tries, outcome.latency);
        if let Some(error) = &outcome.error {
            self.stats.record_error(error, Some(self.digest));
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if !self.over {
            // What it used went with it.
            self.stats.record(0, 1, None);
            self.stats
                .record_error(&CallError::killed(), Some(self.digest));
        }
    }
}
