//! A function on this machine: its native code, and a runtime with an empty store to call it on.

use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Result, anyhow};
use ferrite_cache::{Cache, Profile};
use ferrite_compiler::PreinitChoice;
use ferrite_protocol::resp::Encoder;
use ferrite_runtime::artifact::source::Source;
use ferrite_runtime::automation::figures::OutboxFigures;
use ferrite_runtime::policy::files::directory::Directory;
use ferrite_runtime::policy::function_config::FunctionConfig;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::limits::{LimitSettings, Limits};
use ferrite_runtime::policy::network::address::IpRange;
use ferrite_runtime::policy::network::rule::NetworkRules;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::registry::record::FunctionName;
use ferrite_runtime::{
    CallOutcome, CallRequest, LoadRequest, NetworkOptions, ReceiptOf, Runtime, RuntimeOptions,
};
use ferrite_store::{Store, StoreOptions};

use super::data;
use crate::files::cache_folder::CacheFolder;
use crate::files::source_file;
use crate::precompile::{self, NativeCode, OnCacheFailure, Precompiler};
use crate::terminal::console::Console;
use crate::terminal::progress::Progress;

/// A function's code, and what it may do and use.
pub(crate) struct Loaded {
    pub(crate) name: FunctionName,
    pub(crate) code: NativeCode,
    cache: Cache,
    policy: Policy,
}

/// Permissions, limits and isolation of a function.
#[derive(Clone, Default)]
pub(crate) struct Policy {
    pub(crate) permissions: Permissions,
    pub(crate) limits: LimitSettings,
    pub(crate) isolation: Option<Isolation>,
    /// The function's own configuration.
    pub(crate) config: FunctionConfig,
    /// Directories that the function may read.
    pub(crate) directories: Vec<Directory>,
    /// True if the function may make the requests that its permissions list.
    pub(crate) allow_network: bool,
    /// Addresses beyond the public internet that its requests may go to.
    pub(crate) private_network: Vec<IpRange>,
}

/// A runtime with the function on a store of its own.
pub(crate) struct Session {
    runtime: Runtime<Store>,
    name: FunctionName,
}

impl Loaded {
    /// Finds the module's code in the cache, or compiles it.
    ///
    /// # Errors
    ///
    /// Fails if the module cannot be read or compiled, or the cache not be used.
    pub(crate) fn find(
        file: &Path,
        name: FunctionName,
        cache: &CacheFolder,
        preinit: PreinitChoice,
        policy: Policy,
        console: &Console,
    ) -> Result<Self> {
        let cache = cache.open_with(u64::MAX)?;
        let jobs = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let profile = Profile::native().with_stack_depth(policy.limits.max_stack_depth.is_some());
        let precompiler =
            Precompiler::new(profile, jobs, Some(cache.clone())).with_preinit(preinit);
        let code = obtain(file, &precompiler, console)?;
        Ok(Self {
            name,
            code,
            cache,
            policy,
        })
    }

    /// Returns true if the module has an entry of this name.
    pub(crate) fn has_entry(&self, name: &[u8]) -> bool {
        let mut entries = self.code.manifest.module.entries.iter();
        entries.any(|entry| entry.name.as_bytes() == name)
    }

    /// Loads the function beside a new, empty store with these options, which `fill` may fill.
    ///
    /// # Errors
    ///
    /// Fails if the function cannot be loaded, or if `fill` fails.
    pub(crate) fn start(
        &self,
        options: &StoreOptions,
        fill: impl FnOnce(&Store) -> Result<()>,
    ) -> Result<Session> {
        let store = Store::in_memory(options);
        fill(&store)?;
        let mut permissions = self.policy.permissions.clone();
        let offered = &self.policy.directories;
        permissions.allow_filesystem = offered.iter().map(|one| one.name().to_owned()).collect();
        if !self.policy.allow_network {
            permissions.allow_network.clear();
        }
        let options = RuntimeOptions {
            directories: offered.clone(),
            network: NetworkOptions {
                // Nothing beyond what the function's own permissions list.
                rules: NetworkRules::parse(&permissions.allow_network)
                    .map_err(|(rule, error)| anyhow!("allow_network: {rule}: {error}"))?,
                private_ranges: self.policy.private_network.clone(),
                ..NetworkOptions::default()
            },
            outbox: true,
            ..RuntimeOptions::default()
        };
        let runtime = Runtime::new(
            // The user runs their own function on their own machine.
            options.with_limits(Limits::DEFAULT, Limits::unbounded()),
            store,
            Some(self.cache.clone()),
        )?;
        runtime
            .load(LoadRequest {
                name: self.name.clone(),
                source: Source::Cached(self.code.manifest.source),
                file: None,
                description: None,
                permissions: Some(permissions),
                limits: self.policy.limits.clone(),
                isolation: self.policy.isolation,
                config: Some(self.policy.config.clone()),
                replace: false,
                restored: false,
                // A call from the command line is what the user asks for, and nothing else runs.
                declarations: None,
            })
            .map_err(|error| anyhow!("{error}"))?;
        Ok(Session {
            runtime,
            name: self.name.clone(),
        })
    }
}

impl Session {
    /// Returns the name by which to call an entry, or the one that the module has by default.
    pub(crate) fn name_of(&self, entry: Option<&[u8]>) -> Vec<u8> {
        let mut name = self.name.as_bytes().to_vec();
        if let Some(entry) = entry {
            name.push(b'.');
            name.extend_from_slice(entry);
        }
        name
    }

    /// Runs a call on the store. The reply goes to `encoder`.
    pub(crate) fn call(
        &self,
        request: &CallRequest<'_>,
        encoder: &mut Encoder,
    ) -> CallOutcome<ReceiptOf<Store>> {
        pollster::block_on(self.runtime.call(request, encoder))
    }

    /// Returns the runtime, with the function.
    pub(crate) const fn runtime(&self) -> &Runtime<Store> {
        &self.runtime
    }

    /// Sends the requests that calls have committed, each once, and returns the figures.
    pub(crate) fn send_committed(&self) -> OutboxFigures {
        let figures = || self.runtime.outbox_figures().unwrap_or_default();
        for _ in 0..figures().pending {
            let send = async {
                let due = self.runtime.due_request().await;
                // A store in memory has nothing to wait for.
                due.send(|receipt| async { receipt.done().await.is_ok() })
                    .await
            };
            let _ = pollster::block_on(send);
        }
        figures()
    }

    /// Runs a command on the data; its reply goes to `encoder`.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub(crate) fn command(&self, argv: &[&[u8]], encoder: &mut Encoder) -> Result<()> {
        data::execute(self.runtime.keyspace(), argv, encoder)
    }
}

fn obtain(file: &Path, precompiler: &Precompiler, console: &Console) -> Result<NativeCode> {
    let name = file.display().to_string();
    let progress = Progress::new(1, console.is_json());
    source_file::read(file, precompiler.bounds().source_bytes_max)
        .and_then(|source| {
            precompiler.find_or_compile(&name, &source, OnCacheFailure::Fail, &|note| {
                progress.set_message(&note);
            })
        })
        .map_err(|error| match precompile::error_code(&error) {
            Some(code) => anyhow!("{name}: {code}: {error:#}"),
            None => error.context(name.clone()),
        })
}
