//! Functions with types of their own give the replies that a component runtime's results stand for.

use std::fs;
use std::io::{BufRead as _, Write as _};
use std::path::Path;

use fastrand::Rng;
use ferrite_tests::{Reply, Server};
use serde_json::{Value, json};

use super::{Oracle, component, decode, encode, python};

/// Calls of each round.
const CALLS: usize = 400;

/// A call: the words that a client sends, and the values that they stand for.
struct Typed {
    name: &'static str,
    words: Vec<Vec<u8>>,
    values: Vec<Value>,
}

impl Typed {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            words: Vec::new(),
            values: Vec::new(),
        }
    }

    fn add(&mut self, word: impl Into<Vec<u8>>, value: Value) {
        self.words.push(word.into());
        self.values.push(value);
    }

    fn number(&mut self, rng: &mut Rng, least: i64, most: i64) {
        let number = match rng.u8(..4) {
            0 => least,
            1 => most,
            2 => 0.clamp(least, most),
            _ => rng.i64(least..=most),
        };
        self.add(number.to_string(), json!(number));
    }

    fn text(&mut self, rng: &mut Rng) {
        let text = text(rng);
        self.add(text.as_bytes(), json!(text));
    }

    /// Makes any call.
    fn generate(rng: &mut Rng) -> Self {
        let names = [
            "echo", "missing", "numbers", "largest", "half", "letter", "color", "nothing",
            "wrapped", "verdict", "shapes", "result", "coded",
        ];
        let name = names[rng.usize(..names.len())];
        let mut call = Self::new(name);
        match name {
            "echo" => call.echo(rng),
            "missing" => call.missing(rng),
            "numbers" | "largest" => {
                let mut numbers = Vec::new();
                for _ in 0..rng.usize(..6) {
                    let number = match name {
                        "numbers" => json!(rng.i16(..)),
                        _ => json!(rng.u64(..) >> rng.u32(..64)),
                    };
                    call.words.push(number.to_string().into());
                    numbers.push(number);
                }
                call.values.push(json!(numbers));
            }
            "half" => call.number(rng, i64::MIN, i64::MAX),
            "letter" | "color" => call.number(rng, 0, u32::MAX.into()),
            "nothing" => call.text(rng),
            "shapes" => {
                call.number(rng, 0, i32::MAX.into());
                call.text(rng);
            }
            "result" => {
                call.number(rng, -2, 9);
                // As the text of an error, it begins with a code.
                let text = format!("CODE {}", rng.u32(..));
                call.add(text.as_bytes(), json!(text));
            }
            _ => call.number(rng, i32::MIN.into(), i32::MAX.into()),
        }
        call
    }

    fn echo(&mut self, rng: &mut Rng) {
        let flag = rng.bool();
        let words = [["false", "0", "FALSE"], ["true", "1", "True"]];
        self.add(words[usize::from(flag)][rng.usize(..3)], json!(flag));
        for bits in [8, 16, 32] {
            let (signed, unsigned) = (i64::MAX >> (64 - bits), (1 << bits) - 1);
            self.number(rng, -signed - 1, signed);
            self.number(rng, 0, unsigned);
        }
        self.number(rng, i64::MIN, i64::MAX);
        let number = rng.u64(..);
        self.add(number.to_string(), json!(number));
        self.text(rng);
        let bytes: Vec<u8> = (0..rng.usize(..20)).map(|_| rng.u8(..)).collect();
        let value = json!({"hex": encode(&bytes)});
        self.add(bytes, value);
    }

    /// The last ones may be missing.
    fn missing(&mut self, rng: &mut Rng) {
        self.text(rng);
        let given = rng.usize(..7);
        let mut rest = Vec::new();
        for parameter in 0..given {
            match parameter {
                0 => self.number(rng, 0, u32::MAX.into()),
                1 => {
                    let flag = rng.bool();
                    self.add(if flag { "1" } else { "0" }, json!(flag));
                }
                2 => self.text(rng),
                _ => {
                    let text = text(rng);
                    self.words.push(text.as_bytes().into());
                    rest.push(text);
                }
            }
        }
        self.values.resize(4, Value::Null);
        self.values.push(json!(rest));
    }
}

fn text(rng: &mut Rng) -> String {
    (0..rng.usize(..30)).map(|_| rng.char(..)).collect()
}

/// Calls the function in the component runtime.
fn expected(oracle: &mut Oracle, call: &Typed) -> Reply {
    let line = json!({"name": call.name, "args": call.values});
    writeln!(oracle.calls, "{line}").expect("the oracle reads");
    let mut line = String::new();
    oracle
        .replies
        .read_line(&mut line)
        .expect("the oracle writes");
    reply(&serde_json::from_str(&line).expect("the oracle answers"))
}

fn reply(answer: &Value) -> Reply {
    let (kind, value) = answer
        .as_object()
        .and_then(|object| object.iter().next())
        .expect("one member");
    let items = || value.as_array().expect("a list").iter();
    match kind.as_str() {
        "null" => Reply::Null,
        "ok" => Reply::Simple("OK".into()),
        "bool" => Reply::Bool(value.as_bool().expect("a truth")),
        "int" => Reply::Int(value.as_i64().expect("an integer")),
        // As a text, because not every reader of JSON keeps all digits.
        "double" => {
            let text = value.as_str().expect("a text");
            Reply::Double(text.parse().expect("a number"))
        }
        "bulk" => Reply::Bulk(decode(value.as_str().expect("hex"))),
        "error" => Reply::Error(value.as_str().expect("a text").into()),
        "array" => Reply::Array(items().map(reply).collect()),
        "map" => {
            let mut pairs: Vec<_> = items()
                .map(|pair| (reply(&pair[0]), reply(&pair[1])))
                .collect();
            // As the client sorts them.
            pairs.sort_by_key(|pair| format!("{pair:?}"));
            Reply::Map(pairs)
        }
        other => panic!("{other} is no reply"),
    }
}

#[test]
fn functions_with_types_of_their_own_reply_as_in_a_component_runtime() {
    let Some(python) = python() else { return };
    let scratch = tempfile::tempdir().expect("there is room for a folder");
    let component = component(&python, "typed/typed", scratch.path());
    let file = scratch.path().join("component.wasm");
    fs::write(&file, &component).expect("it can be written");
    let mut oracle = Oracle::start_script(&python, Path::new("typed/oracle.py"), &file);
    let server = Server::start();
    let mut client = server.client();
    client.hello3();
    for (round, isolation) in (0..).zip(["rewind", "fresh", "reuse"]) {
        let load = [&b"WASM.LOAD"[..], b"typed", &component, b"ISOLATION"];
        let loaded = client.call(&[&load[..], &[isolation.as_bytes(), b"REPLACE"]].concat());
        assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
        let mut rng = Rng::with_seed(round);
        for number in 0..CALLS {
            let call = Typed::generate(&mut rng);
            let name = format!("typed.{}", call.name);
            // Words come from KEYS first.
            let keys = rng.usize(..=call.words.len());
            let mut words: Vec<&[u8]> = vec![b"WASM.CALL", name.as_bytes(), b"KEYS"];
            words.extend(call.words[..keys].iter().map(Vec::as_slice));
            words.push(b"ARGS");
            words.extend(call.words[keys..].iter().map(Vec::as_slice));
            let found = client.call(&words);
            let expected = expected(&mut oracle, &call);
            assert_eq!(
                found, expected,
                "{isolation}, call {number}: {name} {:?}",
                call.values
            );
        }
    }
    refuses_other_words(&mut client);
}

fn refuses_other_words(client: &mut ferrite_tests::Client) {
    for (call, expected) in [
        (
            "WASM.CALL typed.half",
            "INVALID a word is missing: half takes (n: s64), from KEYS and then ARGS",
        ),
        (
            "WASM.CALL typed.half ARGS 1 2",
            "INVALID there are too many words: half takes (n: s64), from KEYS and then ARGS",
        ),
        (
            "WASM.CALL typed.half ARGS 9223372036854775808",
            "INVALID n is none: half takes (n: s64), from KEYS and then ARGS",
        ),
        ("WASM.CALL typed.half ARGS 1.5", "INVALID n is none: half"),
        ("WASM.CALL typed.half ARGS -", "INVALID n is none: half"),
        ("WASM.CALL typed.color ARGS -1", "INVALID n is none: color"),
        (
            "WASM.CALL typed.color ARGS 4294967296",
            "INVALID n is none: color",
        ),
        (
            "WASM.CALL typed.numbers ARGS 1 32768",
            "INVALID all is none: numbers takes (all: list<s16>)",
        ),
        (
            "WASM.CALL typed.missing ARGS a 1 yes",
            "INVALID flag is none: missing takes (name: string, count: option<u32>, flag: option<bool>, note: option<string>, rest: list<string>)",
        ),
    ] {
        let reply = client.run(call);
        let error = reply.error().unwrap_or_else(|| panic!("{call}: {reply:?}"));
        assert!(error.starts_with(expected), "{call}: {error}");
    }
    let binary = client.call(&[&b"WASM.CALL"[..], b"typed.nothing", b"ARGS", b"\xff"]);
    let error = binary.error().expect("it is no text");
    assert!(error.starts_with("INVALID text is none"), "{error}");
}
