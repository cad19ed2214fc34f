//! The runtime as a host embeds it: functions by name, loaded, called and looked after.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};

use ferrite_cache::{Cache, Digest};
use parking_lot::{Mutex, RwLock};

use crate::acquire::{Acquire, Acquired};
use crate::acquire_stats::AcquireStats;
use crate::async_calls::AsyncCalls;
use crate::call::{CallOutcome, CallRequest, ReceiptOf};
use crate::chain::chain;
use crate::error::{CallError, Code};
use crate::executor::{Executor, ExecutorError};
use crate::function::Function;
use crate::keyspace::Keyspace;
use crate::limits::LimitSettings;
pub use crate::options::RuntimeOptions;
use crate::permissions::{Door, Permissions, PermissionsError};
use crate::record::{FunctionName, Record};
use crate::registered::Registered;
use crate::registry::{Names, Registry};
use crate::registry_file::{RegistryFile, RegistryFileError, Remembered};
use crate::resp::Encoder;
use crate::source::Source;
use crate::spec::{FunctionSpec, Isolation};
use crate::stats::FunctionStats;
use crate::ticker::Moment;
use crate::trust::{Sequences, check_sequence};
use crate::unpack::{self, Asked};
use crate::wait::{Wait, until};

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

/// Why a runtime does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is nothing to run functions on.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The permissions of functions without any are wrong.
    #[error("the default permissions are wrong")]
    Permissions(#[source] PermissionsError),
    /// The registry cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryFileError),
}

/// What a function is to be loaded as.
#[derive(Clone, Debug)]
pub struct LoadRequest<'a> {
    /// The name that it will be called by.
    pub name: FunctionName,
    /// Its code.
    pub source: Source<'a>,
    /// The file in the module folder that the code is from, if it is.
    pub file: Option<Box<str>>,
    /// What it does, in its owner's words.
    pub description: Option<Box<str>>,
    /// What it may do; else the default.
    pub permissions: Option<Permissions>,
    /// What it may use; else the server's limits.
    pub limits: LimitSettings,
    /// What its calls may see of each other; else the default.
    pub isolation: Option<Isolation>,
    /// Whether it may take the place of a function of the same name.
    pub replace: bool,
}

/// Functions by name, loaded, called and looked after. Clones are the same runtime.
///
/// `async` methods run on any executor. The others that say they block belong on a thread that may.
pub struct Runtime<K: Keyspace>(Arc<Inner<K>>);

impl<K: Keyspace> Clone for Runtime<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<K: Keyspace> {
    executor: Executor<K>,
    acquire: Acquire,
    registry: Registry<Registered<K>>,
    file: Option<RegistryFile>,
    /// Changed only together with the registry.
    sequences: Mutex<Sequences>,
    async_calls: AsyncCalls,
    /// Held shared from an artifact's arrival until its function is registered. Who evicts holds it
    /// alone, so that nothing goes that is about to be pinned.
    arriving: RwLock<()>,
    options: RuntimeOptions,
}

impl<K: Keyspace> Runtime<K> {
    /// Starts a runtime over `keyspace`, with the functions that its registry remembers.
    ///
    /// Reads one file however many functions there are: their code is fetched when it is needed.
    ///
    /// # Errors
    ///
    /// When the engine cannot be made, or the registry cannot be read.
    pub fn new(
        options: RuntimeOptions,
        keyspace: K,
        cache: Option<Cache>,
    ) -> Result<Self, StartError> {
        let keyspace = Arc::new(keyspace);
        Door::new(&options.permissions, |name| keyspace.is_command(name))
            .map_err(StartError::Permissions)?;
        let file = options.registry.as_ref().map(RegistryFile::new);
        let mut names = Names::default();
        let Remembered {
            functions,
            sequences,
        } = match &file {
            Some(file) => file.read()?,
            None => Remembered::default(),
        };
        for record in functions {
            let name = record.name.as_bytes().into();
            names.insert(name, Arc::new(Registered::lazy(record)));
        }
        Ok(Self(Arc::new(Inner {
            executor: Executor::new(&options.engine, keyspace)?,
            acquire: Acquire::new(cache, options.worker.clone(), options.trust.clone()),
            registry: Registry::new(names),
            file,
            sequences: Mutex::new(sequences),
            async_calls: AsyncCalls::new(options.background),
            arriving: RwLock::default(),
            options,
        })))
    }

    /// How it is set up.
    #[must_use]
    pub fn options(&self) -> &RuntimeOptions {
        &self.0.options
    }

    /// The host's keyspace.
    #[must_use]
    pub fn keyspace(&self) -> &Arc<K> {
        self.0.executor.keyspace()
    }

    /// What functions run on.
    #[must_use]
    pub fn executor(&self) -> &Executor<K> {
        &self.0.executor
    }

    /// The cache, if there is one.
    #[must_use]
    pub fn cache(&self) -> Option<&Cache> {
        self.0.acquire.cache()
    }

    /// How often code was compiled or found, and how long compiling took.
    #[must_use]
    pub fn acquire_stats(&self) -> &AcquireStats {
        self.0.acquire.stats()
    }

    /// The calls in the background.
    #[must_use]
    pub fn async_calls(&self) -> &AsyncCalls {
        &self.0.async_calls
    }

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
        let names = self.0.registry.look();
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
        registered: &'r Arc<Registered<K>>,
        request: &CallRequest<'_>,
    ) -> Result<&'r Arc<Function<K>>, CallError> {
        let inner = Arc::clone(&self.0);
        let ready = registered.wait_ready(move |record| inner.load_record(record));
        let time_max = self.0.options.limits.time_max;
        let time_max = request
            .timeout
            .map_or(time_max, |asked| asked.min(time_max));
        let started = Moment::now();
        match until(ready, started.after(time_max), request.handle).await {
            Ok(result) => result,
            Err(Wait::Killed) => Err(CallError::killed()),
            Err(Wait::Over) => Err(CallError::new(
                Code::Timeout,
                "the function is still being loaded; try again later",
            )),
        }
    }

    /// Loads a function. Blocks while it is compiled.
    ///
    /// # Errors
    ///
    /// The client's error; nothing has changed then.
    pub fn load(&self, request: LoadRequest<'_>) -> Result<Digest, CallError> {
        let inner = &*self.0;
        let LoadRequest {
            name,
            source,
            file,
            description,
            permissions,
            limits,
            isolation,
            replace,
        } = request;
        let exists = inner.registry.get(name.as_bytes()).is_some();
        if exists && !replace {
            return Err(CallError::exists(name.as_str()));
        }
        let unpacked = match &source {
            Source::Bundle(bundle) => {
                let unpacked = unpack::open(bundle, name.as_bytes(), &inner.options)?;
                let sequence = unpacked.release.sequence;
                check_sequence(&inner.sequences.lock(), &name, sequence)?;
                Some(unpacked)
            }
            Source::Cached(_) | Source::Wasm(_) | Source::Text(_) => None,
        };
        let (permissions, limits, isolation) = match &unpacked {
            Some(unpacked) => Asked::of(unpacked.bundle.manifest(), &inner.options)?.narrowed(
                permissions,
                &limits,
                isolation,
                &inner.options,
            )?,
            None => (
                permissions.unwrap_or_else(|| inner.options.permissions.clone()),
                limits,
                isolation,
            ),
        };
        let signed = unpacked.as_ref().map(|one| one.bundle.manifest());
        let description = description.or_else(|| Some(signed?.description.as_deref()?.into()));
        let description_bytes = description.as_ref().map_or(0, |text| text.len());
        if description_bytes > inner.options.description_bytes_max {
            return Err(CallError::limit(format!(
                "the description has {description_bytes} bytes, the limit is {}",
                inner.options.description_bytes_max
            )));
        }
        let mut record = Record {
            name,
            // Known once the artifact is; nothing looks at it before.
            digest: Digest::of(&[]),
            file,
            description,
            permissions,
            limits,
            isolation,
            release: unpacked.as_ref().map(|one| Box::new(one.release.clone())),
        };
        // What is wrong with the options is said before anything is compiled.
        let spec = inner.spec(&record)?;
        let arriving = inner.arriving.read();
        let acquired = match unpacked {
            Some(unpacked) => inner.acquire.acquire_bundle(unpacked.bundle)?,
            None => inner.acquire.acquire(&source)?,
        };
        let function = inner.start(&acquired, spec)?;
        record.digest = function.digest();
        let digest = record.digest;
        inner.change(|names, sequences| {
            note_release(sequences, &record)?;
            let name = record.name.as_bytes();
            let stats = match names.get(name) {
                Some(_) if !replace => return Err(CallError::exists(record.name.as_str())),
                // The figures belong to the name.
                Some(before) => Arc::clone(before.stats()),
                None if names.len() >= inner.options.functions_max => {
                    return Err(CallError::limit(format!(
                        "there are {} functions, which is the limit; unload some",
                        names.len()
                    )));
                }
                None => Arc::new(FunctionStats::default()),
            };
            let name = name.into();
            names.insert(name, Arc::new(Registered::ready(record, stats, function)));
            Ok(())
        })?;
        drop(arriving);
        inner.evict();
        Ok(digest)
    }

    /// Loads a function that is not registered; the caller keeps it. Blocks while it is compiled.
    ///
    /// # Errors
    ///
    /// The client's error. Signed bundles are refused: their sequences belong to registered names.
    pub fn load_unregistered(
        &self,
        record: &Record,
        source: &Source<'_>,
    ) -> Result<Arc<Function<K>>, CallError> {
        let inner = &*self.0;
        if matches!(source, Source::Bundle(_)) {
            return Err(CallError::invalid(
                "a bundle is loaded by WASM.LOAD, which registers its name",
            ));
        }
        let spec = inner.spec(record)?;
        let _arriving = inner.arriving.read();
        let acquired = inner.acquire.acquire(source)?;
        inner.start(&acquired, spec)
    }

    /// Gives a function other code and leaves everything else of it. Blocks while it is compiled.
    ///
    /// Calls that run end on the old code; none fails because of it.
    ///
    /// # Errors
    ///
    /// The client's error; nothing has changed then.
    pub fn reload(
        &self,
        name: &[u8],
        source: &Source<'_>,
        file: Option<&str>,
    ) -> Result<Digest, CallError> {
        let inner = &*self.0;
        let find = || {
            inner
                .registry
                .get(name)
                .ok_or_else(|| CallError::no_function(name))
        };
        let first = find()?;
        let arriving = inner.arriving.read();
        let (acquired, asked, release) = match source {
            Source::Bundle(bundle) => {
                let unpacked = unpack::open(bundle, name, &inner.options)?;
                let release = unpacked.release;
                let name = &first.record().name;
                check_sequence(&inner.sequences.lock(), name, release.sequence)?;
                let asked = Asked::of(unpacked.bundle.manifest(), &inner.options)?;
                // Said before anything is read; what holds in the end is asked again.
                asked.narrow(&mut first.record().clone(), &inner.options)?;
                let acquired = inner.acquire.acquire_bundle(unpacked.bundle)?;
                (acquired, Some(asked), Some(Box::new(release)))
            }
            Source::Cached(_) | Source::Wasm(_) | Source::Text(_) => {
                (inner.acquire.acquire(source)?, None, None)
            }
        };
        loop {
            let before = find()?;
            let mut record = before.record().clone();
            if let Some(asked) = &asked {
                asked.narrow(&mut record, &inner.options)?;
            }
            record.release.clone_from(&release);
            let function = inner.start(&acquired, inner.spec(&record)?)?;
            record.digest = function.digest();
            record.file = file.map(Into::into);
            let digest = record.digest;
            let changed = inner.change(|names, sequences| match names.get_mut(name) {
                Some(current) if Arc::ptr_eq(current, &before) => {
                    note_release(sequences, &record)?;
                    let stats = Arc::clone(before.stats());
                    *current = Arc::new(Registered::ready(record, stats, function));
                    Ok(true)
                }
                // Somebody else changed the function meanwhile, perhaps its permissions.
                _ => Ok(false),
            })?;
            if changed {
                drop(arriving);
                inner.evict();
                return Ok(digest);
            }
        }
    }

    /// Gives a function the code that the file it was loaded from now has; `None` where it has that
    /// already, or was not loaded from a file. Blocks.
    ///
    /// # Errors
    ///
    /// The same as from [`Runtime::reload`]. It is also kept with the function's errors, because
    /// nobody may be waiting for it.
    pub fn reload_file(&self, name: &[u8]) -> Result<Option<Digest>, CallError> {
        let registered = self.function(name)?;
        let Record { file, digest, .. } = registered.record();
        let Some(file) = file.as_deref() else {
            return Ok(None);
        };
        let reload = || {
            let source = Source::for_load(file.as_bytes(), &self.0.options.source)?;
            if matches!(&source, Source::Wasm(wasm) if Digest::of(wasm) == *digest) {
                return Ok(None);
            }
            self.reload(name, &source, Some(file)).map(Some)
        };
        reload().inspect_err(|error| registered.stats().record_error(error, None))
    }

    /// Forgets a function. Calls that run end undisturbed. Blocks while the registry is written.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or the registry cannot be written.
    pub fn unload(&self, name: &[u8]) -> Result<(), CallError> {
        self.0.change(|names, _| match names.remove(name) {
            Some(_) => Ok(()),
            None => Err(CallError::no_function(name)),
        })
    }

    /// Registers a function as another server has it. Its code is fetched when it is needed.
    ///
    /// # Errors
    ///
    /// When its permissions or limits are wrong here, or the registry cannot be written.
    pub fn adopt(&self, record: Record) -> Result<(), CallError> {
        self.0.spec(&record)?;
        self.0.change(|names, sequences| {
            note_release(sequences, &record)?;
            let name = record.name.as_bytes();
            if names
                .get(name)
                .is_none_or(|known| *known.record() != record)
            {
                names.insert(name.into(), Arc::new(Registered::lazy(record)));
            }
            Ok(())
        })
    }

    /// Registers these functions and forgets all others, as when another server's data is loaded.
    ///
    /// Those that are registered just so already stay as they are, loaded code included. A record
    /// that is wrong here is left out, and told about in the result.
    ///
    /// # Errors
    ///
    /// When the registry cannot be written.
    pub fn adopt_all(&self, records: Vec<Record>) -> Result<Vec<CallError>, CallError> {
        let mut wrong = Vec::new();
        let records: Vec<Record> = records
            .into_iter()
            .filter(|record| match self.0.spec(record) {
                Ok(_) => true,
                Err(error) => {
                    wrong.push(error);
                    false
                }
            })
            .collect();
        self.0.change(|names, sequences| {
            let before = std::mem::take(names);
            for record in records {
                // What the data holds is taken as it is; nothing older is loaded over it.
                if let Some(release) = &record.release {
                    let highest = sequences.entry(record.name.clone()).or_default();
                    *highest = (*highest).max(release.sequence);
                }
                let registered = match before.get(record.name.as_bytes()) {
                    Some(known) if *known.record() == record => Arc::clone(known),
                    _ => Arc::new(Registered::lazy(record)),
                };
                names.insert(registered.record().name.as_bytes().into(), registered);
            }
            Ok(())
        })?;
        Ok(wrong)
    }

    /// The function of this name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn function(&self, name: &[u8]) -> Result<Arc<Registered<K>>, CallError> {
        self.0
            .registry
            .get(name)
            .ok_or_else(|| CallError::no_function(name))
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
        let ready = registered.wait_ready(move |record| inner.load_record(record));
        block_on(ready).cloned()
    }

    /// Every function, in the order of their names.
    #[must_use]
    pub fn functions(&self) -> Vec<Arc<Registered<K>>> {
        let mut functions: Vec<_> = self.0.registry.snapshot().values().cloned().collect();
        functions.sort_by(|one, other| one.record().name.cmp(&other.record().name));
        functions
    }

    /// What a function is loaded as, as a record has it.
    ///
    /// # Errors
    ///
    /// When permissions or limits are wrong.
    pub fn spec(&self, record: &Record) -> Result<FunctionSpec, CallError> {
        self.0.spec(record)
    }
}

impl<K: Keyspace> Inner<K> {
    /// Fetches the code of a function that is remembered.
    fn load_record(&self, record: &Record) -> Result<Arc<Function<K>>, CallError> {
        let key = record.release.as_ref().map(|release| release.key);
        let acquired = self.acquire.acquire_remembered(&record.digest, key)?;
        self.start(&acquired, self.spec(record)?)
    }

    /// Makes an artifact a function, with the instances that are to wait for calls.
    fn start(
        &self,
        acquired: &Acquired,
        spec: FunctionSpec,
    ) -> Result<Arc<Function<K>>, CallError> {
        let function = self.executor.load(&acquired.artifact, spec)?;
        if self.options.pool.instances_min > 0
            && let Err(error) = block_on(self.executor.prewarm(&function))
        {
            // Its calls will say the same to those who make them.
            tracing::warn!(function = function.name(), %error, "no instance could be made ready");
        }
        Ok(function)
    }

    fn spec(&self, record: &Record) -> Result<FunctionSpec, CallError> {
        let Record {
            name,
            digest: _,
            file: _,
            description,
            permissions,
            limits,
            isolation,
            release: _,
        } = record;
        let keyspace = self.executor.keyspace();
        let door = Door::new(permissions, |name| keyspace.is_command(name))
            .map_err(|error| CallError::invalid(error.to_string()))?;
        let limits = self
            .options
            .limits
            .for_function(limits)
            .map_err(|error| CallError::invalid(error.to_string()))?;
        Ok(FunctionSpec {
            name: name.as_str().into(),
            description: description.clone(),
            permissions: permissions.clone(),
            door,
            limits,
            isolation: isolation.unwrap_or(self.options.isolation),
            pool: self.options.pool,
        })
    }

    /// Changes the registry in memory and on disk, or neither.
    fn change<R>(
        &self,
        change: impl FnOnce(&mut Names<Registered<K>>, &mut Sequences) -> Result<R, CallError>,
    ) -> Result<R, CallError> {
        self.registry.change(|names| {
            let mut current = self.sequences.lock();
            let mut sequences = current.clone();
            let result = change(names, &mut sequences)?;
            if let Some(file) = &self.file {
                file.write(names.values().map(|one| one.record()), &sequences)
                    .map_err(|error| {
                        CallError::new(
                            Code::Store,
                            format!("nothing was changed: {}", chain(&error)),
                        )
                    })?;
            }
            *current = sequences;
            Ok(result)
        })
    }

    /// Makes room in the cache if it is too large, for all but the functions that are loaded.
    fn evict(&self) {
        let Some(cache) = self.acquire.cache() else {
            return;
        };
        // Whoever is still loading will evict afterwards.
        let Some(_alone) = self.arriving.try_write() else {
            return;
        };
        let names = self.registry.snapshot();
        let pinned: HashSet<Digest> = names.values().map(|one| one.record().digest).collect();
        if let Err(error) = cache.evict(&pinned) {
            tracing::warn!(error = chain(&error), "no room was made in the cache");
        }
    }
}

/// Notes the sequence number of a signed release, unless a newer one was loaded meanwhile.
fn note_release(sequences: &mut Sequences, record: &Record) -> Result<(), CallError> {
    if let Some(release) = &record.release {
        check_sequence(sequences, &record.name, release.sequence)?;
        sequences.insert(record.name.clone(), release.sequence);
    }
    Ok(())
}

/// Runs a future to its end on this thread, which sleeps meanwhile.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
