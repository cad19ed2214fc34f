//! The registry on disk: a file of lines, to which each change appends one.
//!
//! Every line is a JSON object that ends with `"sum"`: 16 hex digits of the blake3 of the last line's
//! sum and of the line up to there. The first is `{"version":2,"lines":N}` with the number of lines
//! that were written with it; each next one is a change, `{"put":[RECORD, …],"remove":[NAME, …],
//! "sequences":{NAME: NUMBER, …}}`, without what is empty. What stands after the last whole line is a
//! change that a crash cut off; nobody was told that it was made.
//!
//! Once there are far more lines than functions, the next change replaces the file, so that it
//! begins with a line for each function. The code is not in it; that is in the cache, under each
//! record's digest. A release and its number are in one line, so that they are noted together.
//!
//! Version 1 was one object, `{"version": 1, "functions": [RECORD, …], "sequences": {…}}`, without
//! sums. It is read, and the first change replaces it.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ferrite_cache::Digest;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::registry::record::{FunctionName, Record};
use crate::registry::rollback_guard::Sequences;

/// The format's version; a file of a later one is not touched.
const VERSION: u32 = 2;

/// The version without sums, which is read only.
const VERSION_WITHOUT_SUMS: u32 = 1;

/// Largest file read, in bytes; room for some hundred thousand functions.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Lines that a file may have beside two for each function.
const SPARE_LINES: usize = 1000;

/// Hex digits of a sum.
const SUM_DIGITS: usize = 16;

/// The file that keeps the registry.
#[derive(Debug)]
pub(crate) struct RegistryFile {
    path: PathBuf,
    /// The end of the file; `None` if the next change must replace it.
    end: Mutex<Option<End>>,
}

/// The end of a file, to which lines can be appended.
#[derive(Clone, Debug)]
struct End {
    /// Device and inode: another program may have put another file in its place.
    identity: (u64, u64),
    bytes: u64,
    lines: usize,
    /// The last line's.
    sum: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContentsWithoutSums {
    /// Looked at before anything else; see [`Version`].
    #[serde(rename = "version")]
    _version: u32,
    functions: Vec<Record>,
    #[serde(default)]
    sequences: Sequences,
}

/// The first line.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    lines: usize,
}

/// A change of the registry.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Change<'a> {
    /// Functions that are new, or other than before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) put: Vec<&'a Record>,
    /// Functions that are gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) remove: Vec<&'a FunctionName>,
    /// Sequence numbers that have changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sequences: BTreeMap<&'a FunctionName, u64>,
}

impl Change<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty() && self.sequences.is_empty()
    }
}

/// A change as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadChange {
    #[serde(default)]
    put: Vec<Record>,
    #[serde(default)]
    remove: Vec<FunctionName>,
    #[serde(default)]
    sequences: Sequences,
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
    #[error("the registry {} has version {found}, this program reads versions up to {VERSION}", .path.display())]
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
        Self {
            path: path.into(),
            end: Mutex::new(None),
        }
    }

    /// Reads the contents, which are empty if there is no file.
    pub(crate) fn read(&self) -> Result<RegistryContents, RegistryFileError> {
        *self.end.lock() = None;
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(RegistryContents::default());
            }
            Err(error) => return Err(self.io("opened", error)),
        };
        let metadata = file.metadata().map_err(|error| self.io("read", error))?;
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map_err(|error| self.io("read", error))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(self.damaged("it is far too large"));
        }
        let first = text.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
        let header = parts(first).and_then(|(content, _)| {
            let header: Header = serde_json::from_slice(&content).ok()?;
            (header.version == VERSION).then_some(header)
        });
        match header {
            Some(header) => self.read_lines(&text, &header, &metadata),
            None => self.read_without_sums(&text),
        }
    }

    fn read_lines(
        &self,
        text: &[u8],
        header: &Header,
        metadata: &Metadata,
    ) -> Result<RegistryContents, RegistryFileError> {
        let mut functions = BTreeMap::new();
        let mut sequences = Sequences::new();
        let (mut lines, mut bytes, mut sum) = (0, 0, String::new());
        let mut rest = text;
        while let Some(len) = rest.iter().position(|byte| *byte == b'\n') {
            let number = lines + 1;
            let wrong = |problem: &str| self.damaged(&format!("line {number}: {problem}"));
            let (content, found) = parts(&rest[..len]).ok_or_else(|| wrong("it has no sum"))?;
            if found != sum_of(&sum, &content) {
                return Err(wrong("its sum is wrong"));
            }
            if lines > 0 {
                let ReadChange {
                    put,
                    remove,
                    sequences: raised,
                } = serde_json::from_slice(&content).map_err(|error| wrong(&error.to_string()))?;
                for name in remove {
                    functions.remove(&name);
                }
                for record in put {
                    functions.insert(record.name.clone(), record);
                }
                sequences.extend(raised);
            }
            sum = found;
            lines = number;
            bytes += len as u64 + 1;
            rest = &rest[len + 1..];
        }
        if lines < header.lines {
            let (lines, whole) = (lines, header.lines);
            return Err(self.damaged(&format!("it ends after {lines} of {whole} lines")));
        }
        // A change that was cut off is replaced together with the file.
        if rest.is_empty() {
            *self.end.lock() = Some(End {
                identity: identity(metadata),
                bytes,
                lines,
                sum,
            });
        }
        Ok(RegistryContents {
            functions: functions.into_values().collect(),
            sequences,
        })
    }

    fn read_without_sums(&self, text: &[u8]) -> Result<RegistryContents, RegistryFileError> {
        let damaged = |error: serde_json::Error| self.damaged(&error.to_string());
        let Version { version } = serde_json::from_slice(text).map_err(damaged)?;
        if version != VERSION_WITHOUT_SUMS {
            return Err(RegistryFileError::Version {
                path: self.path.clone(),
                found: version,
            });
        }
        let ContentsWithoutSums {
            functions,
            sequences,
            ..
        } = serde_json::from_slice(text).map_err(damaged)?;
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

    /// Writes a change, after which the registry has these records and sequences. A crash leaves the
    /// contents before or after it.
    pub(crate) fn write<'a>(
        &self,
        change: &Change<'_>,
        records: impl ExactSizeIterator<Item = &'a Record>,
        sequences: &Sequences,
    ) -> Result<(), RegistryFileError> {
        let mut end = self.end.lock();
        // Stays away after a failure, because then nobody knows what the file has.
        if let Some(before) = end.take()
            && before.lines < 2 * records.len() + SPARE_LINES
            && let Some(after) = self
                .append(&before, change)
                .map_err(|error| self.io("written", error))?
        {
            *end = Some(after);
            return Ok(());
        }
        *end = Some(self.write_whole(records, sequences)?);
        Ok(())
    }

    /// Appends a line; returns `None` if the file is no longer the one that was read or written last.
    fn append(&self, before: &End, change: &Change<'_>) -> io::Result<Option<End>> {
        let file = match OpenOptions::new().write(true).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if identity(&metadata) != before.identity || metadata.len() != before.bytes {
            return Ok(None);
        }
        let mut text = Vec::new();
        let sum = push_line(&mut text, &before.sum, change)?;
        let written = file
            .write_all_at(&text, before.bytes)
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Nothing was changed, so a start must not find the line.
            let _ = file.set_len(before.bytes);
            return Err(error);
        }
        Ok(Some(End {
            identity: before.identity,
            bytes: before.bytes + text.len() as u64,
            lines: before.lines + 1,
            sum,
        }))
    }

    /// Replaces the file. A crash leaves the old file or the new one.
    fn write_whole<'a>(
        &self,
        records: impl ExactSizeIterator<Item = &'a Record>,
        sequences: &Sequences,
    ) -> Result<End, RegistryFileError> {
        let mut functions: Vec<&Record> = records.collect();
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        let lines = 1 + functions.len() + usize::from(!sequences.is_empty());
        let compose = || {
            let mut text = Vec::new();
            let header = Header {
                version: VERSION,
                lines,
            };
            let mut sum = push_line(&mut text, "", &header)?;
            for record in functions {
                let change = Change {
                    put: vec![record],
                    ..Change::default()
                };
                sum = push_line(&mut text, &sum, &change)?;
            }
            if !sequences.is_empty() {
                let change = Change {
                    sequences: sequences.iter().map(|(name, &last)| (name, last)).collect(),
                    ..Change::default()
                };
                sum = push_line(&mut text, &sum, &change)?;
            }
            Ok((text, sum))
        };
        let (text, sum) = compose().map_err(|error: io::Error| self.io("written", error))?;
        let temporary = self.temporary();
        let result = self.replace(&temporary, &text);
        if result.is_err() {
            // The temporary file is useless now, and may not exist.
            let _ = fs::remove_file(&temporary);
        }
        let metadata = result.map_err(|error| self.io("written", error))?;
        Ok(End {
            identity: identity(&metadata),
            bytes: text.len() as u64,
            lines,
            sum,
        })
    }

    fn replace(&self, temporary: &Path, text: &[u8]) -> io::Result<Metadata> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(temporary, &self.path)?;
        File::open(self.folder())?.sync_all()?;
        file.metadata()
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

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Appends a line with its sum, which it returns.
fn push_line(text: &mut Vec<u8>, sum_before: &str, content: &impl Serialize) -> io::Result<String> {
    let content = serde_json::to_vec(content)?;
    let sum = sum_of(sum_before, &content);
    // An object always ends with a brace; the sum becomes its last field.
    let open = content.strip_suffix(b"}").unwrap_or(&content);
    text.extend_from_slice(open);
    text.extend_from_slice(format!(",\"sum\":\"{sum}\"}}\n").as_bytes());
    Ok(sum)
}

/// Splits a line into its content without the sum, and the sum.
fn parts(line: &[u8]) -> Option<(Vec<u8>, String)> {
    let line = line.strip_suffix(b"\"}")?;
    let (rest, sum) = line.split_at_checked(line.len().checked_sub(SUM_DIGITS)?)?;
    let open = rest.strip_suffix(b",\"sum\":\"")?;
    Some(([open, b"}"].concat(), String::from_utf8(sum.to_vec()).ok()?))
}

/// The sum of a line, which depends on all lines before.
fn sum_of(sum_before: &str, content: &[u8]) -> String {
    let digest = Digest::of(&[sum_before.as_bytes(), content].concat()).to_string();
    let (_, hex) = digest.split_once(':').unwrap_or(("", &digest));
    hex[..SUM_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use ferrite_cache::Digest;

    use super::{Change, RegistryFile, RegistryFileError};
    use crate::policy::function_config::FunctionConfig;
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
            config: FunctionConfig::default(),
            release: None,
        }
    }

    fn none() -> Sequences {
        Sequences::new()
    }

    /// Puts the last record, after which there are all of them.
    fn put(file: &RegistryFile, records: &[&Record]) -> Result<(), RegistryFileError> {
        let change = Change {
            put: records.last().copied().into_iter().collect(),
            ..Change::default()
        };
        file.write(&change, records.iter().copied(), &none())
    }

    fn names(file: &RegistryFile) -> Vec<String> {
        let contents = file.read().expect("it is whole");
        let names = contents.functions.iter();
        names.map(|record| record.name.to_string()).collect()
    }

    #[test]
    fn sequences_are_kept_apart_from_functions() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let file = RegistryFile::new(folder.path().join("functions.json"));
        let name = FunctionName::parse(b"gone")?;
        for last in 7..10 {
            let sequences = Sequences::from([(name.clone(), last)]);
            let change = Change {
                sequences: [(&name, last)].into(),
                ..Change::default()
            };
            file.write(&change, [].into_iter(), &sequences)?;
            assert_eq!(file.read()?.sequences, sequences);
        }
        Ok(())
    }

    #[test]
    fn each_change_is_a_line_and_is_read_in_order() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("functions.json");
        let file = RegistryFile::new(&path);
        assert_eq!(file.read()?.functions, []);
        let (a, b) = (record("a"), record("b"));
        put(&file, &[&b])?;
        let before = std::fs::read_to_string(&path)?;
        put(&file, &[&b, &a])?;
        let after = std::fs::read_to_string(&path)?;
        assert_eq!(after.lines().count(), before.lines().count() + 1);
        assert!(after.starts_with(&before), "it was appended");
        assert_eq!(file.read()?.functions, [a.clone(), b.clone()]);
        let change = Change {
            remove: vec![&b.name],
            ..Change::default()
        };
        file.write(&change, [&a].into_iter(), &none())?;
        assert_eq!(file.read()?.functions, [a]);
        let left: Vec<_> = std::fs::read_dir(folder.path())?.collect();
        assert_eq!(left.len(), 1, "no temporary file stays");
        Ok(())
    }

    #[test]
    fn the_file_does_not_grow_without_end() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("functions.json");
        let file = RegistryFile::new(&path);
        let (a, b) = (record("a"), record("b"));
        for _ in 0..1_010 {
            put(&file, &[&a, &b])?;
        }
        assert!(std::fs::read_to_string(&path)?.lines().count() < 100);
        assert_eq!(names(&file), ["a", "b"]);
        Ok(())
    }

    #[test]
    fn a_change_that_was_cut_off_was_never_made() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("functions.json");
        let file = RegistryFile::new(&path);
        let (a, b, c) = (record("a"), record("b"), record("c"));
        put(&file, &[&a])?;
        let before = std::fs::read(&path)?.len();
        put(&file, &[&a, &b])?;
        let whole = std::fs::read(&path)?;
        for length in before..whole.len() {
            std::fs::write(&path, &whole[..length])?;
            assert_eq!(names(&file), ["a"], "{length} of {} bytes", whole.len());
            put(&file, &[&a, &c])?;
            assert_eq!(names(&file), ["a", "c"]);
            assert_eq!(names(&RegistryFile::new(&path)), ["a", "c"]);
        }
        Ok(())
    }

    #[test]
    fn damage_is_told_and_nothing_is_touched() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("functions.json");
        let file = RegistryFile::new(&path);
        let told = |text: &[u8], expected: &str| {
            std::fs::write(&path, text).expect("written");
            let error = file.read().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(std::fs::read(&path).expect("readable"), text);
        };
        put(&file, &[&record("b"), &record("a")])?;
        let whole = std::fs::read(&path)?;
        for length in 0..whole.len() {
            told(&whole[..length], "is damaged: ");
        }
        put(&file, &[&record("b"), &record("a"), &record("c")])?;
        let whole = std::fs::read(&path)?;
        // The end of the last line decides if it was cut off.
        for at in 0..whole.len() - 1 {
            let mut text = whole.clone();
            text[at] ^= 1;
            told(&text, "");
        }
        let mut lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        lines.remove(2);
        told(&lines.concat(), "is damaged: line 3: its sum is wrong");
        Ok(())
    }

    #[test]
    fn files_without_sums_are_read_and_replaced() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("functions.json");
        let file = RegistryFile::new(&path);
        let old = |names: &[&str]| {
            let records: Vec<_> = names.iter().copied().map(record).collect();
            serde_json::to_string_pretty(&serde_json::json!({
                "version": 1,
                "functions": records,
                "sequences": {"gone": 7},
            }))
        };
        let whole = old(&["a", "b"])?;
        std::fs::write(&path, &whole)?;
        assert_eq!(names(&file), ["a", "b"]);
        let sequences = file.read()?.sequences;
        assert_eq!(sequences.len(), 1);
        let gone = record("b");
        let change = Change {
            remove: vec![&gone.name],
            ..Change::default()
        };
        file.write(&change, [&record("a")].into_iter(), &sequences)?;
        assert!(std::fs::read_to_string(&path)?.starts_with("{\"version\":2,"));
        assert_eq!(names(&file), ["a"]);
        assert_eq!(file.read()?.sequences, sequences);
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length])?;
            let error = file.read().expect_err("cut short").to_string();
            assert!(error.contains("is damaged: "), "{error}");
        }
        for (text, expected) in [
            (
                whole.replace("\"version\": 1", "\"version\": 3"),
                "has version 3, this program reads versions up to 2",
            ),
            (old(&["a", "a"])?, "is damaged: function a is in it twice"),
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
    fn a_file_that_another_program_changed_is_replaced() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("functions.json");
        let file = RegistryFile::new(&path);
        let (a, b) = (record("a"), record("b"));
        put(&file, &[&a])?;
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)?
            .write_all(b"more")?;
        put(&file, &[&a, &b])?;
        assert_eq!(names(&file), ["a", "b"]);
        std::fs::remove_file(&path)?;
        put(&file, &[&a, &b])?;
        assert_eq!(names(&file), ["a", "b"]);
        Ok(())
    }

    #[test]
    fn what_a_crash_left_behind_is_in_nobodys_way() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let file = RegistryFile::new(folder.path().join("functions.json"));
        let (a, b) = (record("a"), record("b"));
        // Half of the next file was written when the process died.
        std::fs::write(file.temporary(), "{\"version\":2,\"li")?;
        assert_eq!(file.read()?.functions, []);
        put(&file, &[&a, &b])?;
        assert_eq!(names(&file), ["a", "b"]);
        assert!(!file.temporary().exists());
        Ok(())
    }

    #[test]
    fn a_folder_that_is_missing_is_told() {
        let file = RegistryFile::new("/nonexistent/functions.json");
        let error = put(&file, &[&record("a")])
            .expect_err("no folder")
            .to_string();
        assert_eq!(
            error,
            "the registry /nonexistent/functions.json cannot be written: No such file or directory (os error 2)"
        );
    }
}
