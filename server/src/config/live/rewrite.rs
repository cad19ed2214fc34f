//! Writes changed keys into the text of a configuration file, and leaves all else as it is.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::config::KeyInfo;

/// Returns `text` with these keys set to these values, given as written in a file. Comments and the
/// order of lines stay. Returns `None` if `text` is not TOML, or has the key's section in a form in
/// which a key cannot be added.
pub(crate) fn rewrite(text: &str, changes: &[(&'static KeyInfo, String)]) -> Option<String> {
    let mut text = text.to_owned();
    for (key, value) in changes {
        // Parsed anew each time, because each change moves what follows.
        let place = match place_of(&text, key)? {
            Some(range) => {
                text.replace_range(range, value);
                continue;
            }
            None => end_of_header(&text, key.section),
        };
        let line = format!("{} = {value}\n", key.name);
        match place {
            Some(at) => text.insert_str(at, &line),
            None => {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(&format!("\n[{}]\n{line}", key.section));
            }
        }
        DeTable::parse(&text).ok()?;
    }
    Some(text)
}

/// Returns the place of a key's value, the inner `None` if the text does not set the key.
fn place_of(text: &str, key: &KeyInfo) -> Option<Option<Range<usize>>> {
    let table = DeTable::parse(text).ok()?;
    let mut inner = table.get_ref();
    for name in key.section.split('.') {
        match inner.get(name).map(toml::Spanned::get_ref) {
            Some(DeValue::Table(table)) => inner = table,
            Some(_) => return None,
            None => return Some(None),
        }
    }
    Some(inner.get(key.name).map(toml::Spanned::span))
}

/// Returns the place after the line `[section]`.
fn end_of_header(text: &str, section: &str) -> Option<usize> {
    let header = format!("[{section}]");
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        let bare = line.split('#').next().unwrap_or_default();
        if bare.trim() == header && line.ends_with('\n') {
            return Some(at);
        }
    }
    None
}

/// Replaces a file as a whole, so that a crash leaves the old one or the new one.
pub(crate) fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = folder.join(name);
    let written = write_new(&new, text, path.metadata()?.permissions())
        .and_then(|()| std::fs::rename(&new, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // There may be nothing to remove.
        let _ = std::fs::remove_file(&new);
    }
    written
}

fn write_new(path: &Path, text: &str, permissions: Permissions) -> io::Result<()> {
    let mut file = File::create(path)?;
    // Before anything is in it: there may be secrets.
    file.set_permissions(permissions)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::rewrite;
    use crate::config::Config;
    use crate::config::live::key;

    fn rewritten(text: &str, changes: &[(&str, &str)]) -> String {
        let changes: Vec<_> = changes
            .iter()
            .map(|(path, value)| (key(path).expect("a key"), (*value).to_owned()))
            .collect();
        let text = rewrite(text, &changes).expect("a file that can be changed");
        Config::parse("ferrite.toml".as_ref(), &text).expect("a right file");
        text
    }

    #[test]
    fn only_values_change() {
        let text = "# mine\n[server] # net\nlog = \"info\" # why\nusers = [\n  \"a may=all password=x\", # one\n]\n\n[wasm]\naudit = \"off\"\n";
        let new = rewritten(
            text,
            &[
                ("server.log", "\"debug\""),
                ("server.users", "[\"b may=all password=y\"]"),
                ("server.max_memory", "\"1GB\""),
                ("store.durability", "\"no\""),
            ],
        );
        assert_eq!(
            new,
            "# mine\n[server] # net\nmax_memory = \"1GB\"\nlog = \"debug\" # why\nusers = [\"b may=all password=y\"]\n\n[wasm]\naudit = \"off\"\n\n[store]\ndurability = \"no\"\n"
        );
    }

    #[test]
    fn empty_and_odd_files_are_handled() {
        assert_eq!(
            rewritten("", &[("server.log", "\"warn\"")]),
            "\n[server]\nlog = \"warn\"\n"
        );
        let inline = "server = { log = \"info\" }";
        assert_eq!(
            rewritten(inline, &[("server.log", "\"warn\"")]),
            "server = { log = \"warn\" }"
        );
        let max = [(
            key("server.max_memory").expect("a key"),
            "\"1GB\"".to_owned(),
        )];
        assert_eq!(rewrite(inline, &max), None, "an inline section cannot grow");
        assert_eq!(rewrite("[server", &max), None);
    }
}
