//! Reads `ferrite.toml` into the raw configuration.

use std::io::Read as _;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::nearest::nearest;
use super::origin::Origin;
use super::raw_config::RawConfig;
use super::sections;
use super::setting::Raw;

/// Largest configuration file.
const BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn read(path: &Path, raw_config: &mut RawConfig) -> Result<(), ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    file.take(BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
            bytes,
            bytes_max: BYTES_MAX,
        });
    }
    parse(path, &text, raw_config)
}

/// Reads `text`; `path` is for errors.
pub(super) fn parse(
    path: &Path,
    text: &str,
    raw_config: &mut RawConfig,
) -> Result<(), ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line(text, span.start)),
        message: error.message().to_owned(),
    })?;
    Reader {
        path,
        text,
        raw_config,
    }
    .table("", table.get_ref())
}

fn line(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    raw_config: &'a mut RawConfig,
}

impl Reader<'_> {
    /// Reads a table and those in it. Unknown sections are refused, which bounds the recursion.
    fn table(&mut self, section: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let path = match section {
                "" => name.to_owned(),
                section => format!("{section}.{name}"),
            };
            let origin = Origin::File {
                path: self.path.to_owned(),
                line: line(self.text, key.span().start),
            };
            let known = sections::key(&path);
            match (value.get_ref(), known) {
                (DeValue::Table(inner), None) if sections::is_section(&path) => {
                    self.table(&path, inner)?;
                }
                (DeValue::Table(_), None) => {
                    return Err(ConfigError::Unknown {
                        origin,
                        what: "section",
                        nearest: nearest(&path, sections::names()).map(str::to_owned),
                        name: path,
                    });
                }
                (DeValue::Table(_), Some(_)) => {
                    return Err(ConfigError::Shape {
                        origin,
                        name: path,
                        what: "a key with a value, not a section",
                    });
                }
                (_, None) if sections::is_section(&path) => {
                    return Err(ConfigError::Shape {
                        origin,
                        what: "a section, not a key with a value",
                        name: path,
                    });
                }
                (_, None) => {
                    let paths: Vec<String> = sections::keys().map(super::KeyInfo::path).collect();
                    let found = nearest(&path, paths.iter().map(String::as_str))
                        // Then the same name in another section is the likely mistake.
                        .or_else(|| {
                            paths
                                .iter()
                                .find(|known| known.rsplit('.').next() == Some(name))
                                .map(String::as_str)
                        });
                    return Err(ConfigError::Unknown {
                        origin,
                        what: "key",
                        nearest: found.map(str::to_owned),
                        name: path,
                    });
                }
                (value, Some(known)) => {
                    let raw = raw(value).ok_or_else(|| ConfigError::Value {
                        key: path,
                        origin: origin.clone(),
                        value: value.type_str().to_owned(),
                        kind: known.kind,
                    })?;
                    self.raw_config.put(known, raw, origin);
                }
            }
        }
        Ok(())
    }
}

fn raw(value: &DeValue<'_>) -> Option<Raw> {
    match value {
        DeValue::String(text) => Some(Raw::Text(text.clone().into_owned())),
        DeValue::Integer(number) if number.radix() == 10 => {
            Some(Raw::Number(number.as_str().to_owned()))
        }
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| Raw::Number(number.to_string())),
        DeValue::Float(number) => Some(Raw::Number(number.as_str().to_owned())),
        DeValue::Boolean(value) => Some(Raw::Boolean(*value)),
        DeValue::Array(values) => values
            .iter()
            .map(|value| value.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<String>>>()
            .map(Raw::List),
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
