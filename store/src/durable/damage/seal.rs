//! Digests of the engine's own small files, kept while nobody has the data open.
//!
//! The engine trusts its lists of tables: a changed byte in one can end the process. So a store that
//! is closed in order leaves the digests of these files behind, and the next start compares them
//! before the engine reads anything. A crash leaves none, and then nothing is compared.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::durable::disk::versioned;

/// The file with the digests, beside the data: a line for each file, and one for the lines before it.
const SEAL: &str = "sealed";

/// Compares the files with their digests, and removes the digests, because the files will change.
/// Returns the first file that differs; the digests then stay.
pub(in crate::durable) fn open(directory: &Path) -> io::Result<Option<String>> {
    let path = directory.join(SEAL);
    let sealed = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // What is no text was damaged itself, and is of no use.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        sealed => sealed?,
    };
    if is_whole(&sealed) {
        let found = digests(directory)?;
        let differs = |line: &&str| !found.lines().any(|other| other == *line);
        if let Some(line) = sealed.lines().find(differs) {
            let name = line.split_once(' ').map_or(line, |(_, name)| name);
            return Ok(Some(name.to_owned()));
        }
    }
    fs::remove_file(&path)?;
    File::open(directory)?.sync_all()?;
    Ok(None)
}

/// Writes the digests. The engine must have closed its files.
pub(in crate::durable) fn write(directory: &Path) -> io::Result<()> {
    let temporary = directory.join("sealed.unfinished");
    let mut file = File::create(&temporary)?;
    file.write_all(digests(directory)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(temporary, directory.join(SEAL))
}

/// Returns true if the last line is the digest of those before it.
fn is_whole(sealed: &str) -> bool {
    let lines = sealed.strip_suffix('\n').unwrap_or(sealed);
    let (before, last) = match lines.rfind('\n') {
        Some(end) => lines.split_at(end + 1),
        None => ("", lines),
    };
    last == end_of(before)
}

fn end_of(lines: &str) -> String {
    format!("{} end", blake3::hash(lines.as_bytes()).to_hex())
}

/// The digests of all files that the engine has no checksum for where it reads them first.
fn digests(directory: &Path) -> io::Result<String> {
    let root = versioned(directory);
    let mut lines = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy();
            if path.is_dir() {
                // Tables have a checksum for each block.
                if !name.ends_with("tables") {
                    folders.push(path);
                }
            // So have journals, and nothing is in the lock.
            } else if !name.ends_with(".jnl") && name != "lock" {
                let digest = blake3::hash(&fs::read(&path)?);
                lines.push(format!("{} {name}\n", digest.to_hex()));
            }
        }
    }
    lines.sort_unstable();
    let lines = lines.concat();
    let end = end_of(&lines);
    Ok(lines + &end + "\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{SEAL, open, write};

    #[test]
    fn a_changed_file_is_named_until_it_is_as_it_was() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let list = folder.path().join("v1/keyspaces/1/v0");
        fs::create_dir_all(list.parent().expect("it has one")).expect("made");
        fs::write(&list, "list").expect("written");
        assert_eq!(open(folder.path()).expect("readable"), None);
        write(folder.path()).expect("written");
        fs::write(&list, "lisT").expect("written");
        for _ in 0..2 {
            let found = open(folder.path()).expect("readable");
            assert_eq!(found.as_deref(), Some("keyspaces/1/v0"));
        }
        fs::write(&list, "list").expect("written");
        assert_eq!(open(folder.path()).expect("readable"), None);
        // It is gone now, so the engine may change its files.
        fs::write(&list, "lists").expect("written");
        assert_eq!(open(folder.path()).expect("readable"), None);
    }

    #[test]
    fn half_of_the_digests_are_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(folder.path().join("v1")).expect("made");
        fs::write(folder.path().join("v1/version"), "1").expect("written");
        write(folder.path()).expect("written");
        let path = folder.path().join(SEAL);
        let whole = fs::read_to_string(&path).expect("text");
        for length in 0..whole.len() - 1 {
            fs::write(&path, &whole[..length]).expect("written");
            assert_eq!(open(folder.path()).expect("readable"), None, "{length}");
            assert!(!path.exists());
        }
    }
}
