//! What was typed, before anybody decides what it means: values by key, each with its origin.

use super::error::ConfigError;
use super::origin::Origin;
use super::setting::{Raw, Setting};

/// Values by the key's path, the strongest origin only.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    values: Vec<(&'static KeyInfo, Raw, Origin)>,
}

impl RawConfig {
    /// Puts a value over whatever a weaker origin said.
    ///
    /// A list's flag may be given several times: its values add up.
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

    /// Puts every value of a stronger origin over the ones here.
    pub(super) fn overlay(&mut self, stronger: Self) {
        for (key, raw, origin) in stronger.values {
            self.put(key, raw, origin);
        }
    }

    /// The meaning of a key's value, or of its default.
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
                    "the value".into()
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

/// A value as an error shows it, bounded.
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

/// A configuration key, as the table has it.
#[derive(Debug)]
pub struct KeyInfo {
    /// The table it stands in, such as `wasm.limits`.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// The text of its default.
    pub default: &'static str,
    /// What a value must be, to end the sentence "it must be …".
    pub kind: &'static str,
    /// Lines of explanation.
    pub doc: &'static [&'static str],
    /// Whether its value is shown to nobody.
    pub secret: bool,
    /// Whether its flag may be given several times.
    pub list: bool,
}

impl KeyInfo {
    /// The key as one name, `wasm.limits.max_memory`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Its flag, `--wasm-limits-max-memory`; keys of `[server]` go without the section's name.
    #[must_use]
    pub fn flag(&self) -> String {
        let path = match self.section {
            "server" => self.name.to_owned(),
            _ => self.path(),
        };
        format!("--{}", path.replace(['.', '_'], "-"))
    }

    /// Its environment variable, `FERRITE_WASM_LIMITS_MAX_MEMORY`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!(
            "FERRITE_{}",
            self.path().replace('.', "_").to_ascii_uppercase()
        )
    }
}
