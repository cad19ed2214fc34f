//! Each file in `cases` holds the exact output of its commands.

use std::fs;
use std::path::PathBuf;

use crate::transcript;

/// `SNAPSHOTS=overwrite` writes the files anew.
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "the texts name x86-64 as this machine's target"
)]
#[test]
fn every_case_prints_what_it_says() {
    let mut cases: Vec<PathBuf> = fs::read_dir(transcript::tests().join("cases"))
        .expect("the cases are there")
        .map(|entry| entry.expect("the cases can be listed").path())
        .collect();
    cases.sort();
    let mut failed = Vec::new();
    for case in cases {
        let text = fs::read_to_string(&case).expect("a case is text");
        let sandbox = transcript::sandbox();
        let actual = transcript::run(&text, sandbox.path());
        let assert = snapbox::Assert::new().action_env("SNAPSHOTS");
        let golden = snapbox::Data::read_from(&case, None).raw();
        if let Err(error) = assert.try_eq(Some(&case.display()), actual.into(), golden) {
            failed.push(error.to_string());
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
