//! Provides the verified artifact of a source: from the cache, or compiled once and put into it.

pub(crate) mod cache_size;
pub mod compile_worker;
mod from_bundle;
mod javascript;
pub(crate) mod signed_bundle;
pub mod source;
mod stack_depth_need;
#[cfg(test)]
mod tests;
pub mod trust;

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ferrite_cache::bundle::{KeyId, SignedManifest};
use ferrite_cache::worker_protocol::{CompileRequest, CompileResponse, SourceKind};
use ferrite_cache::{
    ArtifactBytes, Cache, CacheError, CompiledModule, Digest, KnownEngine, Manifest, Origin,
    Profile, VerifiedArtifact,
};
use parking_lot::{Condvar, Mutex};

pub(crate) use stack_depth_need::Depth;

use crate::artifact::compile_worker::WorkerOptions;
use crate::artifact::javascript::Evaluator;
use crate::artifact::signed_bundle::{not_stored, unsigned};
use crate::artifact::source::Source;
use crate::artifact::trust::TrustOptions;
use crate::error::{CallError, Code};
use crate::metrics::compile_stats::CompileStats;
use ferrite_protocol::error_chain::ErrorChain;

/// Compilations that run at once; each takes as many threads as there are.
const COMPILING_MAX: usize = 2;

/// Largest artifact that is loaded on a thread that serves other calls, in bytes. Reading, verifying
/// and mapping that much takes a third of a millisecond; a guest may compute longer before it yields.
const AT_ONCE_BYTES_MAX: u64 = 1 << 20;

/// Provides verified artifacts. Every method blocks.
pub(crate) struct ArtifactProvider {
    cache: Option<Cache>,
    worker: WorkerOptions,
    trust: TrustOptions,
    /// The profiles that this machine can run, best first. Modules are compiled for the best.
    candidates: Vec<Profile>,
    /// The same, for code that counts how deep its calls nest.
    counting: Vec<Profile>,
    compile_slots: CompileSlots,
    evaluator: Evaluator,
    warned: AtomicBool,
    stats: CompileStats,
}

/// An artifact, and its origin.
#[derive(Debug)]
pub(crate) struct ProvidedArtifact {
    /// The artifact.
    pub artifact: VerifiedArtifact,
    /// True if it was in the cache, so that nothing was compiled.
    pub from_cache: bool,
}

impl ProvidedArtifact {
    /// Returns the most bytes that providing this from `source` may have added to the cache.
    #[must_use]
    pub(crate) fn bytes_added(&self, source: &Source<'_>) -> u64 {
        /// More than a manifest has.
        const MANIFEST_BYTES: u64 = 16 << 10;
        // A bundle's source is cached even if its artifact was there already.
        if self.from_cache && !matches!(source, Source::Bundle(_)) {
            return 0;
        }
        let manifest = self.artifact.manifest();
        let image_len = manifest.image.as_ref().map_or(0, |image| image.len);
        manifest.source_len + manifest.artifact_len + image_len + MANIFEST_BYTES
    }
}

impl ArtifactProvider {
    /// Creates a provider. Without a cache, everything is compiled, and nothing survives the process.
    #[must_use]
    pub(crate) fn new(cache: Option<Cache>, worker: WorkerOptions, trust: TrustOptions) -> Self {
        let mut candidates = Profile::candidates();
        if candidates.is_empty() {
            candidates.push(Profile::native());
        }
        Self {
            cache,
            worker,
            trust,
            counting: candidates
                .iter()
                .map(|profile| profile.clone().with_stack_depth(true))
                .collect(),
            candidates,
            compile_slots: CompileSlots::new(COMPILING_MAX),
            evaluator: Evaluator::default(),
            warned: AtomicBool::new(false),
            stats: CompileStats::default(),
        }
    }

    /// The cache, if there is one.
    #[must_use]
    pub(crate) const fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// Returns the counters of compilations and of code found in the cache.
    #[must_use]
    pub(crate) const fn stats(&self) -> &CompileStats {
        &self.stats
    }

    /// Provides the artifact of a source that is not a bundle, for a function that needs `depth`.
    ///
    /// # Errors
    ///
    /// The client's error: `NOARTIFACT` for a digest that is not in the cache and for a module that
    /// cannot be compiled here; `BADSIG` for anything but a bundle, if only those are loaded;
    /// the compiler's own refusals.
    pub(crate) fn provide(
        &self,
        source: &Source<'_>,
        depth: Depth,
    ) -> Result<ProvidedArtifact, CallError> {
        let signed_only = self.trust.require_signed;
        match source {
            Source::Cached(digest) if signed_only => Err(not_stored(digest)),
            Source::Cached(digest) => self.by_digest(digest, None, depth),
            Source::Wasm(_) | Source::Text(_) | Source::Program(_) if signed_only => {
                Err(unsigned("the module"))
            }
            Source::Wasm(source) | Source::Program(source) => {
                let digest = Digest::of(source);
                self.found_or(&digest, depth, || {
                    self.compile(Some(&digest), source, None, depth)
                })
            }
            // Only the worker knows which WebAssembly a text stands for.
            Source::Text(text) => self
                .compile(None, text, None, depth)
                .map_err(|error| depth.explain(error)),
            Source::Bundle(_) => Err(CallError::invalid(
                "a bundle is loaded by the name that it is signed for",
            )),
        }
    }

    /// Provides the artifact of a registered function; `key` signed the bundle that it came in.
    ///
    /// # Errors
    ///
    /// As [`ArtifactProvider::provide`]; `BADSIG` if the key has been revoked since.
    pub(crate) fn provide_registered(
        &self,
        digest: &Digest,
        key: Option<KeyId>,
        depth: Depth,
    ) -> Result<ProvidedArtifact, CallError> {
        match key {
            Some(key) if self.trust.trust.revoked.contains(&key) => Err(CallError::new(
                Code::BadSignature,
                format!(
                    "the function was loaded from a bundle signed by key {key}, which is revoked; load one that a current key signed"
                ),
            )),
            None if self.trust.require_signed => Err(unsigned("the function")),
            key => self.by_digest(digest, key, depth),
        }
    }

    /// Returns the signed manifests that are stored of a source.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub(crate) fn stored_releases(
        &self,
        digest: &Digest,
    ) -> Result<Vec<SignedManifest>, CallError> {
        let Some(cache) = &self.cache else {
            return Ok(Vec::new());
        };
        cache
            .releases(digest)
            .map_err(|error| CallError::new(Code::Store, ErrorChain(&error).to_string()))
    }

    /// Like [`ArtifactProvider::provide_registered`], only if it is fast: for code of the best profile,
    /// in the cache and in memory, of at most a megabyte. `None` means only that it was not fast; the
    /// slow way may still provide the artifact.
    pub(crate) fn provide_cached(
        &self,
        digest: &Digest,
        key: Option<KeyId>,
        depth: Depth,
    ) -> Option<ProvidedArtifact> {
        let revoked = |key| self.trust.trust.revoked.contains(&key);
        if key.is_some_and(revoked) || (key.is_none() && self.trust.require_signed) {
            return None;
        }
        let profile = self.candidates(depth).first()?;
        let cache = self.cache.as_ref()?;
        let artifact = cache.lookup_nonblocking(digest, profile, AT_ONCE_BYTES_MAX)?;
        if artifact.manifest().signed_by.is_some_and(revoked) {
            return None;
        }
        self.stats.count_found();
        Some(ProvidedArtifact {
            artifact,
            from_cache: true,
        })
    }

    /// Returns the profiles that suit the machine and the function, best first.
    fn candidates(&self, depth: Depth) -> &[Profile] {
        match depth {
            Depth::Free => &self.candidates,
            Depth::Counted => &self.counting,
        }
    }

    /// Returns what the cache has, or what `make` makes, or else other code that serves as well.
    fn found_or(
        &self,
        digest: &Digest,
        depth: Depth,
        make: impl FnOnce() -> Result<ProvidedArtifact, CallError>,
    ) -> Result<ProvidedArtifact, CallError> {
        if let Some(found) = self.lookup_among(digest, self.candidates(depth)) {
            return Ok(found);
        }
        make().or_else(|error| {
            let instead = (error.code() == Code::NoArtifact)
                .then(|| self.lookup_instead(digest, depth))
                .flatten();
            instead.ok_or_else(|| depth.explain(error))
        })
    }

    /// Finds code that counts how deep its calls nest for a function that does not need that; such
    /// code is slower.
    fn lookup_instead(&self, digest: &Digest, depth: Depth) -> Option<ProvidedArtifact> {
        match depth {
            Depth::Free => self.lookup_among(digest, &self.counting),
            Depth::Counted => None,
        }
    }

    fn by_digest(
        &self,
        digest: &Digest,
        signed_by: Option<KeyId>,
        depth: Depth,
    ) -> Result<ProvidedArtifact, CallError> {
        let Some(cache) = &self.cache else {
            return Err(CallError::new(
                Code::NoArtifact,
                format!(
                    "no cache is configured, so {digest} cannot be found in it; give the module itself, or set wasm.cache.enabled"
                ),
            ));
        };
        self.found_or(digest, depth, || {
            let source = cache.source(digest).unwrap_or_else(|error| {
                self.warn("cannot be read", &error);
                None
            });
            match source {
                Some(wasm) => self.compile(Some(digest), &wasm, signed_by, depth),
                None => Err(CallError::new(
                    Code::NoArtifact,
                    format!(
                        "{digest} is not in the cache {root}; put it there by ferrite-wasmc compile FILE --cache {root}, or give the module itself",
                        root = cache.root().display()
                    ),
                )),
            }
        })
    }

    /// Finds an artifact in the cache for one of `profiles`. A failing disk counts as a miss.
    fn lookup_among(&self, digest: &Digest, profiles: &[Profile]) -> Option<ProvidedArtifact> {
        let cache = self.cache.as_ref()?;
        for profile in profiles {
            match cache.lookup(digest, profile) {
                Ok(Some(artifact)) => {
                    if let Some(key) = artifact.manifest().signed_by
                        && self.trust.trust.revoked.contains(&key)
                    {
                        self.withdraw(digest, profile, &format!("key {key} is revoked"));
                        continue;
                    }
                    self.stats.count_found();
                    return Some(ProvidedArtifact {
                        artifact,
                        from_cache: true,
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    self.warn("cannot be read", &error);
                    return None;
                }
            }
        }
        None
    }

    /// Moves code out of the cache that must not be used.
    fn withdraw(&self, digest: &Digest, profile: &Profile, reason: &str) {
        let Some(cache) = &self.cache else {
            return;
        };
        match cache.withdraw(digest, profile) {
            Ok(()) => tracing::warn!(source = %digest, reason, "moved code out of the cache"),
            Err(error) => self.warn("cannot be written", &error),
        }
    }

    /// Compiles a module, or its text when `digest` is not known, or evaluates a program, and puts it into the
    /// cache; `signed_by` is the key that signed the source.
    fn compile(
        &self,
        digest: Option<&Digest>,
        source: &[u8],
        signed_by: Option<KeyId>,
        depth: Depth,
    ) -> Result<ProvidedArtifact, CallError> {
        let candidates = self.candidates(depth);
        let profile = &candidates[0];
        let compile = || {
            if self.evaluates(source) {
                self.evaluate(source, signed_by, depth)
            } else {
                self.run_worker(digest, source, signed_by, profile)
            }
        };
        let (artifact, origin) = match (&self.cache, digest) {
            (Some(cache), Some(digest)) => cache.get_or_compile_with(
                digest,
                profile,
                || {
                    let found = self.lookup_among(digest, candidates);
                    Ok(found.map(|found| found.artifact))
                },
                |error| self.go_on_without_cache(error),
                compile,
            )?,
            _ => {
                let compiled = compile()?;
                let published =
                    self.publish(compiled.manifest.clone(), &compiled.source, compiled.code())?;
                (published, Origin::Compiled)
            }
        };
        Ok(ProvidedArtifact {
            artifact,
            from_cache: origin == Origin::Cache,
        })
    }

    /// Has workers compile a module, or its text when `digest` is not known: one the module, and another its
    /// engine if that is new.
    fn run_worker(
        &self,
        digest: Option<&Digest>,
        source: &[u8],
        signed_by: Option<KeyId>,
        profile: &Profile,
    ) -> Result<CompiledModule, CallError> {
        let mut engines = self.known_engines(profile);
        loop {
            let done = self.compile_with(digest, source, signed_by, profile, &engines)?;
            match done {
                Some(compiled) => return Ok(compiled),
                // An engine was evicted meanwhile.
                None => engines.clear(),
            }
        }
    }

    /// The same, where none of `engines` need be compiled. Returns `None` if one is needed that is gone.
    fn compile_with(
        &self,
        digest: Option<&Digest>,
        source: &[u8],
        signed_by: Option<KeyId>,
        profile: &Profile,
        engines: &[KnownEngine],
    ) -> Result<Option<CompiledModule>, CallError> {
        let _slot = self.compile_slots.wait();
        let answer = self.ask_worker(&CompileRequest {
            profile: profile.clone(),
            source: source.into(),
            kind: SourceKind::Source,
            engines: engines.to_vec(),
        })?;
        let CompileResponse::Compiled {
            manifest,
            source: wasm,
            artifact,
            image,
        } = answer
        else {
            return Err(no_answer());
        };
        if manifest.profile != *profile || digest.is_some_and(|digest| *digest != manifest.source) {
            return Err(CallError::new(
                Code::NoArtifact,
                "the compiler answered for another module or machine; use a ferrite-wasmc of the same release",
            ));
        }
        // A malicious module may control its worker, so the signer never comes from the answer, and native
        // code that other functions might share comes from a worker that has seen nothing but that code.
        let mut manifest = Manifest {
            signed_by,
            ..*manifest
        };
        let native = match &manifest.image {
            None => artifact,
            Some(info) if artifact.is_empty() => {
                let known = KnownEngine {
                    engine: info.engine,
                    native: manifest.artifact,
                    native_len: manifest.artifact_len,
                };
                match self.engine_code(profile, &known) {
                    Some(native) => native,
                    None => return Ok(None),
                }
            }
            Some(_) => {
                let answer = self.ask_worker(&CompileRequest {
                    profile: profile.clone(),
                    source: artifact.into(),
                    kind: SourceKind::Engine,
                    engines: Vec::new(),
                })?;
                let CompileResponse::Engine { artifact: native } = answer else {
                    return Err(no_answer());
                };
                manifest.artifact = Digest::of(&native);
                manifest.artifact_len = native.len() as u64;
                native
            }
        };
        Ok(Some(CompiledModule {
            source: wasm,
            image: manifest.image.is_some().then_some(image),
            manifest,
            artifact: native,
        }))
    }

    fn ask_worker(&self, job: &CompileRequest<'_>) -> Result<CompileResponse, CallError> {
        let started = Instant::now();
        let answer = compile_worker::compile(&self.worker, job);
        let done = matches!(
            answer,
            Ok(CompileResponse::Compiled { .. } | CompileResponse::Engine { .. })
        );
        self.stats.count_compiled(started.elapsed(), done);
        Ok(answer?)
    }

    /// Returns the engines whose native code the cache has.
    fn known_engines(&self, profile: &Profile) -> Vec<KnownEngine> {
        let Some(cache) = &self.cache else {
            return Vec::new();
        };
        cache.engines(profile).unwrap_or_else(|error| {
            self.warn("cannot be read", &error);
            Vec::new()
        })
    }

    /// Reads the native code of an engine that was not compiled again.
    fn engine_code(&self, profile: &Profile, engine: &KnownEngine) -> Option<Vec<u8>> {
        let code = self.cache.as_ref()?.engine_code(profile, engine);
        code.unwrap_or_else(|error| {
            self.warn("cannot be read", &error);
            None
        })
    }

    /// Puts compiled code into the cache; if that fails, it is used from memory.
    fn publish(
        &self,
        manifest: Manifest,
        wasm: &[u8],
        artifact: ArtifactBytes<'_>,
    ) -> Result<VerifiedArtifact, CallError> {
        match &self.cache {
            Some(cache) => cache
                .publish_or_keep(manifest, wasm, artifact, |error| {
                    self.go_on_without_cache(error)
                })
                .map(|(artifact, _)| artifact),
            None => VerifiedArtifact::in_memory(manifest, artifact)
                .map_err(|error| CacheError::from(error).into()),
        }
    }

    /// Warns about a disk that fails, so that the load goes on from memory; any other error of the
    /// cache fails the load.
    fn go_on_without_cache(&self, error: CacheError) -> Result<(), CallError> {
        if !error.is_storage() {
            return Err(error.into());
        }
        let what = match error {
            CacheError::Lock(_) => "cannot be locked",
            _ => "cannot be written",
        };
        self.warn(what, &error);
        Ok(())
    }

    /// Warns once that the cache fails: every later load would only repeat it.
    fn warn(&self, what: &str, error: &dyn Error) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                error = %ErrorChain(error),
                "the cache {what}; functions are compiled and kept in memory, and will be compiled again after a restart"
            );
        }
    }
}

#[cold]
fn no_answer() -> CallError {
    CallError::new(
        Code::NoArtifact,
        "the compiler neither compiled the module nor said why",
    )
}

impl From<CacheError> for CallError {
    fn from(error: CacheError) -> Self {
        Self::new(Code::NoArtifact, ErrorChain(&error).to_string())
    }
}

/// A semaphore: lets a few threads compile at once and makes the others wait.
struct CompileSlots {
    free: Mutex<usize>,
    freed: Condvar,
}

impl CompileSlots {
    const fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        }
    }

    fn wait(&self) -> CompileSlot<'_> {
        let mut free = self.free.lock();
        while *free == 0 {
            self.freed.wait(&mut free);
        }
        *free -= 1;
        CompileSlot(self)
    }
}

struct CompileSlot<'a>(&'a CompileSlots);

impl Drop for CompileSlot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}
