//! Reads what a module declares in its custom sections: triggers and schedules, and the limits that it needs.

use ferrite_cache::{
    AUTOMATION_SECTION, Automation, AutomationError, EntryInfo, LIMITS_BYTES_MAX, LIMITS_SECTION,
    MissingEntry,
};
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
    #[error("custom section {AUTOMATION_SECTION}: {0}")]
    Entry(#[from] MissingEntry),
    /// The limits are too long.
    #[error("custom section {LIMITS_SECTION}: it has more than {LIMITS_BYTES_MAX} bytes")]
    LimitsTooLong,
    /// The limits are no text.
    #[error("custom section {LIMITS_SECTION}: it is not UTF-8")]
    LimitsNoText,
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
            Self::LimitsTooLong => "LIMIT",
            Self::Section(_) | Self::Entry(_) | Self::LimitsNoText | Self::Wasm(_) => "INVALID",
        }
    }
}

/// Reads the declarations of a module with these entries, or of a component and the modules in it.
///
/// # Errors
///
/// A declaration is wrong, or names an entry that is not there.
pub(crate) fn read(source: &[u8], entries: &[EntryInfo]) -> Result<Automation, DeclarationError> {
    let content = sections(
        source,
        AUTOMATION_SECTION,
        ferrite_cache::AUTOMATION_BYTES_MAX,
    )?;
    if content.is_empty() {
        return Ok(Automation::default());
    }
    let automation = Automation::read(&content)?;
    automation.check_entries(entries.iter().map(|entry| entry.name.as_str()))?;
    Ok(automation)
}

/// Reads the limits that a module, a component or a module in it asks for, as JSON that only hosts understand.
///
/// # Errors
///
/// They are too long, or no text.
pub(crate) fn read_limits(source: &[u8]) -> Result<Option<String>, DeclarationError> {
    let content = sections(source, LIMITS_SECTION, LIMITS_BYTES_MAX)?;
    if content.len() > LIMITS_BYTES_MAX {
        return Err(DeclarationError::LimitsTooLong);
    }
    let text = String::from_utf8(content).map_err(|_| DeclarationError::LimitsNoText)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Returns the contents of all custom sections of a name, in lines of their own; at most one byte more than
/// `bytes_max`, which is enough to be refused.
fn sections(source: &[u8], name: &str, bytes_max: usize) -> Result<Vec<u8>, wasmparser::Error> {
    let mut content = Vec::new();
    for payload in Parser::new(0).parse_all(source) {
        if let Payload::CustomSection(section) = payload?
            && section.name() == name
        {
            let room = (bytes_max + 1).saturating_sub(content.len());
            let data = section.data();
            if !content.is_empty() {
                content.push(b'\n');
            }
            content.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(content)
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
    fn limits_are_read_as_they_are_written() {
        let module = |contents: &[&[u8]]| {
            let mut wasm = wat::parse_str("(module)").expect("a module");
            for content in contents {
                let section = wasm_encoder::CustomSection {
                    name: super::LIMITS_SECTION.into(),
                    data: (*content).into(),
                };
                wasm_encoder::Section::append_to(&section, &mut wasm);
            }
            super::read_limits(&wasm).map_err(|error| format!("{} {error}", error.code()))
        };
        assert_eq!(module(&[]), Ok(None));
        let json = r#"{"max_memory":"64MB"}"#;
        assert_eq!(module(&[json.as_bytes()]), Ok(Some(json.to_owned())));
        let error = module(&[&[b' '; 1025]]).expect_err("it is too long");
        assert!(
            error.starts_with("LIMIT custom section ferrite.limits"),
            "{error}"
        );
        let error = module(&[b"\xff"]).expect_err("it is no text");
        assert!(
            error.starts_with("INVALID custom section ferrite.limits"),
            "{error}"
        );
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
