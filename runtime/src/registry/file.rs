//! The registry on disk: one JSON file, replaced as a whole.
//!
//! `{"version": 1, "functions": [RECORD, …], "sequences": {NAME: NUMBER, …}}`, the records in the
//! order of their names. The code is not in it; that is in the cache, under each record's digest.
//! The sequences stand in the same file so that a release and its number are noted together.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::registry::record::Record;
use crate::registry::rollback_guard::Sequences;

/// The format's version; a file of another one is not touched.
const VERSION: u32 = 1;

/// Largest file read, in bytes; room for some hundred thousand functions.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The file that keeps the registry.
#[derive(Clone, Debug)]
pub(crate) struct RegistryFile {
    path: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileContents {
    /// Looked at before anything else; see [`Version`].
    #[serde(rename = "version")]
    _version: u32,
    functions: Vec<Record>,
    #[serde(default)]
    sequences: Sequences,
}

#[derive(Serialize)]
struct FileContentsRef<'a> {
    version: u32,
    functions: &'a [&'a Record],
    #[serde(skip_serializing_if = "Sequences::is_empty")]
    sequences: &'a Sequences,
}

/// The contents of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegistryContents {
    /// Every function.
    pub functions: Vec<Record>,
    /// The highest sequence number loaded of each function that came in a signed bundle.
    pub sequences: Sequences,
}

/// The one field that every version has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Reason why the registry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RegistryFileError {
    /// The file system reports an error.
    #[error("the registry {} cannot be {action}: {problem}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The action that failed, as a participle.
        action: &'static str,
        /// The file system's error.
        problem: io::Error,
    },
    /// The file is damaged, or not a registry.
    #[error(
        "the registry {} is damaged: {problem}; repair it, or move it away and load the functions again",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: Box<str>,
    },
    /// The file is of another version.
    #[error("the registry {} has version {found}, this program reads version {VERSION}", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl RegistryFile {
    /// Uses the file at `path`, which need not exist yet; its folder must exist at the first change.
    #[must_use]
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads the contents, which are empty if there is no file.
    pub(crate) fn read(&self) -> Result<RegistryContents, RegistryFileError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(RegistryContents::default());
            }
            Err(error) => return Err(self.io("opened", error)),
        };
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map_err(|error| self.io("read", error))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(self.damaged("it is far too large"));
        }
        let damaged = |error: serde_json::Error| self.damaged(&error.to_string());
        let Version { version } = serde_json::from_slice(&text).map_err(damaged)?;
        if version != VERSION {
            return Err(RegistryFileError::Version {
                path: self.path.clone(),
                found: version,
            });
        }
        let FileContents {
            functions,
            sequences,
            ..
        } = serde_json::from_slice(&text).map_err(damaged)?;
        let mut names: Vec<_> = functions.iter().map(|record| &record.name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(self.damaged(&format!("function {} is in it twice", twice[0])));
        }
        Ok(RegistryContents {
            functions,
            sequences,
        })
    }

    /// Replaces the file. A crash leaves the old file or the new one.
    pub(crate) fn write<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Record>,
        sequences: &Sequences,
    ) -> Result<(), RegistryFileError> {
        let mut functions: Vec<&Record> = records.into_iter().collect();
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        let storing = FileContentsRef {
            version: VERSION,
            functions: &functions,
            sequences,
        };
        let mut text = serde_json::to_vec_pretty(&storing)
            .map_err(|error| self.io("written", error.into()))?;
        text.push(b'\n');
        let temporary = self.temporary();
        let result = self.replace(&temporary, &text);
        if result.is_err() {
            // The temporary file is useless now, and may not exist.
            let _ = fs::remove_file(&temporary);
        }
        result.map_err(|error| self.io("written", error))
    }

    fn replace(&self, temporary: &Path, text: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(temporary, &self.path)?;
        File::open(self.folder())?.sync_all()
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Returns the path of the temporary file: one per process, which writes one change at a time. A
    /// crash leaves at most this file behind.
    fn temporary(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{}.tmp", std::process::id()));
        name.into()
    }

    fn io(&self, action: &'static str, problem: io::Error) -> RegistryFileError {
        RegistryFileError::Io {
            path: self.path.clone(),
            action,
            problem,
        }
    }

    fn damaged(&self, problem: &str) -> RegistryFileError {
        RegistryFileError::Damaged {
            path: self.path.clone(),
            problem: problem.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ferrite_cache::Digest;

    use super::RegistryFile;
    use crate::policy::limits::LimitSettings;
    use crate::policy::permissions::Permissions;
    use crate::registry::record::{FunctionName, Record};
    use crate::registry::rollback_guard::Sequences;

    fn record(name: &str) -> Record {
        Record {
            name: FunctionName::parse(name.as_bytes()).expect("a name"),
            digest: Digest::of(name.as_bytes()),
            file: None,
            description: None,
            permissions: Permissions::default(),
            limits: LimitSettings::default(),
            isolation: None,
            release: None,
        }
    }

    fn none() -> Sequences {
        Sequences::new()
    }

    #[test]
    fn sequences_are_kept_apart_from_functions() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let file = RegistryFile::new(folder.path().join("functions.json"));
        let sequences = Sequences::from([(FunctionName::parse(b"gone")?, 7)]);
        file.write([], &sequences)?;
        assert_eq!(file.read()?.sequences, sequences);
        Ok(())
    }

    #[test]
    fn what_is_written_is_read_in_order() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let file = RegistryFile::new(folder.path().join("functions.json"));
        assert_eq!(file.read()?.functions, []);
        let (a, b) = (record("a"), record("b"));
        file.write([&b, &a], &none())?;
        assert_eq!(file.read()?.functions, [a.clone(), b]);
        file.write([&a], &none())?;
        assert_eq!(file.read()?.functions, [a]);
        let left: Vec<_> = std::fs::read_dir(folder.path())?.collect();
        assert_eq!(left.len(), 1, "no temporary file stays");
        Ok(())
    }

    #[test]
    fn damage_is_told_and_nothing_is_touched() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("functions.json");
        let file = RegistryFile::new(&path);
        file.write([&record("a")], &none())?;
        let whole = std::fs::read_to_string(&path)?;
        for length in 0..whole.trim_end().len() {
            std::fs::write(&path, &whole[..length])?;
            let error = file.read().expect_err("cut short").to_string();
            assert!(error.contains("is damaged: "), "{error}");
        }
        let twice = format!(
            "{{\"version\":1,\"functions\":[{0},{0}]}}",
            serde_json::to_string(&record("a"))?
        );
        for (text, expected) in [
            (
                whole.replace("\"version\": 1", "\"version\": 2"),
                "has version 2, this program reads version 1",
            ),
            (twice, "is damaged: function a is in it twice"),
            (
                whole.replace("\"a\"", "\"a b\""),
                "is damaged: the function's name \"a b\" has ' '",
            ),
            ("\0\0\0\0".to_owned(), "is damaged: expected value"),
        ] {
            std::fs::write(&path, &text)?;
            let error = file.read().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(std::fs::read_to_string(&path)?, text);
        }
        Ok(())
    }

    #[test]
    fn what_a_crash_left_behind_is_in_nobodys_way() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let file = RegistryFile::new(folder.path().join("functions.json"));
        let (a, b) = (record("a"), record("b"));
        file.write([&a], &none())?;
        // Half of the next file was written when the process died.
        std::fs::write(file.temporary(), "{\"version\": 1, \"func")?;
        assert_eq!(file.read()?.functions, std::slice::from_ref(&a));
        file.write([&a, &b], &none())?;
        assert_eq!(file.read()?.functions, [a, b]);
        assert!(!file.temporary().exists());
        Ok(())
    }

    #[test]
    fn a_folder_that_is_missing_is_told() {
        let file = RegistryFile::new("/nonexistent/functions.json");
        let error = file
            .write([&record("a")], &none())
            .expect_err("no folder")
            .to_string();
        assert_eq!(
            error,
            "the registry /nonexistent/functions.json cannot be written: No such file or directory (os error 2)"
        );
    }
}
