//! The resolved options of `compile`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, bail};
use ferrite_cache::{Baseline, Profile, Target};
use ferrite_compiler::PreinitChoice;

use crate::files::cache_folder::CacheFolder;
use crate::terminal::console::UsageError;

use super::Arguments;

/// The modules, the profile to compile for, and the outputs.
pub(crate) struct Options {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) cache: CacheFolder,
    pub(crate) output: Option<PathBuf>,
    pub(crate) profile: Profile,
    pub(crate) jobs: NonZeroUsize,
    pub(crate) preinit: PreinitChoice,
}

impl Options {
    pub(super) fn resolve(arguments: Arguments) -> Result<Self> {
        let Arguments {
            files,
            cache,
            output,
            target,
            cpu,
            jobs,
            stack_depth,
            preinit,
        } = arguments;
        if output.is_some() && files.len() > 1 {
            bail!(UsageError(format!(
                "--output takes a single module, not {}; compile them one by one, or take the \
                 artifacts from the cache",
                files.len()
            )));
        }
        let profile = native_profile(target, cpu)?.with_stack_depth(stack_depth);
        let jobs = jobs
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            files,
            cache,
            output,
            profile,
            jobs,
            preinit: preinit.choice(),
        })
    }
}

/// Returns the profile of a platform and a baseline; of this machine, if neither is named.
pub(crate) fn native_profile(target: Option<Target>, cpu: Option<Baseline>) -> Result<Profile> {
    Profile::new(
        target.unwrap_or_else(Target::host),
        cpu.unwrap_or_else(|| default_baseline(target)),
    )
    .map_err(|error| UsageError(error.to_string()).into())
}

/// Returns `native` for this machine; for a named target, its lowest baseline.
fn default_baseline(target: Option<Target>) -> Baseline {
    target
        .and_then(|target| target.baselines().last().copied())
        .unwrap_or(Baseline::Native)
}
