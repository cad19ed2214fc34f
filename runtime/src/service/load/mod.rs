//! Loads functions: checks the request, provides the code, registers the function.

mod declared;

use std::borrow::Cow;
use std::sync::Arc;

use ferrite_cache::{Digest, LIMITS_SECTION, VerifiedArtifact};

use crate::artifact::signed_bundle::{self, ReleasedCode, RequestedGrant, Unpacked};
use crate::artifact::source::Source;
use crate::artifact::{Depth, ProvidedArtifact};
use crate::automation::declared::{DeclarationScope, within};
use crate::error::{CallError, Code, Quoted};
use crate::executor::function::Function;
use crate::policy::files::directory::Directory;
use crate::policy::files::kept::KeptFiles;
use crate::policy::function_config::FunctionConfig;
use crate::policy::function_spec::{FunctionSpec, Isolation};
use crate::policy::limits::LimitSettings;
use crate::policy::permissions::{AccessPolicy, Permissions};
use crate::registry::record::{FunctionName, Record};
use crate::registry::rollback_guard;
use crate::service::call_target::HeldFunction;
use crate::service::{Inner, Runtime};
use ferrite_protocol::keyspace::Keyspace;

/// A request to load a function.
#[derive(Clone, Debug)]
pub struct LoadRequest<'a> {
    /// Name by which it will be called.
    pub name: FunctionName,
    /// Source of its code.
    pub source: Source<'a>,
    /// The file in the module folder that the code is from, if any.
    pub file: Option<Box<str>>,
    /// Description by its owner.
    pub description: Option<Box<str>>,
    /// Permissions; without them, the default.
    pub permissions: Option<Permissions>,
    /// Limits; those that are not given are the server's own.
    pub limits: LimitSettings,
    /// Isolation; without it, the default.
    pub isolation: Option<Isolation>,
    /// Its own configuration; without one, that of the function that it replaces.
    pub config: Option<FunctionConfig>,
    /// True if it may replace a function of the same name.
    pub replace: bool,
    /// True if the function was loaded before and is restored from data, so that it does not matter if
    /// its release has expired or is older than another since.
    pub restored: bool,
    /// For whom the triggers and schedules are added that its module declares; `None` to add none.
    pub declarations: Option<DeclarationScope>,
}

impl<'a> LoadRequest<'a> {
    /// Makes a request that leaves everything else to the runtime's defaults, and replaces no
    /// function.
    #[must_use]
    pub fn new(name: FunctionName, source: Source<'a>) -> Self {
        Self {
            name,
            source,
            file: None,
            description: None,
            permissions: None,
            limits: LimitSettings::default(),
            isolation: None,
            config: None,
            replace: false,
            restored: false,
            declarations: Some(DeclarationScope::default()),
        }
    }

    /// Takes the source out, and leaves an empty one.
    fn take_source(&mut self) -> Source<'a> {
        std::mem::replace(&mut self.source, Source::Text(Cow::Borrowed(&[])))
    }
}

/// The parts of a request that a replaced function may have had otherwise.
struct Given {
    permissions: bool,
    limits: bool,
    isolation: bool,
}

impl Given {
    fn of(request: &LoadRequest<'_>) -> Self {
        Self {
            permissions: request.permissions.is_some(),
            limits: request.limits != LimitSettings::default(),
            isolation: request.isolation.is_some(),
        }
    }

    /// Logs the parts that were not given, and differ from those of the function that is replaced.
    fn warn_of_lost(&self, before: &Record, after: &Record) {
        let lost: Vec<&str> = [
            (
                "PERMISSIONS",
                self.permissions,
                before.permissions != after.permissions,
            ),
            ("LIMITS", self.limits, before.limits != after.limits),
            (
                "ISOLATION",
                self.isolation,
                before.isolation != after.isolation,
            ),
        ]
        .into_iter()
        .filter_map(|(option, given, differs)| (differs && !given).then_some(option))
        .collect();
        if !lost.is_empty() {
            tracing::warn!(
                function = %after.name,
                options = lost.join(", "),
                "the function that is replaced had others; those that were not given are the defaults now"
            );
        }
    }
}

impl<K: Keyspace> Runtime<K> {
    /// Loads a function and registers it. Blocks while the source is compiled.
    ///
    /// # Errors
    ///
    /// The client's error; then nothing has changed.
    pub fn load(&self, mut request: LoadRequest<'_>) -> Result<Digest, CallError> {
        let inner = &*self.0;
        let replace = request.replace;
        let existing = inner.registry.get(request.name.as_bytes());
        if let Some(existing) = existing {
            if !replace {
                return Err(CallError::exists(request.name.as_str()));
            }
            let kept = || existing.record().config.clone();
            request.config.get_or_insert_with(kept);
        }
        let (source, declarations) = (request.take_source(), request.declarations);
        let request_name = request.name.clone();
        let given = Given::of(&request);
        let (mut record, unpacked) = inner.read_request(request, &source)?;
        // Report wrong options before anything is compiled.
        let spec = inner.spec(&record)?;
        let arriving = inner.arriving.read();
        let provided = inner.provide(&source, unpacked, Depth::of(&spec.limits))?;
        let added = provided.bytes_added(&source);
        let spec = inner.complete_limits(&mut record, spec, &provided)?;
        if let Some(scope) = declarations {
            let declared = &provided.artifact.manifest().module.automation;
            record.automation = self.check_declared(&spec, declared, scope)?;
        }
        let function = inner.start(&provided, spec)?;
        record.digest = function.digest();
        let digest = record.digest;
        let automation = record.automation.clone();
        self.change_with_declared(&request_name, automation.as_deref(), |names, sequences| {
            rollback_guard::note(sequences, &record)?;
            let before = match names.get(request_name.as_bytes()) {
                Some(_) if !replace => return Err(CallError::exists(record.name.as_str())),
                Some(before) => Some(Arc::clone(before)),
                None if names.len() >= inner.options.functions_max => {
                    return Err(CallError::limit(format!(
                        "there are {} functions, which is the limit; unload some",
                        names.len()
                    )));
                }
                None => None,
            };
            // A bundle brings its own.
            if let (Some(before), None) = (&before, &record.release) {
                given.warn_of_lost(before.record(), &record);
            }
            let entry = Arc::new(inner.entry(record, before.as_deref(), function));
            names.insert(request_name.as_bytes(), entry);
            Ok(Some(()))
        })?;
        drop(arriving);
        inner.evict(added);
        Ok(digest)
    }

    /// Loads a function for the caller to hold, without registering it. Blocks while the source is
    /// compiled. The sequence of its release counts as that of a registered function of its name.
    ///
    /// # Errors
    ///
    /// The client's error.
    pub fn load_held(&self, mut request: LoadRequest<'_>) -> Result<HeldFunction<K>, CallError> {
        let inner = &*self.0;
        let (source, restored) = (request.take_source(), request.restored);
        let (mut record, unpacked) = inner.read_request(request, &source)?;
        let spec = inner.spec(&record)?;
        let _arriving = inner.arriving.read();
        let provided = inner.provide(&source, unpacked, Depth::of(&spec.limits))?;
        let mut spec = inner.complete_limits(&mut record, spec, &provided)?;
        spec.registered = false;
        if let Some(kept) = &mut spec.kept {
            // A registered function may have the same name.
            *kept = Arc::default();
        }
        if let Some(line) = provided
            .artifact
            .manifest()
            .module
            .automation
            .lines()
            .next()
        {
            if !restored {
                let text = "FUNCTION LOAD adds no triggers and schedules here; load the module with WASM.LOAD";
                return Err(within(&line, &CallError::invalid(text)));
            }
            tracing::warn!(function = %record.name, "what the module of a library declares is not added");
        }
        let function = inner.start(&provided, spec)?;
        if record.release.is_some() {
            inner.change(|_, sequences| {
                if restored {
                    rollback_guard::raise(sequences, &record);
                    return Ok(());
                }
                rollback_guard::note(sequences, &record)
            })?;
        }
        Ok(HeldFunction::new(function))
    }

    /// Loads a function for the caller to hold from an artifact that the caller has. Runs nothing of
    /// it yet; see [`Runtime::prewarm`].
    ///
    /// # Errors
    ///
    /// The client's error: the engine cannot run the code, or the limits of `spec` do not suffice
    /// to start it.
    pub fn hold(
        &self,
        artifact: &VerifiedArtifact,
        spec: FunctionSpec,
    ) -> Result<HeldFunction<K>, CallError> {
        let spec = FunctionSpec {
            registered: false,
            ..spec
        };
        let function = self.0.executor.load(artifact, spec)?;
        Ok(HeldFunction::new(function))
    }

    /// Makes instances of a function until `instances_min` of its pool are idle.
    ///
    /// # Errors
    ///
    /// The client's error if the module's start function or initialiser fails.
    pub async fn prewarm(&self, function: &Function<K>) -> Result<(), CallError> {
        self.0.executor.prewarm(function).await
    }

    /// Drops the idle instances and buffers of all functions, to make room. Returns their number.
    pub fn reclaim(&self) -> usize {
        self.0.executor.reclaim()
    }

    /// Unloads a function, with the triggers and schedules that its module declares. Running calls finish. Blocks while the registry is written.
    ///
    /// # Errors
    ///
    /// There is no function of this name, or the registry cannot be written.
    pub fn unload(&self, name: &[u8]) -> Result<(), CallError> {
        let function = FunctionName::parse(name).map_err(|_| CallError::no_function(name))?;
        self.change_with_declared(&function, None, |names, _| match names.remove(name) {
            Some(_) => Ok(Some(())),
            None => Err(CallError::no_function(name)),
        })?;
        self.0.kept_files.forget(name);
        Ok(())
    }

    /// Unloads a function that another server has unloaded. Its triggers and schedules are left to
    /// [`Runtime::adopt_automation`].
    ///
    /// # Errors
    ///
    /// As [`Runtime::unload`].
    pub fn adopt_removal(&self, name: &[u8]) -> Result<(), CallError> {
        self.0.change(|names, _| match names.remove(name) {
            Some(_) => Ok(()),
            None => Err(CallError::no_function(name)),
        })?;
        self.0.kept_files.forget(name);
        Ok(())
    }

    /// Returns the spec of a function with this record.
    ///
    /// # Errors
    ///
    /// The permissions or limits are wrong.
    pub fn spec(&self, record: &Record) -> Result<FunctionSpec, CallError> {
        self.0.spec(record)
    }
}

impl<K: Keyspace> Inner<K> {
    /// Makes the record of a function from a request, whose source is given beside it. If the source is
    /// a signed release, the record has at most what that was signed for.
    fn read_request<'a>(
        &self,
        request: LoadRequest<'_>,
        source: &'a Source<'_>,
    ) -> Result<(Record, Option<Unpacked<'a>>), CallError> {
        let LoadRequest {
            name,
            source: _,
            file,
            description,
            permissions,
            limits,
            isolation,
            config,
            replace: _,
            restored,
            declarations: _,
        } = request;
        let terms = self.bundle_terms();
        let unpacked = self.unpack(source, &name, restored)?;
        let (permissions, limits, isolation) = match &unpacked {
            Some(unpacked) => RequestedGrant::of(unpacked.manifest(), &terms)?.narrowed(
                permissions,
                &limits,
                isolation,
                &terms,
            )?,
            None => (
                permissions.unwrap_or_else(|| self.options.permissions.clone()),
                limits,
                isolation,
            ),
        };
        let signed = unpacked.as_ref().map(Unpacked::manifest);
        let description = description.or_else(|| Some(signed?.description.as_deref()?.into()));
        let description_bytes = description.as_ref().map_or(0, |text| text.len());
        if description_bytes > self.options.description_bytes_max {
            return Err(CallError::limit(format!(
                "the description has {description_bytes} bytes, the limit is {}",
                self.options.description_bytes_max
            )));
        }
        let record = Record {
            name,
            // Set once the artifact is known; unused before.
            digest: Digest::of(&[]),
            file,
            description,
            permissions,
            limits,
            isolation,
            config: config.unwrap_or_default(),
            release: unpacked.as_ref().map(|one| Box::new(one.release.clone())),
            // Known with the artifact, too.
            automation: None,
        };
        Ok((record, unpacked))
    }

    /// Opens a source that is a signed release: a bundle, or a digest where only signed code is loaded.
    /// Checks that its key is trusted and that it is no older than the release loaded before. Returns
    /// `None` for any other source.
    pub(crate) fn unpack<'a>(
        &self,
        source: &'a Source<'_>,
        name: &FunctionName,
        restored: bool,
    ) -> Result<Option<Unpacked<'a>>, CallError> {
        let terms = self.bundle_terms();
        let unpacked = match source {
            Source::Bundle(bundle) => {
                signed_bundle::open(bundle, name.as_bytes(), restored, &terms)?
            }
            Source::Cached(digest) if terms.trust.require_signed => {
                let stored = self.artifacts.stored_releases(digest)?;
                signed_bundle::find_stored(&stored, digest, name.as_bytes(), restored, &terms)?
            }
            _ => return Ok(None),
        };
        if !restored {
            rollback_guard::check(&self.sequences.lock(), name, unpacked.release.sequence)?;
        }
        Ok(Some(unpacked))
    }

    /// Provides the artifact of a source or a release.
    pub(crate) fn provide(
        &self,
        source: &Source<'_>,
        unpacked: Option<Unpacked<'_>>,
        depth: Depth,
    ) -> Result<ProvidedArtifact, CallError> {
        match unpacked {
            Some(Unpacked {
                code: ReleasedCode::Bundle(bundle),
                ..
            }) => self.artifacts.provide_bundle(*bundle, depth),
            Some(Unpacked {
                code: ReleasedCode::Cached(manifest),
                release,
            }) => {
                let (digest, key) = (&manifest.source.digest, Some(release.key));
                self.artifacts.provide_registered(digest, key, depth)
            }
            None => self.artifacts.provide(source, depth),
        }
    }

    /// Gives a function the limits that its module needs, where the record has none and the server's defaults are
    /// lower; a signed release has those that it was signed with. Returns the function's spec, which is `spec` if
    /// nothing changes.
    pub(crate) fn complete_limits(
        &self,
        record: &mut Record,
        spec: FunctionSpec,
        provided: &ProvidedArtifact,
    ) -> Result<FunctionSpec, CallError> {
        let Some(text) = &provided.artifact.manifest().module.limits else {
            return Ok(spec);
        };
        if record.release.is_some() {
            return Ok(spec);
        }
        let needed = LimitSettings::from_json(text.as_bytes()).map_err(|error| {
            CallError::invalid(format!("custom section {LIMITS_SECTION}: {error}"))
        })?;
        record.limits = self.limits.read().completed(&record.limits, &needed);
        self.spec(record)
    }

    /// Makes a function from an artifact, with its minimum of idle instances.
    pub(crate) fn start(
        &self,
        provided: &ProvidedArtifact,
        spec: FunctionSpec,
    ) -> Result<Arc<Function<K>>, CallError> {
        let function = self.executor.load(&provided.artifact, spec)?;
        if self.options.pool.instances_min > 0
            && let Err(error) = pollster::block_on(self.executor.prewarm(&function))
        {
            // Its calls will report the same error to their clients.
            tracing::warn!(function = function.name(), %error, "no instance could be made ready");
        }
        Ok(function)
    }

    /// Returns the directories of these names, if the operator offers them all.
    fn directories(&self, names: &[String]) -> Result<Arc<[Directory]>, CallError> {
        let offered = &self.options.directories;
        let find = |name: &String| {
            offered
                .iter()
                .find(|directory| directory.name() == name)
                .cloned()
                .ok_or_else(|| {
                    let name = Quoted(name.as_bytes());
                    CallError::new(
                        Code::NoPermission,
                        format!(
                            "allow_filesystem has {name}, which this server does not offer; wasm.security.allow_filesystem lists directories"
                        ),
                    )
                })
        };
        names.iter().map(find).collect()
    }

    /// Returns the files that a function keeps from call to call, if it may keep any.
    fn kept_files_of(
        &self,
        name: &FunctionName,
        directories: &[Directory],
    ) -> Option<Arc<KeptFiles>> {
        if !directories.iter().any(Directory::is_kept) {
            return None;
        }
        let is_registered = |name: &[u8]| self.registry.get(name).is_some();
        Some(self.kept_files.of(name.as_bytes(), is_registered))
    }

    /// Returns the spec of a record: permissions compiled, limits completed by the defaults.
    pub(crate) fn spec(&self, record: &Record) -> Result<FunctionSpec, CallError> {
        let Record {
            name,
            digest: _,
            file: _,
            description,
            permissions,
            limits,
            isolation,
            config,
            release: _,
            automation: _,
        } = record;
        let keyspace = self.executor.keyspace();
        let access_policy = AccessPolicy::new(permissions, |name| keyspace.is_command(name))
            .map_err(|error| CallError::invalid(error.to_string()))?;
        let granted = &self.options.network.rules;
        if let Some(rule) = access_policy.network().beyond(granted).next() {
            let rule = Quoted(rule.text().as_bytes());
            return Err(CallError::new(
                Code::NoPermission,
                format!(
                    "allow_network has {rule}, which this server does not allow; wasm.security.allow_network says what it allows"
                ),
            ));
        }
        let directories = self.directories(&permissions.allow_filesystem)?;
        let limits = self
            .limits
            .read()
            .of(limits)
            .map_err(|error| CallError::invalid(error.to_string()))?;
        Ok(FunctionSpec {
            name: name.as_str().into(),
            registered: true,
            description: description.clone(),
            permissions: permissions.clone(),
            access_policy,
            kept: self.kept_files_of(name, &directories),
            directories,
            limits,
            isolation: isolation.unwrap_or(self.options.isolation),
            config: config.clone(),
            pool: self.options.pool,
        })
    }
}
