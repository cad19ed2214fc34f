//! Sentences of the documentation that promise something, each with a test that tries to make it false.
//!
//! They stand in `promises.txt`. A sentence that is reworded has to be changed there too, and a promise that is new gets
//! a row.

use std::fs;
use std::path::Path;

const TABLE: &str = include_str!("promises.txt");

/// A sentence, or the part of one that promises, and its test.
struct Promise {
    page: &'static str,
    says: &'static str,
    file: &'static str,
    test: &'static str,
}

/// Reads the table. Panics at a line that is neither a page, a sentence nor the test of one.
fn promises() -> Vec<Promise> {
    let mut promises = Vec::new();
    let mut page = None;
    let mut sentence: Option<&str> = None;
    for line in TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(named) = line
            .strip_prefix("== ")
            .and_then(|rest| rest.strip_suffix(" =="))
        {
            page = Some(named);
        } else if let Some(test) = line.strip_prefix("    ") {
            let (file, test) = test
                .split_once(' ')
                .unwrap_or_else(|| panic!("no file and test: {line}"));
            promises.push(Promise {
                page: page.unwrap_or_else(|| panic!("no page before: {line}")),
                says: sentence
                    .take()
                    .unwrap_or_else(|| panic!("no sentence before: {line}")),
                file,
                test,
            });
        } else {
            let earlier = sentence.replace(line);
            assert!(earlier.is_none(), "no test after: {earlier:?}");
        }
    }
    assert!(sentence.is_none(), "no test after: {sentence:?}");
    promises
}

/// The pages whose promises are listed, each with the least number of them.
const PAGES: [(&str, usize); 4] = [
    ("README.md", 12),
    ("docs/security.md", 80),
    ("docs/store.md", 22),
    ("docs/valkey.md", 32),
];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are in a folder of the project");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn each_promise_is_made_and_has_its_test() {
    let promises = promises();
    for Promise {
        page,
        says,
        file,
        test,
    } in &promises
    {
        let text = read(page);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(
            words.join(" ").contains(says),
            "{page} no longer says: {says}"
        );
        let is_there = read(file).contains(&format!("fn {test}("));
        assert!(is_there, "{file} has no test {test}, for {page}: {says}");
    }
    for (page, least) in PAGES {
        let count = promises.iter().filter(|one| one.page == page).count();
        assert!(count >= least, "{page}: {count}");
    }
}
