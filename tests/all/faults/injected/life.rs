//! A life of a server: writes to it, and what of them may be there afterwards.

use std::collections::BTreeMap;

use ferrite_tests::{Client, Reply, Server, encode};

use crate::support::guests::ADD1;

/// A key, or a function, by its name.
pub(super) type Name = String;

/// A client's knowledge of the data: for each name, every state that it may be in.
#[derive(Debug, Default)]
pub(super) struct Model {
    keys: BTreeMap<Name, Vec<Option<Vec<u8>>>>,
    /// True for each if a function may be there, and may be absent.
    functions: BTreeMap<Name, Vec<bool>>,
    /// The last round of `MULTI` that was answered, and the last that was sent.
    pub(super) rounds_done: u64,
    pub(super) rounds_sent: u64,
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    /// It was refused or its reply never came: it may have happened or not.
    Unknown,
}

/// A function that returns its number, and so differs from others.
fn guest(number: usize) -> String {
    format!(
        "(module (memory (export \"memory\") 1) (func (export \"run\") (result i32) i32.const {number}))"
    )
}

/// The client's connection, made again when the server has closed it.
struct Connection<'s> {
    server: &'s Server,
    client: Option<Client>,
}

impl Connection<'_> {
    /// Sends a request; `None` if there is no reply.
    fn call(&mut self, words: &[&[u8]]) -> Option<Reply> {
        if self.client.is_none() {
            self.client = Client::try_connect(self.server.address()).ok();
        }
        let client = self.client.as_mut()?;
        let reply = match client.try_send(&encode(words)) {
            Ok(()) => client.next(),
            Err(_) => None,
        };
        if reply.is_none() {
            self.client = None;
        }
        reply
    }

    fn outcome(&mut self, words: &[&[u8]]) -> Outcome {
        match self.call(words) {
            None | Some(Reply::Error(_)) => Outcome::Unknown,
            Some(_) => Outcome::Done,
        }
    }
}

impl Model {
    fn set(&mut self, connection: &mut Connection<'_>, key: &str, value: Vec<u8>) {
        let outcome = connection.outcome(&[b"SET", key.as_bytes(), &value]);
        self.wrote(key, Some(value), outcome);
    }

    fn delete(&mut self, connection: &mut Connection<'_>, key: &str) {
        let outcome = connection.outcome(&[b"DEL", key.as_bytes()]);
        self.wrote(key, None, outcome);
    }

    fn wrote(&mut self, key: &str, value: Option<Vec<u8>>, outcome: Outcome) {
        let states = self
            .keys
            .entry(key.to_owned())
            .or_insert_with(|| vec![None]);
        if outcome == Outcome::Done {
            states.clear();
        }
        states.push(value);
    }

    fn function(&mut self, name: &str, there: bool, outcome: Outcome) {
        let states = self
            .functions
            .entry(name.to_owned())
            .or_insert_with(|| vec![false]);
        if outcome == Outcome::Done {
            states.clear();
        }
        states.push(there);
    }

    /// Writes three keys in one transaction, all with the same number.
    fn round(&mut self, connection: &mut Connection<'_>) {
        self.rounds_sent += 1;
        let number = self.rounds_sent.to_string();
        let mut done = connection.outcome(&[b"MULTI"]) == Outcome::Done;
        for key in ["round:a", "round:b"] {
            done &=
                connection.outcome(&[b"SET", key.as_bytes(), number.as_bytes()]) == Outcome::Done;
        }
        done &= connection.outcome(&[b"RPUSH", b"rounds", number.as_bytes()]) == Outcome::Done;
        let Some(Reply::Array(replies)) = connection.call(&[b"EXEC"]) else {
            return;
        };
        if done && replies.iter().all(|reply| reply.error().is_none()) {
            self.rounds_done = self.rounds_sent;
        }
    }

    /// Writes data of every kind, and loads and unloads functions.
    pub(super) fn live(&mut self, server: &Server) {
        let connection = &mut Connection {
            server,
            client: None,
        };
        for index in 0..12_u8 {
            self.set(connection, &format!("key:{}", index % 5), vec![index; 20]);
            self.round(connection);
        }
        self.set(connection, "large", vec![b'x'; 300_000]);
        self.delete(connection, "key:1");
        for (name, number) in [("one", 1), ("two", 2), ("one", 3)] {
            let source = guest(number);
            let words: [&[u8]; 4] = [
                b"WASM.DEFINE",
                name.as_bytes(),
                source.as_bytes(),
                b"REPLACE",
            ];
            let outcome = connection.outcome(&words);
            self.function(name, true, outcome);
            connection.call(&[b"WASM.CALL", name.as_bytes()]);
        }
        let outcome = connection.outcome(&[b"WASM.DEFINE", b"add1", ADD1.as_bytes()]);
        self.function("add1", true, outcome);
        let outcome = connection.outcome(&[b"WASM.UNLOAD", b"two"]);
        // Unloading what is not there changes nothing, and is an error.
        self.function("two", false, outcome);
        for _ in 0..6 {
            self.round(connection);
        }
        self.set(connection, "large", vec![b'y'; 200_000]);
        self.set(connection, "last", b"last".to_vec());
    }

    /// Compares what a server has with what it may have. With `durable` every answered write must be
    /// there; without, some of the last ones may be missing, but no half of one. `cached` is false if
    /// the server said that it could not keep the code of functions.
    pub(super) fn check(&self, server: &Server, durable: bool, cached: bool) {
        let mut client = server.client();
        let number = |reply: &Reply| match reply {
            Reply::Null => 0,
            reply => reply
                .text()
                .expect("text")
                .parse::<u64>()
                .expect("a number"),
        };
        let (a, b) = (client.run("GET round:a"), client.run("GET round:b"));
        assert_eq!(a, b, "half of a transaction is there");
        let found = number(&a);
        assert!(found <= self.rounds_sent);
        let list = client.run("LRANGE rounds 0 -1");
        let list: Vec<u64> = list
            .elements()
            .expect("a list")
            .iter()
            .map(number)
            .collect();
        assert_eq!(list.last().copied().unwrap_or(0), found, "{list:?}");
        assert!(list.is_sorted_by(|one, other| one < other), "{list:?}");
        if durable {
            assert!(
                found >= self.rounds_done,
                "round {} was answered, and {found} is the last",
                self.rounds_done
            );
            for (key, states) in &self.keys {
                let state = match client.call(&["GET", key]) {
                    Reply::Null => None,
                    Reply::Bulk(bytes) => Some(bytes),
                    other => panic!("{key}: {other:?}"),
                };
                let short = |bytes: &Option<Vec<u8>>| {
                    bytes
                        .as_ref()
                        .map(|bytes| (bytes.first().copied(), bytes.len()))
                };
                assert!(
                    states.contains(&state),
                    "{key} is {:?} and may be {:?}",
                    short(&state),
                    states.iter().map(short).collect::<Vec<_>>()
                );
            }
        }
        for (name, states) in &self.functions {
            let known = client.call(&["WASM.INFO", name]).error().is_none();
            assert!(states.contains(&known), "{name}: {known}, of {states:?}");
            if known {
                let called = match name.as_str() {
                    "add1" => client.run("WASM.CALL add1 ARGS 1"),
                    name => client.call(&["WASM.CALL", name]),
                };
                let lost = !cached
                    && called
                        .error()
                        .is_some_and(|text| text.starts_with("NOARTIFACT "));
                assert!(
                    matches!(called, Reply::Int(1..=3)) || lost,
                    "{name}: {called:?}"
                );
            }
        }
        // And it goes on from there.
        assert_eq!(client.run("SET after ok"), Reply::Simple("OK".into()));
        assert_eq!(client.run("GET after"), Reply::Bulk(b"ok".to_vec()));
    }
}
