//! Tries to get through the walls that `docs/security.md` describes, on every host.

mod access_control;
mod foreign;
mod foreseen;
mod lean;
mod names;
mod promises;
mod replies;
mod restricted;
mod rollback;
mod samples;
mod touched;

use ferrite_tests::{Client, Engine, EngineKind, Reply, Server, encode};

use crate::engines::OPS;

/// Each typed operation, and any command, with and without a trap after it.
const TYPED: &str = include_str!("typed.wat");

/// Permissions without any restriction.
const OPEN: &str = r#"{"allow_write":true}"#;

/// A program that runs functions.
enum Host {
    Server(Server),
    Engine(EngineKind, Engine),
}

impl Host {
    /// Starts one of each kind that is at hand.
    fn each() -> Vec<Self> {
        let engines = EngineKind::here()
            .into_iter()
            .map(|kind| Self::Engine(kind, kind.start()));
        std::iter::once(Self::Server(Server::start()))
            .chain(engines)
            .collect()
    }

    fn client(&self) -> Client {
        match self {
            Self::Server(server) => server.client(),
            Self::Engine(_, engine) => engine.client(),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Server(_) => "ferrite-server".to_owned(),
            Self::Engine(kind, _) => format!("{kind:?}"),
        }
    }
}

/// Loads the function of `ops.wat` under a name, with these permissions.
fn load_ops(client: &mut Client, name: &str, permissions: &str) {
    let reply = client.call(&["WASM.DEFINE", name, OPS, "PERMISSIONS", permissions]);
    assert_eq!(reply.error(), None, "{name}");
}

/// The request that has the function `name` run a command by `call`.
fn request_of(name: &str, words: &[&str]) -> Vec<Vec<u8>> {
    let entry = format!("{name}.any");
    [
        b"WASM.CALL",
        entry.as_bytes(),
        b"KEYS",
        b"ARGS",
        words[0].as_bytes(),
    ]
    .into_iter()
    .map(<[u8]>::to_vec)
    .chain([encode(&words[1..])])
    .collect()
}

/// A function's answer to a command: a status, or the reply in RESP.
fn any(client: &mut Client, name: &str, words: &[&str]) -> Result<String, i64> {
    match client.call(&request_of(name, words)) {
        Reply::Int(status) => Err(status),
        reply => Ok(reply
            .text()
            .unwrap_or_else(|| panic!("{words:?}: {reply:?}"))
            .to_owned()),
    }
}
