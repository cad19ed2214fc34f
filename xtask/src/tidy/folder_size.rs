//! A folder of Rust sources has few enough entries to see at a glance.
//!
//! Only folders named `src` and those below them are judged: there each entry is an idea of the
//! design. Folders of test cases and of documentation are lists that grow by one entry a case or a
//! page; more entries make them no harder to understand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Violation;
use super::tree::Tree;

/// The most files and subfolders that a folder of sources may have: a listing of 16 lines fits on one
/// screen beside the code, and can be read at a glance.
const ENTRIES_MAX: usize = 16;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut folders: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for file in tree.with_extension("rs") {
        let above = file.path.ancestors().skip(1);
        for (entry, folder) in file.path.ancestors().zip(above) {
            if folder.iter().any(|part| part == "src") {
                folders.entry(folder).or_default().insert(entry);
            }
        }
    }
    folders
        .into_iter()
        .filter(|(_, entries)| entries.len() > ENTRIES_MAX)
        .map(|(folder, entries)| {
            let message = format!(
                "{} entries, more than {ENTRIES_MAX}: group what belongs together in a folder of its own",
                entries.len()
            );
            Violation::new(folder, 0, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    fn found(folder: &str, count: usize) -> Vec<String> {
        let paths: Vec<_> = (0..count)
            .map(|index| match index % 2 {
                0 => format!("{folder}/f{index}.rs"),
                _ => format!("{folder}/f{index}/mod.rs"),
            })
            .collect();
        let files: Vec<_> = paths.iter().map(|path| (path.as_str(), "")).collect();
        check(&fixture(&files))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_crowded_folder_of_sources_is_found() {
        for folder in ["x/src", "x/src/deep/er", "sdk/x/src"] {
            assert_eq!(found(folder, ENTRIES_MAX), [""; 0]);
            assert_eq!(
                found(folder, ENTRIES_MAX + 1),
                [format!(
                    "{folder}: 17 entries, more than 16: group what belongs together in a folder of its own"
                )]
            );
        }
    }

    #[test]
    fn folders_of_cases_may_be_long() {
        assert_eq!(found("x/tests/all", 2 * ENTRIES_MAX), [""; 0]);
    }
}
