//! The tables that all SDKs are tested with: how numbers are read, and what commands reply.

use ferrite_wasm_sdk::*;
use serde::Deserialize;

#[ferrite_function]
fn integer(number: i64) -> i64 {
    number
}

#[ferrite_function]
fn unsigned(number: u64) -> u64 {
    number
}

#[ferrite_function]
fn float(number: f64) -> f64 {
    number
}

/// Readings of texts as numbers of one kind: as a number with this text, or not at all.
type Numbers = Vec<(String, Option<String>)>;

#[derive(Deserialize)]
struct NumberCases {
    integer: Numbers,
    unsigned: Numbers,
    float: Numbers,
    stored_integer: Numbers,
}

#[test]
fn numbers_are_read_as_in_every_sdk() {
    let cases: NumberCases = serde_json::from_str(include_str!("../../../number-cases.json"))
        .expect("the table has this form");
    assert!(cases.integer.len() > 30 && cases.unsigned.len() > 10 && cases.float.len() > 90);
    let store = mock::Store::new();
    let read = |entry, text: &str| match store.call(entry, [""; 0], [text]) {
        Value::Error(_) => None,
        reply => Some(reply),
    };
    for (text, expected) in &cases.integer {
        let expected = expected
            .as_ref()
            .map(|it| Value::Int(it.parse().expect("an i64")));
        assert_eq!(read(entry!(integer), text), expected, "{text:?}");
    }
    for (text, expected) in &cases.unsigned {
        // What is beyond an integer reply is replied as text.
        let expected = expected.as_ref().map(|it| match it.parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::from(it.as_str()),
        });
        assert_eq!(read(entry!(unsigned), text), expected, "{text:?}");
    }
    for (text, expected) in &cases.float {
        let bits = |number: f64| number.to_bits();
        let expected = expected
            .as_ref()
            .map(|it| bits(it.parse().expect("an f64")));
        let found = read(entry!(float), text).map(|reply| match reply {
            Value::Double(number) => bits(number),
            other => panic!("{text:?} is read as {other:?}"),
        });
        assert_eq!(found, expected, "{text:?}");
    }
    for (text, expected) in &cases.stored_integer {
        store.set("k", text);
        let reply = store.command(&["INCRBY", "k", "0"]);
        let expected = expected
            .as_ref()
            .map(|it| Value::Int(it.parse().expect("an i64")));
        assert_eq!(
            Some(reply).filter(|it| !matches!(it, Value::Error(_))),
            expected,
            "{text:?}"
        );
    }
}

/// Returns the reply that the table expects.
fn expected(reply: &serde_json::Value) -> Value {
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    match reply {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Number(number) => Value::Int(number.as_i64().expect("an i64")),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(expected).collect()),
        reply => match reply.get("simple") {
            Some(simple) => Value::Simple(text(simple)),
            None => Value::Error(text(&reply["error"])),
        },
    }
}

/// Returns a reply's items in an order of their own; a map's pairs are items.
fn any_order(reply: Value) -> Vec<String> {
    let items = match reply {
        Value::Map(pairs) => pairs
            .into_iter()
            .map(|(key, value)| Value::Array([key, value].into()))
            .collect(),
        Value::Array(items) => items,
        other => panic!("{other:?} has no items"),
    };
    let mut items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
    items.sort();
    items
}

#[test]
fn the_mocks_commands_reply_as_in_valkey() {
    let table: serde_json::Value =
        serde_json::from_str(include_str!("../../../command-cases.json"))
            .expect("the table is JSON");
    let groups = table.as_object().expect("groups by name");
    assert_eq!(groups.len(), 6);
    for cases in groups.values() {
        let store = mock::Store::new();
        for case in cases.as_array().expect("a list of cases") {
            let argv: Vec<String> =
                serde_json::from_value(case[0].clone()).expect("a command's words");
            let reply = store.command(&argv);
            match case[1].get("any_order") {
                Some(items) => assert_eq!(any_order(reply), any_order(expected(items)), "{argv:?}"),
                None => assert_eq!(reply, expected(&case[1]), "{argv:?}"),
            }
        }
    }
}
