//! Reads the triggers and schedules that a module declares in its custom sections.

use ferrite_cache::{AUTOMATION_SECTION, Automation, AutomationError, EntryInfo};
use thiserror::Error;
use wasmparser::{Parser, Payload};

/// The declarations of a module are refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeclarationError {
    /// They do not read as declarations.
    #[error("custom section {AUTOMATION_SECTION}: {0}")]
    Section(#[from] AutomationError),
    /// One names an entry that the module does not have.
    #[error(
        "custom section {AUTOMATION_SECTION}: the module has no entry \"{}\" to run; its entries are {known}",
        .entry.escape_debug()
    )]
    Entry {
        /// The name.
        entry: String,
        /// Names of the entries.
        known: String,
    },
    /// The module is malformed.
    #[error(transparent)]
    Wasm(#[from] wasmparser::Error),
}

impl DeclarationError {
    /// Returns the error code for replies: `INVALID` or `LIMIT`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Section(AutomationError::TooLong { .. } | AutomationError::TooMany { .. }) => {
                "LIMIT"
            }
            Self::Section(_) | Self::Entry { .. } | Self::Wasm(_) => "INVALID",
        }
    }
}

/// Reads the declarations of a module with these entries, or of a component and the modules in it.
///
/// # Errors
///
/// A declaration is wrong, or names an entry that is not there.
pub(crate) fn read(source: &[u8], entries: &[EntryInfo]) -> Result<Automation, DeclarationError> {
    let mut content = Vec::new();
    for payload in Parser::new(0).parse_all(source) {
        if let Payload::CustomSection(section) = payload?
            && section.name() == AUTOMATION_SECTION
        {
            // One byte beyond the limit is enough to be refused.
            let room = (ferrite_cache::AUTOMATION_BYTES_MAX + 1).saturating_sub(content.len());
            let data = section.data();
            if !content.is_empty() {
                content.push(b'\n');
            }
            content.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    if content.is_empty() {
        return Ok(Automation::default());
    }
    let automation = Automation::read(&content)?;
    let missing = automation
        .entries()
        .find(|name| !entries.iter().any(|entry| entry.name == *name));
    match missing {
        Some(entry) => Err(DeclarationError::Entry {
            entry: entry.chars().take(64).collect(),
            known: known(entries),
        }),
        None => Ok(automation),
    }
}

/// Lists the first entries for an error.
fn known(entries: &[EntryInfo]) -> String {
    const SHOWN: usize = 8;
    let names = entries.iter().take(SHOWN);
    let names: Vec<_> = names
        .map(|entry| entry.name.escape_debug().to_string())
        .collect();
    let more = if entries.len() > SHOWN { ", …" } else { "" };
    names.join(", ") + more
}

#[cfg(test)]
mod tests {
    use ferrite_cache::AUTOMATION_BYTES_MAX;

    use crate::compile::describe;
    use crate::limits::SourceLimits;

    fn declared(sections: &[&[u8]]) -> Result<Vec<String>, String> {
        let mut wasm = wat::parse_str(r#"(module (func (export "release")))"#).expect("a module");
        for content in sections {
            let name = super::AUTOMATION_SECTION;
            let section = wasm_encoder::CustomSection {
                name: name.into(),
                data: (*content).into(),
            };
            wasm_encoder::Section::append_to(&section, &mut wasm);
        }
        describe(&wasm, &SourceLimits::default())
            .map(|info| info.automation.lines().collect())
            .map_err(|error| format!("{} {error}", error.code()))
    }

    #[test]
    fn sections_are_read_one_after_the_other() {
        assert_eq!(declared(&[]), Ok(Vec::new()));
        assert_eq!(
            declared(&[b"every release 5m", b"on release KEYS a EVENTS set"]),
            Ok(vec![
                "on release KEYS a EVENTS set".to_owned(),
                "every release 5m".to_owned()
            ])
        );
    }

    #[test]
    fn what_a_module_cannot_declare_is_told() {
        let long = vec![b' '; AUTOMATION_BYTES_MAX];
        let cases: [(&[&[u8]], &str); 4] = [
            (&[b"on other KEYS a EVENTS set"], "no entry \"other\""),
            (&[b"on release"], "INVALID custom section"),
            (&[b"\xff"], "not UTF-8"),
            (&[&long, &long], "LIMIT custom section"),
        ];
        for (sections, expected) in cases {
            let error = declared(sections).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }
}
