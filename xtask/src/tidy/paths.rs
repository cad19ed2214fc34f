//! Paths of this repository that the documentation names exist.
//!
//! A path is a code span in a Markdown page or a doc comment whose first part is a folder at the
//! top of the repository: `docs/ci.md`. Globs must match something, and every alternative in braces
//! must exist. A span with a placeholder (`<…>`, `…`) or a space is no path.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use globset::GlobBuilder;
use pulldown_cmark::{Event, Parser};

use super::Violation;
use super::tree::{File, Tree};

/// Paths below folders that a server creates, which have the names of folders here.
const ELSEWHERE: &[&str] = &["cache/wasm"];

/// # Errors
/// If a path with a wildcard is not a valid glob.
pub(super) fn check(tree: &Tree) -> Result<Vec<Violation>> {
    let top = top_folders(tree);
    let mut violations = Vec::new();
    for file in tree.files() {
        for (line, span) in code_spans(file) {
            let Some(path) = repository_path(&top, &span) else {
                continue;
            };
            for path in alternatives(path) {
                if !exists(tree, &path)? {
                    let message = format!("the text names `{path}`, which is not there");
                    violations.push(Violation::new(&file.path, line, message));
                }
            }
        }
    }
    Ok(violations)
}

fn top_folders(tree: &Tree) -> BTreeSet<&str> {
    tree.files()
        .filter_map(|file| {
            let mut parts = file.path.iter();
            let first = parts.next()?.to_str()?;
            parts.next().map(|_| first)
        })
        .collect()
}

/// The code spans of a page or of a Rust file's doc comments, with their lines.
fn code_spans(file: &File) -> Vec<(usize, String)> {
    match file.path.extension().and_then(|name| name.to_str()) {
        Some("md") => spans_of_markdown(&file.text),
        Some("rs") => spans_of_markdown(&doc_comments(&file.text)),
        _ => Vec::new(),
    }
}

/// The doc comments of Rust code as Markdown; other lines are empty, so that the lines keep their
/// numbers.
fn doc_comments(code: &str) -> String {
    let mut text = String::new();
    for line in code.lines() {
        let line = line.trim_start();
        let comment = line.strip_prefix("//!").or(line.strip_prefix("///"));
        text.push_str(comment.map_or("", |comment| comment.strip_prefix(' ').unwrap_or(comment)));
        text.push('\n');
    }
    text
}

fn spans_of_markdown(text: &str) -> Vec<(usize, String)> {
    Parser::new(text)
        .into_offset_iter()
        .filter_map(|(event, range)| match event {
            Event::Code(span) => {
                let line = text[..range.start].matches('\n').count() + 1;
                Some((line, span.into_string()))
            }
            _ => None,
        })
        .collect()
}

/// Returns the span, without a line number at its end, if it is a path of this repository.
fn repository_path<'a>(top: &BTreeSet<&str>, span: &'a str) -> Option<&'a str> {
    let path = match span.rsplit_once(':') {
        Some((path, line)) if line.chars().all(|c| c.is_ascii_digit()) => path,
        _ => span,
    };
    let (first, rest) = path.split_once('/')?;
    let is_path = top.contains(first)
        && !rest.starts_with('/')
        && !path.contains(|c: char| c.is_whitespace() || "<>…".contains(c))
        && !ELSEWHERE
            .iter()
            .any(|elsewhere| Path::new(path).starts_with(elsewhere));
    is_path.then_some(path)
}

/// The paths that a path with braces stands for: `a/{b,c}.rs` is `a/b.rs` and `a/c.rs`.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let Some((choices, after)) = rest.split_once('}') else {
        return vec![path.to_owned()];
    };
    choices
        .split(',')
        .flat_map(|choice| alternatives(&format!("{before}{choice}{after}")))
        .collect()
}

/// Returns true if a file or folder has this path, or matches this glob.
fn exists(tree: &Tree, path: &str) -> Result<bool> {
    if !path.contains(['*', '?', '[']) {
        return Ok(tree.contains(Path::new(path)));
    }
    let glob = GlobBuilder::new(path.trim_end_matches('/'))
        .literal_separator(true)
        .build()
        .with_context(|| format!("`{path}` is not a glob"))?
        .compile_matcher();
    Ok(tree
        .files()
        .flat_map(|file| file.path.ancestors())
        .any(|path| glob.is_match(path)))
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    fn found(page: &str, text: &str) -> Vec<String> {
        let tree = fixture(&[
            (page, text),
            ("docs/guide/first.md", ""),
            ("x/src/lib.rs", ""),
            ("x/src/a/mod.rs", ""),
        ]);
        check(&tree)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_path_to_nowhere_is_found_in_a_page() {
        let text = "See `x/src/lib.rs`, `x/src/a/`,\n`x/src/b.rs` and `x/src/c.rs:12`.\n";
        assert_eq!(
            found("README.md", text),
            [
                "README.md:2: the text names `x/src/b.rs`, which is not there",
                "README.md:2: the text names `x/src/c.rs`, which is not there"
            ]
        );
    }

    #[test]
    fn a_path_to_nowhere_is_found_in_a_doc_comment() {
        let text = "//! As in `docs/none.md`.\n\n/// Or in\n/// `docs/guide`.\nfn f() -> &'static str { \"`docs/text.md`\" }\n// `docs/plain.md`\n";
        assert_eq!(
            found("x/src/b.rs", text),
            ["x/src/b.rs:1: the text names `docs/none.md`, which is not there"]
        );
    }

    #[test]
    fn globs_and_braces_are_understood() {
        let good = "`x/src/*.rs` `x/**/mod.rs` `docs/*` `x/src/{lib,a/mod}.rs`\n";
        assert_eq!(found("docs/a.md", good), [""; 0]);
        let bad = "`x/*.rs` `x/src/{lib,c}.rs`\n";
        assert_eq!(
            found("docs/a.md", bad),
            [
                "docs/a.md:1: the text names `x/*.rs`, which is not there",
                "docs/a.md:1: the text names `x/src/c.rs`, which is not there"
            ]
        );
    }

    #[test]
    fn what_is_no_path_of_the_repository_is_left_alone() {
        let text = "`cache/wasm/v1` `x/<name>.rs` `x/… and so on` `other/file.rs` `text/plain` `x`\n\n```\nx/none.rs\n```\n";
        assert_eq!(found("docs/a.md", text), [""; 0]);
        assert_eq!(
            found("cache/notes.md", "`cache/wasm`, not `cache/none`\n").len(),
            1
        );
    }
}
