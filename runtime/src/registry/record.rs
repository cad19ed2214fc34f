//! The record of a function: enough to load it again after a restart.

use std::fmt;

use ferrite_cache::{Automation, Digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::Quoted;
use crate::policy::function_config::FunctionConfig;
use crate::policy::function_spec::Isolation;
use crate::policy::limits::LimitSettings;
use crate::policy::permissions::Permissions;
use crate::registry::release::Release;

/// A function's name: 1 to 128 of `A-Z a-z 0-9 _ : -`.
///
/// A call separates the name from an entry by a dot, so the name has none.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName(Box<str>);

/// Reason why bytes are not a function name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error(
        "the function's name is empty; give 1 to {} of A-Z a-z 0-9 _ : -",
        FunctionName::BYTES_MAX
    )]
    Empty,
    /// Longer than [`FunctionName::BYTES_MAX`].
    #[error(
        "the function's name has {bytes} bytes, the limit is {}",
        FunctionName::BYTES_MAX
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A byte that is not allowed.
    #[error("the function's name {name} has '{}' at byte {offset}; use A-Z a-z 0-9 _ : -", .byte.escape_ascii())]
    Byte {
        /// The name, as errors show it.
        name: Box<str>,
        /// The offset of the byte.
        offset: usize,
        /// The byte.
        byte: u8,
    },
}

impl FunctionName {
    /// Longest name, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Checks a name.
    pub fn parse(name: &[u8]) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > Self::BYTES_MAX {
            return Err(NameError::TooLong { bytes: name.len() });
        }
        let wrong = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"_:-".contains(byte));
        if let Some(offset) = name.iter().position(wrong) {
            return Err(NameError::Byte {
                name: Quoted(name).to_string().into(),
                offset,
                byte: name[offset],
            });
        }
        Ok(Self(String::from_utf8_lossy(name).into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for FunctionName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl Serialize for FunctionName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for FunctionName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(name.as_bytes()).map_err(de::Error::custom)
    }
}

/// The record of a function. The code itself is in the cache, under the digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Name by which it is called.
    pub name: FunctionName,
    /// Digest of its source.
    pub digest: Digest,
    /// The file in the module folder that it was loaded from, if any, as it was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Box<str>>,
    /// Description by its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Box<str>>,
    /// Permissions, decided at load: a later default does not widen them.
    pub permissions: Permissions,
    /// Limits that were given; the server's limits cap and complete them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: LimitSettings,
    /// Isolation, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "isolation")]
    pub isolation: Option<Isolation>,
    /// Its own configuration, which may hold secrets.
    #[serde(default, skip_serializing_if = "FunctionConfig::is_empty")]
    pub config: FunctionConfig,
    /// The signed bundle that it was loaded from, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Box<Release>>,
    /// The triggers and schedules that its module declares, if they were added, and their database. There is one
    /// without declarations if it was loaded for another database than 0, where a later version may declare some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automation: Option<Box<DeclaredAutomation>>,
}

/// Triggers and schedules that a function's module declares, and the database for which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredAutomation {
    /// The database that the client had selected when it loaded the function.
    pub database: u32,
    /// The declarations.
    pub declared: Automation,
}

impl Record {
    /// Returns what its module declares, if that was added.
    pub(crate) fn declared(&self) -> Option<&Automation> {
        let declared = self.automation.as_ref().map(|one| &one.declared);
        declared.filter(|declared| declared.lines().next().is_some())
    }

    /// Returns the database for which what its module declares is added.
    pub(crate) fn database(&self) -> u32 {
        self.automation.as_ref().map_or(0, |one| one.database)
    }
}

fn is_default(limits: &LimitSettings) -> bool {
    *limits == LimitSettings::default()
}

/// Isolation as the word that `ISOLATION` takes.
mod isolation {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::Isolation;

    pub(crate) fn serialize<S: Serializer>(
        isolation: &Option<Isolation>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        isolation.map(Isolation::as_str).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Isolation>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|word| word.parse().map_err(de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use ferrite_cache::Digest;

    use super::{FunctionName, Record};
    use crate::policy::function_config::FunctionConfig;
    use crate::policy::function_spec::Isolation;
    use crate::policy::limits::LimitSettings;
    use crate::policy::permissions::Permissions;

    #[test]
    fn names_have_one_form() {
        for name in ["a", "rate_limit", "team:rate-limit:2", &"x".repeat(128)] {
            let parsed = FunctionName::parse(name.as_bytes());
            assert_eq!(parsed.map(|name| name.to_string()), Ok(name.to_owned()));
        }
        let huge = "x".repeat(10 << 20);
        for (name, expected) in [
            (
                "",
                "the function's name is empty; give 1 to 128 of A-Z a-z 0-9 _ : -",
            ),
            (
                "a b",
                "the function's name \"a b\" has ' ' at byte 1; use A-Z a-z 0-9 _ : -",
            ),
            (
                "a.run",
                "the function's name \"a.run\" has '.' at byte 1; use A-Z a-z 0-9 _ : -",
            ),
            (
                "a\r\n",
                "the function's name \"a\\r\\n\" has '\\r' at byte 1; use A-Z a-z 0-9 _ : -",
            ),
            (
                "é",
                "the function's name \"\\xc3\\xa9\" has '\\xc3' at byte 0; use A-Z a-z 0-9 _ : -",
            ),
            (
                &huge,
                "the function's name has 10485760 bytes, the limit is 128",
            ),
        ] {
            let error = FunctionName::parse(name.as_bytes()).expect_err("no name");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_record_reads_back() -> Result<(), Box<dyn std::error::Error>> {
        let mut record = Record {
            name: FunctionName::parse(b"f")?,
            digest: Digest::of(b"source"),
            file: None,
            description: None,
            permissions: Permissions::default(),
            limits: LimitSettings::default(),
            isolation: None,
            config: FunctionConfig::default(),
            release: None,
            automation: None,
        };
        let short = serde_json::to_string(&record)?;
        assert_eq!(
            short,
            format!(
                r#"{{"name":"f","digest":"{}","permissions":{}}}"#,
                record.digest,
                record.permissions.to_json()
            )
        );
        assert_eq!(serde_json::from_str::<Record>(&short)?, record);

        record.file = Some("limits/rate.wasm".into());
        record.description = Some("limits rates".into());
        record.limits = LimitSettings::from_json(br#"{"max_time": "1s"}"#)?;
        record.isolation = Some(Isolation::Reuse);
        record.config = FunctionConfig::from_json(br#"{"token": "s3cret"}"#)?;
        let long = serde_json::to_string(&record)?;
        assert_eq!(serde_json::from_str::<Record>(&long)?, record);
        assert!(serde_json::from_str::<Record>(&long.replace("reuse", "shared")).is_err());
        Ok(())
    }
}
