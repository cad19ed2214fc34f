//! A module with files below it is `x/mod.rs`, never `x.rs` beside a folder `x/`.
//!
//! The folder then holds the whole module, and a folder's listing shows each module once.

use super::Violation;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    tree.with_extension("rs")
        .filter_map(|file| {
            let folder = file.path.with_extension("");
            let message = format!(
                "there is also a folder {0}/: move this file to {0}/mod.rs",
                folder.display()
            );
            tree.contains(&folder)
                .then(|| Violation::new(&file.path, 0, message))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    #[test]
    fn a_file_beside_its_folder_is_found() {
        let tree = fixture(&[
            ("x/src/a.rs", ""),
            ("x/src/a/inner.rs", ""),
            ("x/src/b/mod.rs", ""),
            ("x/src/b/inner.rs", ""),
            ("x/src/bc.rs", ""),
            ("x/tests/all.rs", ""),
            ("x/tests/all/cases.txt", ""),
        ]);
        let found: Vec<_> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "x/src/a.rs: there is also a folder x/src/a/: move this file to x/src/a/mod.rs",
                "x/tests/all.rs: there is also a folder x/tests/all/: move this file to x/tests/all/mod.rs",
            ]
        );
    }
}
