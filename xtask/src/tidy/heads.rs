//! Every Rust file begins with a `//!` line that states its purpose.

use super::Violation;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.with_extension("rs") {
        let head = file.text.lines().next().unwrap_or_default();
        let says = head
            .strip_prefix("//!")
            .is_some_and(|text| !text.trim().is_empty());
        if !says {
            violations.push(Violation::new(
                &file.path,
                1,
                "the first line must say what the file is: `//! …`",
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    #[test]
    fn a_file_without_a_head_is_found() {
        let tree = fixture(&[
            ("a/src/good.rs", "//! Says what it is.\n"),
            ("a/src/empty.rs", ""),
            ("a/src/late.rs", "use std::fmt;\n//! Too late.\n"),
            ("a/src/mute.rs", "//!\n//! The second line speaks.\n"),
            ("a/src/plain.rs", "// Not a document.\n"),
            ("a/notes.txt", "not Rust\n"),
        ]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|v| v.path.to_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            found,
            [
                "a/src/empty.rs",
                "a/src/late.rs",
                "a/src/mute.rs",
                "a/src/plain.rs"
            ]
        );
    }
}
