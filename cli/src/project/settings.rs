//! `ferrite.project.toml`: what a project's function is called, may do and may use.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::limits::LimitSettings;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::registry::record::FunctionName;
use serde::Deserialize;

use super::BUILT;
use crate::files::bounded_file;

/// The name of the file.
pub(crate) const FILE: &str = "ferrite.project.toml";

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A project's settings. What is missing is left to the command line, and then to the defaults.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// Name on servers.
    pub(crate) name: Option<FunctionName>,
    /// Entry that `run` calls.
    pub(crate) entry: Option<String>,
    /// Version of bundles.
    pub(crate) version: Option<String>,
    pub(crate) permissions: Option<Permissions>,
    pub(crate) limits: Option<LimitSettings>,
    pub(crate) isolation: Option<Isolation>,
    /// Platforms of bundles, as the values of `--target`.
    pub(crate) targets: Vec<String>,
    /// Address that `deploy` connects to.
    pub(crate) server: Option<String>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<String>,
    entry: Option<String>,
    version: Option<String>,
    isolation: Option<String>,
    server: Option<String>,
    #[serde(default)]
    targets: Vec<String>,
    permissions: Option<toml::Value>,
    limits: Option<toml::Table>,
}

impl Settings {
    /// Reads the settings that belong to a path: a project's folder, or a module in it or in its folder
    /// `build`. Without such a file, nothing is set.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or has a mistake; the error names the file and the field.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let Some(file) = file_for(path) else {
            return Ok(Self::default());
        };
        let shown = file.display().to_string();
        let bytes = bounded_file::read(&file, FILE_BYTES_MAX)?;
        let text = String::from_utf8(bytes).with_context(|| format!("{shown}: it is not UTF-8"))?;
        Self::parse(&text).with_context(|| shown)
    }

    fn parse(text: &str) -> Result<Self> {
        let written: Written = toml::from_str(text)?;
        Ok(Self {
            name: written
                .name
                .map(|name| FunctionName::parse(name.as_bytes()).context("name"))
                .transpose()?,
            entry: written.entry,
            version: written.version,
            permissions: written
                .permissions
                .map(|value| permissions(&value))
                .transpose()?,
            limits: written
                .limits
                .map(|table| {
                    let json = serde_json::to_vec(&table)?;
                    LimitSettings::from_json(&json).map_err(anyhow::Error::from)
                })
                .transpose()?,
            isolation: written
                .isolation
                .map(|text| text.parse().context("isolation"))
                .transpose()?,
            targets: written.targets,
            server: written.server,
        })
    }
}

/// Reads permissions: the name of a predefined set, or their fields.
fn permissions(value: &toml::Value) -> Result<Permissions> {
    if let Some(name) = value.as_str() {
        return Permissions::named(name).with_context(|| {
            format!(
                "permissions: `{}` is none of {}",
                name.escape_debug(),
                Permissions::NAMES.join(", ")
            )
        });
    }
    let json = serde_json::to_vec(value)?;
    Permissions::from_json(&json).map_err(anyhow::Error::from)
}

/// Returns the file that belongs to a path, if it exists.
fn file_for(path: &Path) -> Option<PathBuf> {
    let folder = if path.is_dir() {
        path
    } else {
        let parent = path.parent()?;
        match parent.file_name() {
            Some(name) if name == BUILT => parent.parent()?,
            _ => parent,
        }
    };
    // The parent of `a.wasm` is the empty path, which is the folder that the program runs in.
    let file = folder.join(FILE);
    file.is_file().then_some(file)
}

#[cfg(test)]
mod tests {
    use super::{FILE, Settings, file_for};

    #[test]
    fn everything_is_read() {
        let settings = Settings::parse(
            r#"
            name = "limits"
            entry = "rate_limit"
            version = "1.2.0"
            isolation = "fresh"
            targets = ["x86-64-v3"]
            server = "redis://127.0.0.1:6380"
            [permissions]
            allowed_keys = ["api:*"]
            allow_write = true
            [limits]
            max_time = "50ms"
            "#,
        )
        .expect("it is right");
        assert_eq!(settings.name.expect("a name").as_str(), "limits");
        assert!(settings.permissions.expect("permissions").allow_write);
        assert!(settings.limits.expect("limits").max_time.is_some());
        assert_eq!(settings.targets, ["x86-64-v3"]);
        let word = Settings::parse(r#"permissions = "read-write""#).expect("it is right");
        assert!(word.permissions.expect("permissions").allow_write);
    }

    #[test]
    fn mistakes_name_the_field() {
        for (text, expected) in [
            ("nam = \"x\"", "unknown field `nam`"),
            ("name = \"a b\"", "name: "),
            (
                "permissions = \"all\"",
                "permissions: `all` is none of read-only",
            ),
            ("[permissions]\nallow_writes = true", "permissions: "),
            ("[limits]\nmax_time = \"soon\"", "limits: "),
            ("[limits]\nmax_tim = \"5s\"", "limits: "),
            ("isolation = \"none\"", "isolation: "),
        ] {
            let error = Settings::parse(text).expect_err(text);
            let shown = format!("{error:#}");
            assert_eq!(shown.matches(expected).count(), 1, "{text}: {shown}");
        }
    }

    #[test]
    fn the_file_is_found_from_the_folder_and_from_its_modules() {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let project = folder.path().join("limits");
        std::fs::create_dir_all(project.join("build")).expect("it can be made");
        std::fs::create_dir_all(project.join("src")).expect("it can be made");
        assert_eq!(file_for(&project), None);
        let file = project.join(FILE);
        std::fs::write(&file, "").expect("it can be written");
        for path in ["", "a.wasm", "build/a.wasm"] {
            assert_eq!(file_for(&project.join(path)), Some(file.clone()), "{path}");
        }
        assert_eq!(file_for(&project.join("src/a.wasm")), None);
    }
}
