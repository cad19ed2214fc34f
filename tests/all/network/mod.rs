//! Requests of functions to other servers, in the standalone server and in Valkey.

mod config;
mod engines;
mod engines_losses;
mod engines_outbox;
mod outbox;
pub(crate) mod peer;
pub(crate) mod receiver;
mod server;
mod upstream;
mod upstream_cluster;

use ferrite_tests::{Client, Reply};

use peer::Peer;

pub(crate) const CALL: &str = include_str!("call.wat");

/// Defines the function `f`, which may make every request to `peer`.
#[track_caller]
pub(crate) fn define(client: &mut Client, peer: &Peer) {
    let permissions = format!(
        r#"{{"allow_write": true, "allow_network": ["GET {}"]}}"#,
        peer.url("/*")
    );
    let reply = client.call(&[
        "WASM.DEFINE",
        "f",
        CALL,
        "PERMISSIONS",
        &permissions,
        "REPLACE",
    ]);
    let defined = reply.text().is_some_and(|text| text.starts_with("blake3:"));
    assert!(defined, "{reply:?}");
}

/// Encodes a request as a guest does.
pub(crate) fn request(url: &str) -> String {
    String::from_utf8(ferrite_tests::encode(&["GET", url, ""])).expect("text")
}

/// Calls `f` for a URL.
pub(crate) fn call(client: &mut Client, url: &str) -> Reply {
    client.call(&["WASM.CALL", "f", "ARGS", &request(url)])
}

/// The response `hello` from a URL.
pub(crate) fn hello(url: &str) -> Reply {
    let len = url.len();
    let text = format!(
        "*5\r\n:200\r\n${len}\r\n{url}\r\n$5\r\nhello\r\n$14\r\ncontent-length\r\n$1\r\n5\r\n"
    );
    Reply::Bulk(text.into_bytes())
}
