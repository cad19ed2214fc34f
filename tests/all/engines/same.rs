//! One table of commands and replies, which every host must agree on.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ferrite_tests::{Client, EngineKind, Server};

use super::{OPS, TRAPS};
use crate::support::guests::{ADD1, EVERY_TYPE, MIRROR};

const TABLE: &str = include_str!("same.txt");

/// The functions that every language has, in JavaScript.
const JAVASCRIPT: &str = include_str!("../../../examples/javascript/javascript.js");

/// The guest that a word with an @ stands for.
fn guest(name: &str) -> &'static str {
    match name {
        "add1" => ADD1,
        "types" => EVERY_TYPE,
        "mirror" => MIRROR,
        "ops" => OPS,
        "traps" => TRAPS,
        "js" => JAVASCRIPT,
        _ => panic!("the table has no module @{name}"),
    }
}

/// The words of a line: separated by blanks, or in quotes with `\r`, `\n`, `\"` and `\\`.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => in_quotes(quoted),
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                let word = &rest[..end];
                let text = match word.strip_prefix('@') {
                    Some(name) => guest(name),
                    None => word,
                };
                (text.to_owned(), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    words
}

fn in_quotes(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (word, &text[at + 1..]),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('r') => word.push('\r'),
                Some('n') => word.push('\n'),
                Some(other) => word.push(other),
                None => break,
            },
            other => word.push(other),
        }
    }
    panic!("a quote is left open in {text}");
}

/// Sends every line of the table; returns the table with the replies.
fn replies(client: &mut Client) -> String {
    let mut table = String::new();
    for line in TABLE.lines() {
        match line.strip_prefix("> ") {
            Some(command) => {
                let reply = client.call(&words(command));
                let _ = write!(table, "{line}\n{reply:?}\n");
            }
            None if line.is_empty() || line.starts_with('#') => {
                let _ = writeln!(table, "{line}");
            }
            // A reply in the table, which is requested again.
            None => {}
        }
    }
    table
}

/// The first lines that differ, each with the command above it.
fn difference(expected: &str, found: &str) -> String {
    let mut text = String::new();
    let mut command = "";
    for (expected, found) in expected.lines().zip(found.lines()) {
        if expected.starts_with("> ") {
            command = expected;
        }
        if expected != found {
            let _ = write!(
                text,
                "{command}\n  expected {expected}\n  found    {found}\n"
            );
        }
    }
    text
}

#[test]
fn the_server_gives_the_replies_of_the_table() {
    let server = Server::start();
    let found = replies(&mut server.client());
    if env::var_os("FERRITE_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("all/engines/same.txt");
        fs::write(path, found).expect("the table can be written");
        return;
    }
    assert!(found == TABLE, "{}", difference(TABLE, &found));
}

#[test]
fn valkey_and_redis_give_the_replies_of_the_table() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&["module-dir", "modules"]).start();
        let found = replies(&mut engine.client());
        assert!(
            found == TABLE,
            "{kind:?} differs:\n{}",
            difference(TABLE, &found)
        );
    }
}
