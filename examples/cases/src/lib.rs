//! The table of cases that every example is tested with, in every language.
//!
//! `cases.json` is a list of cases. Each names a function, seeds the store with commands, makes
//! calls and looks at the data afterwards. Whoever has a store runs it: [`run_on_mock`] runs the
//! Rust functions on the SDK's mock, [`run_on_server`] runs anything on a server.
//!
//! A reply is written in JSON: `null`, `true`, numbers without a point as integers, strings and
//! arrays as themselves, and by one-member objects `{"double": 1.5}`, `{"simple": "OK"}`,
//! `{"map": [[key, value], …]}`, `{"error": text}` and `{"error_with": [part, …]}`, an error whose
//! text starts with the first part and has the others, and `{"between": [least, most]}`, an integer
//! that depends on the time. A key or argument that is not text is
//! `{"hex": "ff"}`.

mod connection;
mod reply;

use std::io::{Read, Write};

use serde::Deserialize;

use ferrite_wasm_sdk::{Entry, Value, mock};

pub use connection::Connection;
pub use reply::Expected;

/// One case of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Subject of the case, unique in the table.
    pub name: String,
    /// Name of the function it calls.
    pub function: String,
    /// Commands that prepare an empty store.
    #[serde(default)]
    pub seed: Vec<Vec<String>>,
    /// Calls of the function, in order.
    pub calls: Vec<Call>,
    /// Commands that look at the store afterwards.
    #[serde(default)]
    pub then: Vec<Check>,
}

/// One call of a case's function.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Its KEYS.
    pub keys: Vec<Bytes>,
    /// Its ARGS.
    pub args: Vec<Bytes>,
    /// The reply it must give.
    pub reply: Expected,
}

/// A command and the reply it must give.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The reply it must give.
    pub reply: Expected,
}

/// A key or an argument.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// One that is text.
    Text(String),
    /// One that is not.
    Hex {
        /// Its bytes, two digits each.
        #[serde(with = "hex::serde")]
        hex: Vec<u8>,
    },
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Hex { hex } => hex,
        }
    }
}

/// The table's cases of one function.
///
/// # Panics
///
/// Fails if the table cannot be read, or has no case of that function.
#[must_use]
pub fn of(function: &str) -> Vec<Case> {
    let table = include_str!("../cases.json");
    let cases = read(table).unwrap_or_else(|error| panic!("cases.json: {error}"));
    let cases: Vec<_> = cases
        .into_iter()
        .filter(|case| case.function == function)
        .collect();
    assert!(!cases.is_empty(), "cases.json has no case of {function}");
    cases
}

/// Reads a table.
///
/// # Errors
///
/// Fails if the text is not such a table.
pub fn read(table: &str) -> Result<Vec<Case>, serde_json::Error> {
    serde_json::from_str(table)
}

/// Runs cases against a function of this language, on the SDK's store in memory.
///
/// # Panics
///
/// Fails if a reply differs from the one in the table.
pub fn run_on_mock(cases: &[Case], entry: &'static Entry) {
    for case in cases {
        let store = mock::Store::new();
        for command in &case.seed {
            if let Value::Error(text) = store.command(command) {
                panic!("{}: {command:?} answered {text}", case.name);
            }
        }
        for call in &case.calls {
            let reply = store.call(entry, &call.keys, &call.args);
            expect(&case.name, &call.reply, &reply);
        }
        for check in &case.then {
            let reply = store.command(&check.command);
            expect(&case.name, &check.reply, &reply);
        }
    }
}

/// Runs cases on a server, whose data goes. `request` says how a call is written as a command.
///
/// # Panics
///
/// Fails if a reply differs from the one in the table, or if the server is gone.
pub fn run_on_server<S: Read + Write>(
    cases: &[Case],
    connection: &mut Connection<S>,
    request: impl Fn(&Case, &Call) -> Vec<Vec<u8>>,
) {
    for case in cases {
        let mut command = |argv: &[Vec<u8>]| {
            connection
                .command(argv)
                .unwrap_or_else(|error| panic!("{}: {error}", case.name))
        };
        let words = |argv: &[String]| -> Vec<Vec<u8>> {
            argv.iter().map(|word| word.clone().into_bytes()).collect()
        };
        command(&[b"FLUSHALL".to_vec()]);
        for seed in &case.seed {
            if let Value::Error(text) = command(&words(seed)) {
                panic!("{}: {seed:?} answered {text}", case.name);
            }
        }
        for call in &case.calls {
            let reply = command(&request(case, call));
            expect(&case.name, &call.reply, &reply);
        }
        for check in &case.then {
            let reply = command(&words(&check.command));
            expect(&case.name, &check.reply, &reply);
        }
    }
}

fn expect(case: &str, expected: &Expected, reply: &Value) {
    assert!(
        expected.matches(reply),
        "{case}: expected {expected:?}, got {reply:?}"
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_table_reads_and_its_names_are_unique() {
        let cases = super::read(include_str!("../cases.json")).expect("the table is well-formed");
        let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
        assert_eq!(names.len(), cases.len());
    }

    #[test]
    fn the_pages_show_the_examples_as_they_are() {
        let abi = include_str!("../../../docs/guest-abi.md");
        assert!(abi.contains(include_str!("../../wat/compare_and_set.wat")));
        let from_lua = include_str!("../../../docs/guide/from-lua.md");
        assert!(from_lua.contains(include_str!("../../from-lua/lua/versioned_update.lua")));
    }

    #[test]
    fn the_page_on_lua_links_each_function_at_its_line() {
        let page = include_str!("../../../docs/guide/from-lua.md");
        let javascript = include_str!("../../from-lua-javascript/from_lua_javascript.js");
        let python = include_str!("../../from-lua-python/functions.py");
        let cases = super::read(include_str!("../../from-lua/cases.json"))
            .expect("the table is well-formed");
        let functions: BTreeSet<_> = cases.into_iter().map(|case| case.function).collect();
        for function in functions {
            let row = page
                .lines()
                .find(|line| line.contains(&format!("/{function}.lua)")))
                .unwrap_or_else(|| panic!("no row has {function}"));
            for (source, file, definitions) in [
                (
                    javascript,
                    "from_lua_javascript.js",
                    vec![
                        format!("export const {function} ="),
                        format!("export function {function}("),
                    ],
                ),
                (python, "functions.py", vec![format!("def {function}(")]),
            ] {
                let line = source
                    .lines()
                    .position(|line| definitions.iter().any(|start| line.starts_with(start)))
                    .unwrap_or_else(|| panic!("{file} has no {function}"))
                    + 1;
                let link = format!("[line {line}](../../examples/");
                let anchor = format!("{file}#L{line})");
                assert!(
                    row.contains(&link) && row.contains(&anchor),
                    "{function} is at line {line} of {file}: {row}"
                );
            }
        }
    }
}
