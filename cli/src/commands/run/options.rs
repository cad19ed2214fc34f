//! The resolved options of `run`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use ferrite_compiler::PreinitChoice;
use ferrite_runtime::policy::limits::LimitSettings;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::registry::record::FunctionName;

use super::Arguments;
use crate::files::cache_folder::CacheFolder;
use crate::policy;

/// The function, the call's input, and the function's policy.
pub(super) struct Options {
    /// A module, or the folder of a project that builds one.
    pub(super) path: PathBuf,
    pub(super) entry: Option<Vec<u8>>,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) args: Vec<Vec<u8>>,
    pub(super) data: Option<PathBuf>,
    pub(super) limits: LimitSettings,
    pub(super) permissions: Permissions,
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
            limits,
            permissions,
            cache,
            preinit,
            profile,
            watch,
        } = arguments;
        let (path, entry) = file_and_entry(&function);
        let limits = limits.as_deref().map(policy::parse_limits).transpose()?;
        let permissions = permissions.as_deref().map(policy::parse_permissions);
        let bytes = |values: Vec<OsString>| values.into_iter().map(OsString::into_vec).collect();
        Ok(Self {
            path,
            entry,
            keys: bytes(keys),
            args: bytes(args),
            data,
            limits: limits.unwrap_or_default(),
            permissions: permissions.transpose()?.unwrap_or_default(),
            cache,
            preinit: preinit.choice(),
            profile,
            watch,
        })
    }

    /// Returns the name for the call: the function, followed by `.entry` if one was given.
    pub(super) fn call_name(&self, function: &FunctionName) -> Vec<u8> {
        let mut name = function.as_bytes().to_vec();
        if let Some(entry) = &self.entry {
            name.push(b'.');
            name.extend_from_slice(entry);
        }
        name
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

/// Returns the file's name without its extension, with `_` for bytes that a function's name cannot
/// have.
pub(super) fn function_name(file: &Path) -> Result<FunctionName> {
    let stem = file.file_stem().unwrap_or_default().as_bytes();
    let mut name: Vec<u8> = stem
        .iter()
        .map(|&byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"_:-".contains(&byte) => byte,
            _ => b'_',
        })
        .take(FunctionName::BYTES_MAX)
        .collect();
    if name.is_empty() {
        name.push(b'_');
    }
    Ok(FunctionName::parse(&name)?)
}

#[cfg(test)]
mod tests {
    use super::{file_and_entry, function_name};
    use std::ffi::OsStr;
    use std::path::Path;

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

    #[test]
    fn every_file_has_a_name_that_functions_may_have() {
        for (file, expected) in [
            ("rate_limit.wasm", "rate_limit"),
            ("target/my function.v2.wasm", "my_function_v2"),
            ("größe.wat", "gr____e"),
            ("..", "_"),
        ] {
            let name = function_name(Path::new(file)).expect("every name can be made one");
            assert_eq!(name.as_str(), expected);
        }
    }
}
