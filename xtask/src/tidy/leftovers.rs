//! Leftovers of writing: unfinished code, marks such as to-dos, and paths of the writer's machine.

use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

use super::Violation;
use super::tree::Tree;

/// Macros for unfinished code and for debugging.
const MACROS: &[&str] = &["todo", "unimplemented", "dbg"];

/// Marks for work that is still to be done.
const MARKS: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// This file, which has to contain the marks.
const SELF: &str = "xtask/src/tidy/leftovers.rs";

/// Paths of this machine that are meaningless on another: the folder around the checkout, and the
/// home.
pub(super) fn private_paths(root: &Path) -> Vec<String> {
    let around = root.parent().map(Path::to_path_buf);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    [around, home]
        .into_iter()
        .flatten()
        // `/` and the system's own folders exist on every machine.
        .filter(|path| {
            path.is_absolute() && path.components().count() > 1 && path != Path::new("/tmp")
        })
        .map(|path| format!("{}/", path.display()))
        .collect()
}

pub(super) fn check(tree: &Tree, private_paths: &[String]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.with_extension("rs") {
        if let Some(tokens) = file.tokens() {
            find_macros(tokens, &mut |name, line| {
                let message = format!(
                    "`{name}!` stands for unfinished work: finish it, or return an error that says so"
                );
                violations.push(Violation::new(&file.path, line, message));
            });
        }
    }
    for file in tree.files().filter(|file| {
        file.path
            .file_name()
            .is_some_and(|name| name != "Cargo.lock")
    }) {
        for (index, text) in file.text.lines().enumerate() {
            if file.path != Path::new(SELF)
                && let Some(mark) = MARKS.iter().find(|mark| has_word(text, mark))
            {
                violations.push(Violation::new(
                    &file.path,
                    index + 1,
                    format!("a `{mark}` is left: do it or drop it"),
                ));
            }
            if let Some(path) = private_paths
                .iter()
                .find(|path| text.contains(path.as_str()))
            {
                let message = format!("`{path}` is a path of one machine alone");
                violations.push(Violation::new(&file.path, index + 1, message));
            }
        }
    }
    violations
}

fn find_macros(tokens: TokenStream, found: &mut impl FnMut(&str, usize)) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) => {
                let called =
                    matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == '!');
                if called && let Some(name) = MACROS.iter().find(|name| word == *name) {
                    found(name, word.span().start().line);
                }
            }
            TokenTree::Group(group) => find_macros(group.stream(), found),
            _ => {}
        }
    }
}

/// Returns true if `word` stands in `text` by itself, with no letter, digit or underscore beside
/// it.
fn has_word(text: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(start, _)| {
        !text[..start].ends_with(part_of_word)
            && !text[start + word.len()..].starts_with(part_of_word)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    fn shown(files: &[(&str, &str)], private: &[&str]) -> Vec<String> {
        let private: Vec<_> = private.iter().map(|path| (*path).to_owned()).collect();
        check(&fixture(files), &private)
            .into_iter()
            .map(|v| format!("{}:{}", v.path.display(), v.line))
            .collect()
    }

    #[test]
    fn unfinished_code_is_found_wherever_it_hides() {
        let code = "fn a() { todo!() }\nfn b() { if true { unimplemented!(\"later\") } }\nfn c() { vec![dbg!(1)]; }\n";
        assert_eq!(
            shown(&[("a.rs", code)], &[]),
            ["a.rs:1", "a.rs:2", "a.rs:3"]
        );
        assert_eq!(
            shown(
                &[(
                    "a.rs",
                    "const T: &str = \"todo!()\"; fn todo() {} fn f() { todo() }\n"
                )],
                &[]
            ),
            [""; 0]
        );
    }

    #[test]
    fn marks_are_found_in_any_text() {
        let files = [
            ("a.md", "Fine.\n- TODO: write\n"),
            ("b.toml", "# FIXME\n"),
            ("c.sh", "mktemp foo.XXXXXX TODOS\n"),
        ];
        assert_eq!(shown(&files, &[]), ["a.md:2", "b.toml:1"]);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let files = [
            ("a.md", "see /srv/me/notes\n"),
            ("b.md", "see /srv/men\n"),
            ("Cargo.lock", "/srv/me/x\n"),
        ];
        assert_eq!(shown(&files, &["/srv/me/"]), ["a.md:1"]);
    }

    #[test]
    fn the_checkout_s_surroundings_are_private_and_the_root_is_not() {
        assert!(private_paths(Path::new("/srv/me/project")).contains(&"/srv/me/".to_owned()));
        assert!(!private_paths(Path::new("/project")).contains(&"//".to_owned()));
    }
}
