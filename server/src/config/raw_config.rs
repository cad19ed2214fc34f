//! The configuration as typed: the raw value of each key, with its origin.

use super::error::ConfigError;
use super::origin::Origin;
use super::setting::{Raw, Setting};

/// The raw value of each key that was given, from the strongest origin.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    values: Vec<(&'static KeyInfo, Raw, Origin)>,
}

impl RawConfig {
    /// Sets a key's value, replacing that of a weaker origin.
    ///
    /// A list's flag may be given several times; its values are joined.
    pub(super) fn put(&mut self, key: &'static KeyInfo, raw: Raw, origin: Origin) {
        let found = self
            .values
            .iter_mut()
            .find(|(known, ..)| std::ptr::eq(*known, key));
        match (found, raw) {
            (Some((_, Raw::List(values), Origin::Flag(_))), Raw::List(mut more))
                if matches!(origin, Origin::Flag(_)) =>
            {
                values.append(&mut more);
            }
            (Some(entry), raw) => {
                entry.1 = raw;
                entry.2 = origin;
            }
            (None, raw) => self.values.push((key, raw, origin)),
        }
    }

    /// Sets every value of a stronger origin, replacing the present ones.
    pub(super) fn overlay(&mut self, stronger: Self) {
        for (key, raw, origin) in stronger.values {
            self.put(key, raw, origin);
        }
    }

    /// Reads a key's value, or its default if none was given.
    pub(super) fn resolve<T: Setting>(&self, key: &'static KeyInfo) -> Result<T, ConfigError> {
        match self
            .values
            .iter()
            .find(|(known, ..)| std::ptr::eq(*known, key))
        {
            Some((_, raw, origin)) => T::read(raw).ok_or_else(|| ConfigError::Value {
                key: key.path(),
                origin: origin.clone(),
                value: if T::SECRET {
                    T::problem(raw).unwrap_or_else(|| "the value".into())
                } else {
                    show(raw)
                },
                kind: T::KIND,
            }),
            None => Ok(T::read(&Raw::Text(key.default.to_owned()))
                .expect("a test reads every default as its key's kind")),
        }
    }
}

/// A value as errors show it, cut to a maximum length.
fn show(raw: &Raw) -> String {
    const SHOWN_MAX: usize = 80;
    let text = match raw {
        Raw::Text(text) => format!("{text:?}"),
        Raw::Number(text) => text.clone(),
        Raw::Boolean(value) => value.to_string(),
        Raw::List(values) => format!("{values:?}"),
    };
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A key of the configuration: its row in the table.
#[derive(Debug)]
pub struct KeyInfo {
    /// Its section, such as `wasm.limits`.
    pub section: &'static str,
    /// Its name in the section.
    pub name: &'static str,
    /// Its default, as typed in a flag.
    pub default: &'static str,
    /// Completes the sentence "it must be …".
    pub kind: &'static str,
    /// Lines of its documentation.
    pub doc: &'static [&'static str],
    /// True if its value is never shown.
    pub secret: bool,
    /// True if its flag may be given several times.
    pub list: bool,
}

impl KeyInfo {
    /// Returns the key as one name, `wasm.limits.max_memory`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Returns its flag, `--wasm-limits-max-memory`. Flags of `[server]` leave out the section,
    /// and `upstream.url` is `--upstream`.
    #[must_use]
    pub fn flag(&self) -> String {
        let path = match (self.section, self.name) {
            ("upstream", "url") => "upstream".to_owned(),
            ("server", name) => name.to_owned(),
            _ => self.path(),
        };
        format!("--{}", path.replace(['.', '_'], "-"))
    }

    /// Returns its environment variable, `FERRITE_WASM_LIMITS_MAX_MEMORY`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!(
            "FERRITE_{}",
            self.path().replace('.', "_").to_ascii_uppercase()
        )
    }
}
