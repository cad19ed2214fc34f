//! The resolved options of `run`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use ferrite_compiler::PreinitChoice;
use ferrite_runtime::policy::function_config::FunctionConfig;

use super::Arguments;
use super::engine::Engine;
use super::loaded::{Loaded, Policy};
use crate::files::cache_folder::CacheFolder;
use crate::policy;
use crate::project::settings::Settings;
use crate::terminal::console::UsageError;

/// The function, the call's input, and the function's policy.
pub(super) struct Options {
    /// A module, or the folder of a project that builds one.
    pub(super) path: PathBuf,
    pub(super) entry: Option<Vec<u8>>,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) args: Vec<Vec<u8>>,
    pub(super) data: Option<PathBuf>,
    /// The engine that holds the data; `None` for a store of the call's own.
    pub(super) engine: Option<Engine>,
    pub(super) policy: Policy,
    project_entry: Option<String>,
    pub(super) cache: CacheFolder,
    pub(super) preinit: PreinitChoice,
    pub(super) profile: bool,
    pub(super) watch: bool,
}

impl Options {
    pub(super) fn resolve(arguments: Arguments) -> Result<Self> {
        let Arguments {
            function,
            keys,
            args,
            data,
            engine,
            limits,
            permissions,
            config,
            dir,
            allow_network,
            allow_private_network,
            cache,
            preinit,
            profile,
            watch,
        } = arguments;
        let engine = engine.engine()?;
        let (path, entry) = file_and_entry(&function);
        let settings = Settings::of(&path)?;
        let limits = limits.as_deref().map(policy::parse_limits).transpose()?;
        let permissions = permissions.as_deref().map(policy::parse_permissions);
        let bytes = |values: Vec<OsString>| values.into_iter().map(OsString::into_vec).collect();
        Ok(Self {
            path,
            entry,
            keys: bytes(keys),
            args: bytes(args),
            data,
            policy: Policy {
                permissions: permissions
                    .transpose()?
                    .or(settings.permissions)
                    .unwrap_or_default(),
                limits: limits.or(settings.limits).unwrap_or_default(),
                isolation: settings.isolation,
                config: match config {
                    Some(json) => FunctionConfig::from_json(json.as_bytes())
                        .map_err(|error| UsageError(format!("--config: {error}")))?,
                    None => FunctionConfig::default(),
                },
                directories: dir,
                allow_network,
                private_network: allow_private_network,
            },
            engine,
            project_entry: settings.entry,
            cache,
            preinit: preinit.choice(),
            profile,
            watch,
        })
    }

    /// Returns the entry that the project names. A module in its folder may be another one, so it counts there only if
    /// the module has it.
    pub(super) fn entry_of_project(&self, loaded: &Loaded) -> Option<&[u8]> {
        let entry = self.project_entry.as_deref()?.as_bytes();
        (self.path.is_dir() || loaded.has_entry(entry)).then_some(entry)
    }
}

/// Splits `FILE:ENTRY` at the last colon, unless a file has the whole name.
fn file_and_entry(function: &OsStr) -> (PathBuf, Option<Vec<u8>>) {
    let bytes = function.as_bytes();
    let colon = bytes.iter().rposition(|&byte| byte == b':');
    match colon {
        Some(colon) if !Path::new(function).exists() => (
            PathBuf::from(OsStr::from_bytes(&bytes[..colon])),
            Some(bytes[colon + 1..].to_vec()),
        ),
        _ => (PathBuf::from(function), None),
    }
}

#[cfg(test)]
mod tests {
    use super::file_and_entry;
    use std::ffi::OsStr;

    #[test]
    fn the_entry_follows_the_last_colon() {
        let split = |text: &str| {
            let (file, entry) = file_and_entry(OsStr::new(text));
            let entry = entry.map(|entry| String::from_utf8(entry).expect("it was text"));
            (file.display().to_string(), entry)
        };
        assert_eq!(split("a.wasm"), ("a.wasm".to_owned(), None));
        assert_eq!(
            split("a.wasm:run"),
            ("a.wasm".to_owned(), Some("run".to_owned()))
        );
        assert_eq!(
            split("c:/a.wasm:run"),
            ("c:/a.wasm".to_owned(), Some("run".to_owned()))
        );
    }
}
