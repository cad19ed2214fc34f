//! Triggers and schedules that sources in Go declare in comments, as lines of the module's section.
//!
//! ```go
//! //ferrite:on KEYS session:* EVENTS expired
//! //go:wasmexport release
//! func releaseEntry() { … }
//! ```

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ferrite_cache::{AUTOMATION_SECTION, Automation};

/// Begins a comment that declares something.
const DIRECTIVE: &str = "//ferrite:";

/// Begins the comment that exports a function.
const EXPORT: &str = "//go:wasmexport";

/// Returns the lines that the sources in a folder declare, tests left out.
pub(super) fn of_go(folder: &Path) -> Result<String> {
    let entries = folder
        .read_dir()
        .with_context(|| format!("cannot list {}", folder.display()))?;
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".go") && !name.ends_with("_test.go") {
            files.push(path);
        }
    }
    files.sort();
    let mut lines = String::new();
    for path in files {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        lines.push_str(&of_source(&name, &text)?);
    }
    Ok(lines)
}

/// Returns the lines that a source declares.
fn of_source(name: &str, text: &str) -> Result<String> {
    let mut lines = String::new();
    let mut waiting: Vec<(usize, &str)> = Vec::new();
    let mut export = None;
    for (number, line) in (1..).zip(text.lines()).chain([(0, "")]) {
        if let Some(directive) = line.strip_prefix(DIRECTIVE) {
            waiting.push((number, directive));
        } else if let Some(exported) = line.strip_prefix(EXPORT) {
            export = exported.split_whitespace().next();
        }
        if line.starts_with("//") {
            continue;
        }
        // The comments of one function end here.
        for (number, directive) in waiting.drain(..) {
            let (kind, rest) = directive
                .split_once(char::is_whitespace)
                .unwrap_or((directive, ""));
            let Some(entry) = export else {
                bail!(
                    "{name}, line {number}: {DIRECTIVE}{kind} stands above no {EXPORT}; write it among the comments of an exported function"
                );
            };
            let line = format!("{kind} {entry} {}\n", rest.trim());
            if let Err(error) = Automation::read(line.as_bytes()) {
                bail!("{name}, line {number}: {error}");
            }
            lines.push_str(&line);
        }
        export = None;
    }
    Ok(lines)
}

/// Appends lines to a module as its section; does nothing without lines.
pub(super) fn append(wasm: &Path, lines: &str) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let shown = wasm.display();
    let mut module = std::fs::read(wasm).with_context(|| format!("cannot read {shown}"))?;
    let mut body = leb128(AUTOMATION_SECTION.len());
    body.extend_from_slice(AUTOMATION_SECTION.as_bytes());
    body.extend_from_slice(lines.as_bytes());
    module.push(0);
    module.extend(leb128(body.len()));
    module.extend(body);
    std::fs::write(wasm, module).with_context(|| format!("cannot write {shown}"))
}

/// A length as WebAssembly writes it.
fn leb128(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::{leb128, of_source};

    #[test]
    fn comments_of_an_exported_function_declare() {
        let text = "package main\n\n// Releases.\n//\n//ferrite:on KEYS session:* EVENTS expired\n//go:wasmexport release\nfunc releaseEntry() {}\n\n//go:wasmexport sweep\n//ferrite:every 5m MISSED once\n//ferrite:cron \"0 3 * * *\"\nfunc sweepEntry() {}\n";
        assert_eq!(
            of_source("f.go", text).expect("declarations"),
            "on release KEYS session:* EVENTS expired\nevery sweep 5m MISSED once\ncron sweep \"0 3 * * *\"\n"
        );
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            (
                "//ferrite:every 5m\nfunc f() {}",
                "f.go, line 1: //ferrite:every stands above no",
            ),
            (
                "//go:wasmexport f\nfunc f() {}\n//ferrite:every 5m",
                "line 3",
            ),
            (
                "//go:wasmexport f\n//ferrite:at 5m\nfunc f() {}",
                "line 2: the declaration",
            ),
        ] {
            let error = of_source("f.go", text).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn lengths_are_written_as_webassembly_does() {
        assert_eq!(leb128(0x7f), [0x7f]);
        assert_eq!(leb128(624_485), [0xe5, 0x8e, 0x26]);
    }
}
