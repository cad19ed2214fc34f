//! The fate of events when much or the worst happens: kills, a full disk, slow functions, loops, very many
//! events.
//!
//! Most tests append numbers to lists, and a trigger notes each append in the list `log`. Then the lists say
//! which events there were, and in which order, whatever a client knows of it.

#![allow(
    clippy::print_stdout,
    reason = "the tests say what they counted and measured"
)]

mod kills;
mod loops;
mod many;
mod pressure;

use std::collections::BTreeMap;

use ferrite_tests::{Client, Reply};

use super::{NOTE, define, ok};

/// Adds 1 to the key that has `n` before the name of its first one.
const TALLY: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "n")
  (func (export "run")
    (drop (call $incr_by (i32.const 64)
      (i32.add (call $key (i32.const 0) (i32.const 65) (i32.const 256)) (i32.const 1))
      (i64.const 1) (i32.const 0)))))"#;

/// Defines the function that notes, and a trigger for it.
pub(crate) fn note_appends(client: &mut Client) {
    define(client, "note", NOTE);
    let add = "WASM.TRIGGER ADD t note KEYS list:* EVENTS rpush";
    assert_eq!(client.run(add), ok());
}

/// A figure of the trigger `t`.
pub(crate) fn figure(client: &mut Client, field: &str) -> i64 {
    let info = client.run("WASM.TRIGGER INFO t");
    let value = info.at(field).and_then(Reply::int);
    value.unwrap_or_else(|| panic!("no {field} in {info:?}"))
}

/// Counts of a check of all notes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// Appends, each of which was noted once.
    pub(crate) appends: usize,
    /// Notes of a second try or a later one.
    pub(crate) tried_again: usize,
}

/// Waits until no event waits, and checks that each append to a list was noted once and in order.
pub(crate) fn check_notes(client: &mut Client) -> Counted {
    while figure(client, "pending") != 0 {}
    let log = client.run("LRANGE log 0 -1");
    let mut noted: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut counted = Counted::default();
    for note in log.elements().expect("a list") {
        let note = note.text().expect("text");
        let parts: Vec<&str> = note.split('|').collect();
        let [key, "rpush", .., after, "t", number, attempt, _] = parts[..] else {
            panic!("a note: {note}");
        };
        assert!(number.parse::<u64>().is_ok(), "{note}");
        let last = after.trim_end().rsplit("\r\n").next();
        let last = last.and_then(|last| last.parse().ok());
        let list = noted.entry(key.to_owned()).or_default();
        list.push(last.expect("a number"));
        assert!(
            after.starts_with(&format!("*{}\r\n", list.len())),
            "not in order: {note}"
        );
        counted.appends += 1;
        counted.tried_again += usize::from(attempt != "1");
    }
    let keys = client.run("KEYS list:*");
    let keys = keys.elements().expect("a list");
    assert_eq!(keys.len(), noted.len(), "{noted:?}");
    for (key, noted) in &noted {
        let list = client.call(&["LRANGE", key, "0", "-1"]);
        let list = list.elements().expect("a list").iter();
        let list: Vec<usize> = list.filter_map(|one| one.text()?.parse().ok()).collect();
        assert_eq!(list, *noted, "{key}");
    }
    counted
}
