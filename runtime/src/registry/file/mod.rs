//! The registry on disk: a file of lines, to which each change appends one.
//!
//! Every line is a JSON object that ends with `"sum"`: 16 hex digits of the blake3 of the last line's
//! sum and of the line up to there. The first is `{"version":3,"lines":N}` with the number of lines
//! that were written with it; each next one is a change, `{"put":[RECORD, …],"remove":[NAME, …],
//! "sequences":{NAME: NUMBER, …}}`, without what is empty. What stands after the last whole line is a
//! change that a crash cut off; nobody was told that it was made.
//!
//! Once there are far more lines than functions, the next change replaces the file, so that it
//! begins with a line for each function. The code is not in it; that is in the cache, under each
//! record's digest. A release and its number are in one line, so that they are noted together.
//!
//! The version is 2 if no record in the file has triggers and schedules that a module declares, or a database
//! for them. The first such record replaces the file, so that programs that do not know them say at the first
//! line that they cannot read it.
//!
//! Version 1 was one object, `{"version": 1, "functions": [RECORD, …], "sequences": {…}}`, without
//! sums. It is read, and the first change replaces it.

mod error;
mod format;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::registry::record::Record;
use crate::registry::rollback_guard::Sequences;

pub use error::RegistryFileError;
pub(crate) use format::{Change, RegistryContents};
use format::{FormatError, Tail};

/// Largest file read, in bytes; room for some hundred thousand functions.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Lines that a file may have beside two for each function.
const SPARE_LINES: usize = 1000;

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
    tail: Tail,
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
        let (contents, tail) = format::read(&text).map_err(|error| match error {
            FormatError::Damaged(problem) => self.damaged(&problem),
            FormatError::Version(found) => RegistryFileError::Version {
                path: self.path.clone(),
                found,
            },
        })?;
        *self.end.lock() = tail.map(|tail| End {
            identity: identity(&metadata),
            tail,
        });
        Ok(contents)
    }

    /// Writes a change, after which the registry has this number of functions, with these records, and
    /// these sequences. A crash leaves the contents before or after it.
    pub(crate) fn write<'a>(
        &self,
        change: &Change<'_>,
        functions: usize,
        records: impl Iterator<Item = &'a Record>,
        sequences: &Sequences,
    ) -> Result<(), RegistryFileError> {
        let mut end = self.end.lock();
        // Stays away after a failure, because then nobody knows what the file has.
        if let Some(before) = end.take()
            && before.tail.lines < 2 * functions + SPARE_LINES
            && change.version() <= before.tail.version
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
        if identity(&metadata) != before.identity || metadata.len() != before.tail.bytes {
            return Ok(None);
        }
        let mut text = Vec::new();
        let tail = before.tail.push(&mut text, change)?;
        let written = file
            .write_all_at(&text, before.tail.bytes)
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Nothing was changed, so a start must not find the line.
            let _ = file.set_len(before.tail.bytes);
            return Err(error);
        }
        let identity = before.identity;
        Ok(Some(End { identity, tail }))
    }

    /// Replaces the file. A crash leaves the old file or the new one.
    fn write_whole<'a>(
        &self,
        records: impl Iterator<Item = &'a Record>,
        sequences: &Sequences,
    ) -> Result<End, RegistryFileError> {
        let mut text = Vec::new();
        let tail = format::write_whole(&mut text, records, sequences)
            .map_err(|error| self.io("written", error))?;
        let temporary = self.temporary();
        let result = self.replace(&temporary, &text);
        if result.is_err() {
            // The temporary file is useless now, and may not exist.
            let _ = fs::remove_file(&temporary);
        }
        let metadata = result.map_err(|error| self.io("written", error))?;
        Ok(End {
            identity: identity(&metadata),
            tail,
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
            automation: None,
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
        file.write(&change, records.len(), records.iter().copied(), &none())
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
            file.write(&change, 0, [].into_iter(), &sequences)?;
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
        file.write(&change, 1, [&a].into_iter(), &none())?;
        assert_eq!(file.read()?.functions, [a]);
        let left: Vec<_> = std::fs::read_dir(folder.path())?.collect();
        assert_eq!(left.len(), 1, "no temporary file stays");
        Ok(())
    }

    /// Every byte that goes to the disk is in the file, or in one that took its place.
    #[test]
    fn a_change_writes_as_much_however_many_functions_there_are()
    -> Result<(), Box<dyn std::error::Error>> {
        let written = |functions: usize| {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("functions.json");
            let file = RegistryFile::new(&path);
            let records: Vec<_> = (0..=functions)
                .map(|number| record(&format!("function:{number:05}")))
                .collect();
            let references: Vec<&Record> = records.iter().collect();
            put(&file, &references[..functions])?;
            let before = std::fs::metadata(&path)?;
            put(&file, &references)?;
            let after = std::fs::metadata(&path)?;
            assert_eq!(super::identity(&after), super::identity(&before));
            assert_eq!(file.read()?.functions, records);
            Ok::<u64, Box<dyn std::error::Error>>(after.len() - before.len())
        };
        assert_eq!(written(1)?, written(10_000)?);
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
        file.write(&change, 1, [&record("a")].into_iter(), &sequences)?;
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
                whole.replace("\"version\": 1", "\"version\": 4"),
                "was written by a newer version of this program: its format is 4, and this one reads up to 3",
            ),
            (
                whole.replace("\"version\": 1", "\"version\": 2"),
                "is damaged: it is of version 2 and has no sums",
            ),
            (
                // A later version may have other fields, and lines of another form.
                "{\"version\":4,\"lines\":2,\"codec\":\"x\",\"sum\":\"0\"}\nlater".to_owned(),
                "was written by a newer version of this program: its format is 4",
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
    fn older_programs_read_the_file_as_long_as_they_know_its_records()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("functions.json");
        let file = RegistryFile::new(&path);
        let begins = |version: u32| {
            let text = std::fs::read_to_string(&path).expect("readable");
            text.starts_with(&format!("{{\"version\":{version},"))
        };
        let (a, mut b) = (record("a"), record("b"));
        put(&file, &[&a])?;
        put(&file, &[&a, &b])?;
        assert!(begins(2));
        b.automation = Some(Box::default());
        put(&file, &[&a, &b])?;
        assert!(begins(3), "the first such record replaces the file");
        let replaced = std::fs::read(&path)?;
        put(&file, &[&b, &a])?;
        assert!(std::fs::read(&path)?.starts_with(&replaced), "appended");
        for file in [&file, &RegistryFile::new(&path)] {
            assert_eq!(file.read()?.functions, [a.clone(), b.clone()]);
        }
        // The next time that the whole file is written, it is as before.
        b.automation = None;
        std::fs::remove_file(&path)?;
        put(&file, &[&a, &b])?;
        assert!(begins(2));
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
