//! Reads the command line and the environment.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::error::ConfigError;
use super::nearest::nearest;
use super::origin::Origin;
use super::raw_config::{KeyInfo, RawConfig};
use super::sections;
use super::setting::Raw;

/// The variable that names the configuration file if there is no `--config`.
pub(super) const CONFIG_VARIABLE: &str = "FERRITE_CONFIG";

/// Variables with the same prefix that are not keys: others of this project's programs read them.
const OTHER_VARIABLES: [&str; 8] = [
    CONFIG_VARIABLE,
    "FERRITE_CACHE_DIR",
    "FERRITE_KEY_PASSWORD",
    "FERRITE_REGISTRY_PASSWORD",
    "FERRITE_REGISTRY_USER",
    "FERRITE_SERVER_BIN",
    "FERRITE_WASMC_BIN",
    "FERRITE_WASM_RUSTC",
];

/// The action that the program carries out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve.
    Serve,
    /// Check the configuration.
    CheckConfig,
    /// Show the configuration that results from file, environment and flags.
    PrintConfig,
    /// Bring a backup back.
    Restore(PathBuf),
    /// Hash a password.
    HashPassword,
    /// Show the flags.
    Help,
    /// Show the version.
    Version,
}

/// The command line, with the settings not yet applied.
#[derive(Debug)]
pub(super) struct CommandLine {
    pub(super) action: Action,
    pub(super) config: Option<PathBuf>,
    pub(super) settings: Vec<(&'static KeyInfo, Raw, Origin)>,
}

pub(super) fn read(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<CommandLine, ConfigError> {
    let mut line = CommandLine {
        action: Action::Serve,
        config: None,
        settings: Vec::new(),
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let argument = argument
            .into_string()
            .map_err(|argument| ConfigError::NotText {
                what: format!("argument {argument:?}"),
            })?;
        match argument.as_str() {
            "hash-password" => line.action = Action::HashPassword,
            "--check-config" => line.action = Action::CheckConfig,
            "--print-config" => line.action = Action::PrintConfig,
            "--help" | "-h" => line.action = Action::Help,
            "--version" | "-V" => line.action = Action::Version,
            _ => setting(&mut line, argument, &mut arguments)?,
        }
    }
    Ok(line)
}

fn setting(
    line: &mut CommandLine,
    argument: String,
    rest: &mut dyn Iterator<Item = OsString>,
) -> Result<(), ConfigError> {
    if !argument.starts_with("--") {
        return Err(ConfigError::Argument { argument });
    }
    let (flag, attached) = match argument.split_once('=') {
        Some((flag, value)) => (flag.to_owned(), Some(OsString::from(value))),
        None => (argument, None),
    };
    if flag == "--restore" {
        let value = attached
            .or_else(|| rest.next())
            .ok_or(ConfigError::NoValue {
                flag,
                kind: "the folder of a backup",
            })?;
        line.action = Action::Restore(PathBuf::from(value));
        return Ok(());
    }
    if flag == "--config" {
        let value = attached
            .or_else(|| rest.next())
            .ok_or(ConfigError::NoValue {
                flag,
                kind: "the path of a file",
            })?;
        line.config = Some(PathBuf::from(value));
        return Ok(());
    }
    let Some(key) = sections::keys().find(|key| key.flag() == flag) else {
        let flags: Vec<String> = sections::keys().map(KeyInfo::flag).collect();
        return Err(ConfigError::Unknown {
            origin: Origin::Flag(flag.clone()),
            what: "flag",
            nearest: nearest(&flag, flags.iter().map(String::as_str)).map(str::to_owned),
            name: flag,
        });
    };
    let value = attached
        .or_else(|| rest.next())
        .ok_or_else(|| ConfigError::NoValue {
            flag: flag.clone(),
            kind: key.kind,
        })?;
    let value = value.into_string().map_err(|_| ConfigError::NotText {
        what: format!("the value of {flag}"),
    })?;
    let raw = if key.list {
        Raw::List(split(&value))
    } else {
        Raw::Text(value)
    };
    line.settings.push((key, raw, Origin::Flag(flag)));
    Ok(())
}

fn split(list: &str) -> Vec<String> {
    list.split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Reads the variables with the prefix `FERRITE_`, and returns the path of the configuration file if
/// one names it.
///
/// An unknown variable is no error, because orchestrators create variables named after services. It
/// is added to `warnings`, because it may be a mistake.
pub(super) fn variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    raw_config: &mut RawConfig,
    warnings: &mut Vec<String>,
) -> Result<Option<PathBuf>, ConfigError> {
    let mut config = None;
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("FERRITE_")) else {
            continue;
        };
        if name == CONFIG_VARIABLE {
            config = Some(PathBuf::from(&value));
        }
        if OTHER_VARIABLES.contains(&name) {
            continue;
        }
        let origin = Origin::Variable(name.to_owned());
        let Some(key) = sections::keys().find(|key| key.variable() == name) else {
            let names: Vec<String> = sections::keys().map(KeyInfo::variable).collect();
            let unknown = ConfigError::Unknown {
                origin,
                what: "variable",
                nearest: nearest(name, names.iter().map(String::as_str)).map(str::to_owned),
                name: name.to_owned(),
            };
            warnings.push(unknown.to_string());
            continue;
        };
        raw_config.put(key, Raw::Text(utf8(name, &value)?), origin);
    }
    Ok(config)
}

fn utf8(name: &str, value: &OsStr) -> Result<String, ConfigError> {
    value
        .to_str()
        .map(str::to_owned)
        .ok_or_else(|| ConfigError::NotText {
            what: format!("environment variable {name}"),
        })
}
