//! The function that a call runs: registered under a name, or held by the host.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::call::request::CallRequest;
use crate::executor::function::Function;
use crate::metrics::function_stats::FunctionStats;
use ferrite_protocol::keyspace::Keyspace;

/// A function that the host holds under no name of the runtime's. Clones are the same function.
///
/// Its calls are counted as those of a registered function are; see [`HeldFunction::stats`].
pub struct HeldFunction<K: Keyspace> {
    function: Arc<Function<K>>,
    stats: Arc<FunctionStats>,
}

impl<K: Keyspace> HeldFunction<K> {
    pub(crate) fn new(function: Arc<Function<K>>) -> Self {
        Self {
            function,
            stats: Arc::default(),
        }
    }

    /// Returns the counters of its calls.
    #[must_use]
    pub fn stats(&self) -> &FunctionStats {
        &self.stats
    }

    /// Names this function in a [`CallRequest`], and the entry to call; see [`Function::entry`] for
    /// the default entry.
    #[must_use]
    #[inline]
    pub fn entry_named<'a>(&'a self, entry: Option<&'a [u8]>) -> HeldEntry<'a, K> {
        HeldEntry {
            function: self,
            entry,
        }
    }
}

impl<K: Keyspace> Deref for HeldFunction<K> {
    type Target = Function<K>;

    fn deref(&self) -> &Function<K> {
        &self.function
    }
}

impl<K: Keyspace> Clone for HeldFunction<K> {
    fn clone(&self) -> Self {
        Self {
            function: Arc::clone(&self.function),
            stats: Arc::clone(&self.stats),
        }
    }
}

impl<K: Keyspace> fmt::Debug for HeldFunction<K> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HeldFunction({})", self.name())
    }
}

/// An entry of a function that the host holds, as a [`CallRequest`] names it.
pub struct HeldEntry<'a, K: Keyspace> {
    function: &'a HeldFunction<K>,
    entry: Option<&'a [u8]>,
}

impl<K: Keyspace> Clone for HeldEntry<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: Keyspace> Copy for HeldEntry<'_, K> {}

impl<K: Keyspace> fmt::Debug for HeldEntry<'_, K> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HeldEntry({})", self.function.name())
    }
}

/// The function of a [`CallRequest`]: its name in bytes, or an entry of a [`HeldFunction`].
pub trait CallTarget<K: Keyspace>: Sized {
    /// Splits a request into its function and its inputs.
    #[doc(hidden)]
    fn resolve<'r>(
        request: &'r CallRequest<'_, Self>,
    ) -> (ResolvedTarget<'r, K>, Cow<'r, CallRequest<'r>>);
}

/// The function of a request.
#[doc(hidden)]
pub enum ResolvedTarget<'a, K: Keyspace> {
    /// To be looked up in the registry.
    Named {
        name: &'a [u8],
        entry: Option<&'a [u8]>,
    },
    /// Held by the host.
    Held {
        function: &'a Function<K>,
        stats: &'a FunctionStats,
        entry: Option<&'a [u8]>,
    },
}

impl<K: Keyspace> CallTarget<K> for &[u8] {
    #[inline]
    fn resolve<'r>(
        request: &'r CallRequest<'_, Self>,
    ) -> (ResolvedTarget<'r, K>, Cow<'r, CallRequest<'r>>) {
        let request: &'r CallRequest<'r> = request;
        let (name, entry) = request.name_and_entry();
        (
            ResolvedTarget::Named { name, entry },
            Cow::Borrowed(request),
        )
    }
}

impl<K: Keyspace> CallTarget<K> for HeldEntry<'_, K> {
    #[inline]
    fn resolve<'r>(
        request: &'r CallRequest<'_, Self>,
    ) -> (ResolvedTarget<'r, K>, Cow<'r, CallRequest<'r>>) {
        let HeldEntry { function, entry } = request.function;
        let target = ResolvedTarget::Held {
            function,
            stats: function.stats(),
            entry,
        };
        (target, Cow::Owned(request.with_function(&[][..])))
    }
}
