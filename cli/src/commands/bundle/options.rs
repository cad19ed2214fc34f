//! The resolved options of `bundle`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, bail};
use ferrite_cache::bundle::{ARTIFACTS_MAX, BUNDLE_EXTENSION, check_version_and_description};
use ferrite_cache::{Baseline, Profile, Target};
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::limits::{LimitSettings, Limits};
use ferrite_runtime::policy::permissions::{AccessPolicy, Permissions};
use ferrite_runtime::policy::quantity::HumanDuration;
use ferrite_runtime::registry::record::FunctionName;

use super::Arguments;
use crate::clock::now_unix;
use crate::files::cache_folder::CacheFolder;
use crate::policy;
use crate::project::Project;
use crate::project::settings::{FILE, Settings};
use crate::terminal::console::{Console, UsageError};

/// The source, the platforms, the function's policy, and the output.
pub(super) struct Options {
    pub(super) file: PathBuf,
    pub(super) output: PathBuf,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: Option<String>,
    pub(super) sequence: u64,
    pub(super) created_unix: u64,
    pub(super) expires_unix: Option<u64>,
    pub(super) permissions: Option<Permissions>,
    pub(super) limits: Option<LimitSettings>,
    pub(super) isolation: Option<Isolation>,
    /// If empty, the bundle holds the source alone.
    pub(super) profiles: Vec<Profile>,
    pub(super) sign: Option<PathBuf>,
    pub(super) cache: CacheFolder,
    pub(super) jobs: NonZeroUsize,
}

/// The platforms that one value of `--target` stands for.
#[derive(Clone, Debug)]
pub(super) struct BundleTarget(Vec<(Target, Baseline)>);

impl BundleTarget {
    /// Every baseline of every target, except `native`.
    fn portable() -> Vec<(Target, Baseline)> {
        Target::SERVERS
            .into_iter()
            .flat_map(Self::baselines)
            .collect()
    }

    fn baselines(target: Target) -> impl Iterator<Item = (Target, Baseline)> {
        target.baselines().iter().map(move |&one| (target, one))
    }
}

impl FromStr for BundleTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self(Vec::new())),
            "native" => return Ok(Self(vec![(Target::host(), Baseline::Native)])),
            _ => {}
        }
        let named = text.parse::<Target>().ok();
        let matching: Vec<_> = Self::portable()
            .into_iter()
            .filter(|(target, baseline)| named == Some(*target) || baseline.name() == text)
            .collect();
        if matching.is_empty() {
            return Err(format!(
                "the values are x86-64-v2, x86-64-v3, aarch64, x86_64, native, none, {}",
                Target::SERVERS.map(Target::triple).join(" and ")
            ));
        }
        Ok(Self(matching))
    }
}

impl Options {
    pub(super) fn resolve(arguments: Arguments, console: &Console) -> Result<Self> {
        let Arguments {
            file,
            name,
            version,
            output,
            description,
            sequence,
            created,
            expires_in,
            permissions,
            limits,
            isolation,
            targets,
            stack_depth,
            sign,
            cache,
        } = arguments;
        let settings = Settings::of(&file)?;
        let missing = |option: &str, field: &str| {
            UsageError(format!("give {option}, or set `{field}` in {FILE}"))
        };
        let name = name
            .or_else(|| settings.name.map(|name| name.as_str().to_owned()))
            .ok_or_else(|| missing("--name", "name"))?;
        let version = version
            .or(settings.version)
            .ok_or_else(|| missing("--version", "version"))?;
        FunctionName::parse(name.as_bytes())
            .map_err(|error| UsageError(format!("--name: {error}")))?;
        check_version_and_description(&version, description.as_deref()).map_err(UsageError)?;
        let created_unix = created.unwrap_or_else(now_unix);
        let expires_unix = match expires_in {
            Some(time) => {
                let HumanDuration(time) = time.parse().map_err(|_| {
                    let time = time.escape_debug();
                    UsageError(format!(
                        "--expires-in: \"{time}\" is no time; write 90d or 12h"
                    ))
                })?;
                if time.as_secs() == 0 {
                    bail!(UsageError(
                        "--expires-in: give at least a second".to_owned()
                    ));
                }
                Some(created_unix.saturating_add(time.as_secs()))
            }
            None => None,
        };
        let permissions = permissions
            .as_deref()
            .map(policy::parse_permissions)
            .transpose()?
            .or(settings.permissions);
        if let Some(permissions) = &permissions {
            // Only the server knows which commands exist, so any name passes here.
            AccessPolicy::new(permissions, |_| true)
                .map_err(|error| UsageError(format!("--permissions: {error}")))?;
        }
        let limits = limits.as_deref().map(policy::parse_limits).transpose()?;
        let limits = limits.or(settings.limits);
        if let Some(limits) = &limits {
            Limits::DEFAULT
                .for_function(limits, &Limits::unbounded())
                .map_err(|error| UsageError(format!("--limits: {error}")))?;
        }
        let stack_depth = stack_depth
            || limits
                .as_ref()
                .is_some_and(|limits| limits.max_stack_depth.is_some());
        let targets = if targets.is_empty() {
            let read = |text: &String| {
                let wrong = |why| UsageError(format!("targets in {FILE}: `{text}`: {why}"));
                text.parse().map_err(wrong)
            };
            settings
                .targets
                .iter()
                .map(read)
                .collect::<Result<_, _>>()?
        } else {
            targets
        };
        let mut wanted = match targets.is_empty() {
            true => BundleTarget::portable(),
            false => targets.into_iter().flat_map(|target| target.0).collect(),
        };
        wanted.sort();
        wanted.dedup();
        if wanted.len() > ARTIFACTS_MAX {
            bail!(UsageError(format!(
                "--target: a bundle holds at most {ARTIFACTS_MAX} artifacts"
            )));
        }
        let profiles = wanted
            .into_iter()
            .map(|(target, baseline)| {
                Profile::new(target, baseline).map(|profile| profile.with_stack_depth(stack_depth))
            })
            .collect::<Result<_, _>>()?;
        // A build takes its time, so all else is checked before.
        let file = if file.is_dir() {
            Project::find(&file)?.build_one(console)?
        } else {
            file
        };
        Ok(Self {
            output: output.unwrap_or_else(|| format!("{name}-{version}{BUNDLE_EXTENSION}").into()),
            file,
            name,
            version,
            description,
            sequence: sequence.unwrap_or(created_unix),
            created_unix,
            expires_unix,
            permissions,
            limits,
            isolation: isolation.or(settings.isolation),
            profiles,
            sign,
            cache,
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::BundleTarget;

    #[test]
    fn words_stand_for_profiles() {
        let count = |word: &str| word.parse::<BundleTarget>().map(|target| target.0.len());
        assert_eq!(count("none"), Ok(0));
        for word in ["native", "x86-64-v2", "x86-64-v3", "aarch64", "generic"] {
            assert_eq!(count(word), Ok(1), "{word}");
        }
        for word in ["x86_64-unknown-linux-gnu", "x86_64"] {
            assert_eq!(count(word), Ok(2), "{word}");
        }
        assert!(count("sparc").is_err());
    }
}
