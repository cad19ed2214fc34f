//! Inputs as files, each beside the text that is expected of it.

use std::fs;
use std::path::{Path, PathBuf};

/// Compares what `describe` says of every file in `tests/<folder>` with the `.txt` beside it.
///
/// `SNAPSHOTS=overwrite` writes the files anew.
pub(crate) fn check_folder(folder: &str, describe: impl Fn(&[u8]) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let mut inputs: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension != "txt"))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    let assert = snapbox::Assert::new().action_env("SNAPSHOTS");
    let mut failed = Vec::new();
    for input in inputs {
        let actual = describe(&fs::read(&input).expect("the input can be read"));
        let golden = snapbox::Data::read_from(&input.with_extension("txt"), None).raw();
        if let Err(error) = assert.try_eq(Some(&input.display()), actual.into(), golden) {
            failed.push(error.to_string());
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
