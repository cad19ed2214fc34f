//! Reports long Rust files, which may hold a second idea.

use super::Violation;
use super::tree::Tree;

/// Longest Rust file that is not reported, in lines.
const LINES_MAX: usize = 600;

/// Finds the long files. They are reported, not refused: length is only a hint.
pub(super) fn find(tree: &Tree) -> Vec<Violation> {
    tree.with_extension("rs")
        .filter_map(|file| {
            let lines = file.text.lines().count();
            let message = format!("{lines} lines: is there a second idea inside?");
            (lines > LINES_MAX).then(|| Violation::new(&file.path, 0, message))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    #[test]
    fn only_long_rust_files_are_reported() {
        let long = "\n".repeat(LINES_MAX + 1);
        let tree = fixture(&[("a.rs", &long), ("b.rs", &long[1..]), ("c.txt", &long)]);
        let found = find(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "a.rs: 601 lines: is there a second idea inside?"
        );
    }
}
