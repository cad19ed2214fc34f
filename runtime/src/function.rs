//! A loaded function: what it was told to be, its code, its pool, and the calls it runs.

use std::sync::{Arc, Weak};

use ferrite_cache::{Digest, Manifest, VerifiedArtifact};
use parking_lot::Mutex;
use wasmtime::{Engine, Linker};

use crate::control::{CallId, RunningCall, Slot};
use crate::error::{CallError, Code};
use crate::instance::Instance;
use crate::keyspace::Keyspace;
use crate::load::load;
use crate::pool::{Pool, PoolUsage};
use crate::prepared::Prepared;

pub use crate::prepared::Entry;
use crate::spec::{FunctionSpec, Isolation};
use crate::state::{CallState, StoreData};
use crate::ticker::{Activity, Moment};

/// A loaded function.
///
/// Loading the same name again makes another function; calls that run on this one end on it, and
/// its instances go with the last of them.
pub struct Function<K: Keyspace> {
    spec: Arc<FunctionSpec>,
    manifest: Manifest,
    prepared: Prepared<K>,
    pool: Pool<Kept<K>>,
    slots: Mutex<Vec<Weak<Slot>>>,
}

/// What a pool keeps for the next call, as the isolation allows.
pub(crate) enum Kept<K: Keyspace> {
    /// Buffers only; the instance they served is gone.
    State(StoreData<K>),
    /// A whole instance with its memory.
    Instance(Box<Instance<K>>),
}

impl<K: Keyspace> Function<K> {
    /// Loads a function's code and links it.
    ///
    /// # Errors
    ///
    /// The client's error: an isolation that is not available, code that this engine cannot run,
    /// or a module that wants more memory or table elements from the start than its limits allow.
    pub(crate) fn load(
        engine: &Engine,
        linker: &Linker<StoreData<K>>,
        artifact: &VerifiedArtifact,
        spec: FunctionSpec,
    ) -> Result<Self, CallError> {
        let manifest = artifact.manifest().clone();
        check(&manifest, &spec)?;
        let module = load(engine, artifact)
            .map_err(|error| CallError::new(Code::NoArtifact, error.to_string()))?;
        let prepared = Prepared::new(linker, &module, &manifest.module)
            .map_err(|error| CallError::invalid(error.to_string()))?;
        Ok(Self {
            pool: Pool::new(spec.pool),
            spec: Arc::new(spec),
            manifest,
            prepared,
            slots: Mutex::default(),
        })
    }

    /// The name that it is called by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it was told to be when it was loaded.
    #[must_use]
    pub fn spec(&self) -> &FunctionSpec {
        &self.spec
    }

    /// Identity of its source.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.manifest.source
    }

    /// What is known about its code.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its entries, in the module's order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.prepared.entries()
    }

    /// The entry that a call means: the one it names; else `run`; else the one named like the
    /// function; else the only one.
    ///
    /// # Errors
    ///
    /// `NOFUNC`, with the entries there are.
    #[inline]
    pub fn entry(&self, named: Option<&[u8]>) -> Result<usize, CallError> {
        self.prepared.entry(&self.spec.name, named)
    }

    /// What runs, waits and is kept.
    #[must_use]
    pub fn usage(&self) -> PoolUsage {
        self.pool.usage()
    }

    /// Bytes of linear memory of the instances that are kept.
    #[must_use]
    pub fn idle_memory_bytes(&self) -> u64 {
        let mut sum = 0;
        self.pool.for_each_idle(|kept| {
            if let Kept::Instance(instance) = kept {
                sum += instance.memory_bytes();
            }
        });
        sum
    }

    /// The calls that run now.
    #[must_use]
    pub fn running(&self) -> Vec<RunningCall> {
        self.live_slots()
            .iter()
            .filter_map(|slot| slot.running())
            .collect()
    }

    /// Ends every call of the function, those that wait included; how many were running.
    ///
    /// A running call ends at its next tick, and leaves no trace.
    pub fn kill_all(&self) -> usize {
        self.pool.cancel_waiting();
        let slots = self.live_slots();
        slots.iter().filter(|slot| slot.kill(None)).count()
    }

    /// Ends one call; whether it was running on this function.
    pub fn kill(&self, id: CallId) -> bool {
        self.live_slots().iter().any(|slot| slot.kill(Some(id)))
    }

    /// Gives up everything that is kept for later calls; how many instances or buffers that were.
    pub fn drain(&self) -> usize {
        self.pool.drain().len()
    }

    pub(crate) fn prepared(&self) -> &Prepared<K> {
        &self.prepared
    }

    pub(crate) fn pool(&self) -> &Pool<Kept<K>> {
        &self.pool
    }

    pub(crate) fn activity(&self) -> Activity {
        self.pool.activity()
    }

    /// Lets old instances go; when to do so again.
    pub(crate) fn trim(&self, now: Moment) -> Option<Moment> {
        let (old, next) = self.pool.trim(now);
        drop(old);
        next
    }

    /// State for a call when none was kept.
    #[cold]
    pub(crate) fn new_state(&self, keyspace: &Arc<K>) -> StoreData<K> {
        let state = CallState::new(Arc::clone(keyspace), Arc::clone(&self.spec));
        let mut slots = self.slots.lock();
        if slots.len() == slots.capacity() {
            slots.retain(|slot| slot.strong_count() > 0);
        }
        slots.push(Arc::downgrade(&state.slot));
        Box::new(state)
    }

    fn live_slots(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Refuses what could never run, so that it is said at load and not at every call.
fn check(manifest: &Manifest, spec: &FunctionSpec) -> Result<(), CallError> {
    const PAGE_BYTES: u64 = 64 << 10;
    if spec.isolation == Isolation::Rewind {
        return Err(CallError::invalid(
            "isolation rewind is not available in this version; use fresh, which is as strong, or reuse",
        ));
    }
    let limits = &spec.limits;
    let memory_bytes = manifest
        .module
        .memory
        .as_ref()
        .map_or(0, |memory| memory.min_pages.saturating_mul(PAGE_BYTES));
    if memory_bytes > limits.memory_bytes_max {
        return Err(CallError::memory(limits.memory_bytes_max, memory_bytes));
    }
    let table_elements = manifest.module.table_elements_min;
    if table_elements > limits.table_elements_max {
        return Err(CallError::limit(format!(
            "the module starts with {table_elements} table elements, its limit is {}; raise max_table_elements",
            limits.table_elements_max
        )));
    }
    Ok(())
}
