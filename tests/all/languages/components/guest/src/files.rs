//! Files by Rust's own library, as programs use them.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// Runs what the first argument says; returns what was seen.
pub(crate) fn run(args: &[&str]) -> Vec<String> {
    match args {
        ["lookup", table, key] => lookup(table, key),
        ["list", directory] => list(directory),
        ["read", path] => vec![shown(fs::read_to_string(path))],
        ["write", path, content] => vec![shown(fs::write(path, content).map(|()| "written"))],
        ["scratch"] => scratch().unwrap_or_else(|error| vec![shown::<&str>(Err(error))]),
        ["append", path, content] => vec![shown(append(path, content))],
        ["fill", path] => fill(path),
        ["many", path] => many(path),
        [what @ ..] => crate::descriptors::run(what),
    }
}

fn shown<T: ToString>(result: Result<T, Error>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(error) => match error.kind() {
            // Kinds that have no name of their own tell the number.
            ErrorKind::Other => format!("error {:?}", error.raw_os_error()),
            kind => format!("error {kind:?}"),
        },
    }
}

/// Finds the line that begins with the key.
fn lookup(table: &str, key: &str) -> Vec<String> {
    let content = match fs::read_to_string(table) {
        Ok(content) => content,
        Err(error) => return vec![shown::<&str>(Err(error))],
    };
    let found = content
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key);
    vec![found.map_or("none", |(_, value)| value).to_owned()]
}

fn list(directory: &str) -> Vec<String> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return vec![shown::<&str>(Err(error))],
    };
    let mut seen: Vec<String> = entries
        .map(|entry| {
            let entry = entry.expect("it can be read");
            let kind = entry.file_type().expect("it has a type");
            let len = fs::metadata(entry.path()).map(|facts| facts.len());
            let mark = if kind.is_dir() {
                "/"
            } else if kind.is_symlink() {
                "@"
            } else {
                ""
            };
            format!(
                "{}{mark} {}",
                entry.file_name().display(),
                if kind.is_file() {
                    shown(len)
                } else {
                    String::new()
                }
            )
        })
        .map(|line| line.trim_end().to_owned())
        .collect();
    seen.sort();
    seen
}

/// Writes in the directory `/tmp`, and reads it back.
fn scratch() -> Result<Vec<String>, Error> {
    let mut seen = list("/tmp");
    fs::create_dir("/tmp/a")?;
    seen.push(shown(fs::create_dir("/tmp/a").map(|()| "made")));
    let content: String = (0..4000).map(|number| format!("{number};")).collect();
    fs::write("/tmp/a/b", &content)?;
    let mut file = OpenOptions::new().append(true).open("/tmp/a/b")?;
    file.write_all(b"end")?;
    drop(file);
    let mut file = OpenOptions::new().read(true).write(true).open("/tmp/a/b")?;
    file.seek(SeekFrom::Start(2))?;
    file.write_all(b"!")?;
    file.seek(SeekFrom::End(-5))?;
    let mut last = String::new();
    file.read_to_string(&mut last)?;
    seen.push(last);
    file.sync_all()?;
    drop(file);
    let read = fs::read_to_string("/tmp/a/b")?;
    seen.push(format!(
        "{} {}",
        read.len() - content.len(),
        read.starts_with("0;!;2;")
    ));
    fs::rename("/tmp/a/b", "/tmp/c")?;
    seen.push(shown(fs::remove_dir("/tmp/c").map(|()| "gone")));
    seen.push(shown(fs::remove_file("/tmp/a").map(|()| "gone")));
    fs::remove_dir("/tmp/a")?;
    let file = OpenOptions::new().write(true).open("/tmp/c")?;
    file.set_len(7)?;
    seen.push(fs::read_to_string("/tmp/c")?);
    file.set_len(9)?;
    seen.push(format!("{:?}", fs::read("/tmp/c")?.last()));
    seen.extend(list("/tmp"));
    fs::remove_file("/tmp/c")?;
    seen.push(Path::new("/tmp/c").exists().to_string());
    Ok(seen)
}

/// Appends to a file, which may not be there, and returns the whole of it.
fn append(path: &str, content: &str) -> Result<String, Error> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(content.as_bytes())?;
    fs::read_to_string(path)
}

/// Writes until there is no room.
fn fill(path: &str) -> Vec<String> {
    let mut file = File::create(path).expect("it can be made");
    let block = [7; 1000];
    let mut written = 0;
    let error = loop {
        match file.write(&block) {
            Ok(len) => written += len,
            Err(error) => break error,
        }
    };
    let left = fs::metadata(path).map(|facts| facts.len() as usize == written);
    vec![shown::<&str>(Err(error)), shown(left)]
}

/// Opens a file until that fails.
fn many(path: &str) -> Vec<String> {
    let mut open = Vec::new();
    let error = loop {
        match File::open(path) {
            Ok(file) => open.push(file),
            Err(error) => break error,
        }
        assert!(open.len() < 1000, "there is a bound");
    };
    let count = open.len();
    drop(open);
    vec![
        (count > 50).to_string(),
        shown::<&str>(Err(error)),
        shown(File::open(path).map(|_| "open")),
    ]
}
