//! A component as others write them: in Rust, with bindings by `wit-bindgen` and of the crate `wasip2`, for
//! the compiler's own target. It knows interfaces of WASI alone, and runs unchanged.
//!
//! `standard.wasm` is built from the package in `guest/`. `FERRITE_BLESS=1` builds it anew, by a Rust
//! compiler with the target `wasm32-wasip2`.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrite_tests::{Client, Reply, Server};
use serde_json::json;

use crate::network::peer::Peer;

/// Files of the package that decide what is built.
const SOURCES: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "src/descriptors.rs",
    "src/files.rs",
    "src/lib.rs",
    "src/misuse.rs",
    "wit/deps/config/config.wit",
    "wit/deps/keyvalue/keyvalue.wit",
    "wit/world.wit",
];

/// The custom section with the digest of these files.
const SECTION: &str = "tests:sources";

fn package() -> PathBuf {
    super::folder().join("guest")
}

fn sources() -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for file in SOURCES {
        let content = fs::read(package().join(file)).expect("it is there");
        hasher.update(file.as_bytes());
        hasher.update(&(content.len() as u64).to_le_bytes());
        hasher.update(&content);
    }
    hasher.finalize()
}

/// Builds the component, and notes in it what it was built from.
fn build(to: &Path) {
    let target = tempfile::tempdir().expect("there is room for a folder");
    let status = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
        ])
        .current_dir(package())
        .env("CARGO_TARGET_DIR", target.path())
        .status()
        .expect("cargo runs");
    assert!(status.success(), "{status}");
    let built = target.path().join("wasm32-wasip2/release/standard.wasm");
    let mut component = fs::read(built).expect("it was built");
    let digest = sources();
    let content = [
        &[SECTION.len() as u8],
        SECTION.as_bytes(),
        digest.as_bytes(),
    ]
    .concat();
    component.extend([0, content.len() as u8]);
    component.extend(content);
    fs::write(to, component).expect("it can be written");
}

/// Returns the component, which must be the one of these sources.
pub(super) fn component() -> Vec<u8> {
    let kept = super::folder().join("standard.wasm");
    if std::env::var_os("FERRITE_BLESS").is_some() {
        build(&kept);
    }
    let component = fs::read(&kept).expect("it is there");
    let end = [SECTION.as_bytes(), sources().as_bytes()].concat();
    assert!(
        component.ends_with(&end),
        "{} is of other sources; FERRITE_BLESS=1 builds it anew",
        kept.display()
    );
    component
}

/// A server whose functions may reach `127.0.0.1` at every port, and no other address.
fn server() -> Server {
    let config = "[wasm.security]\n\
                  allow_network = [\"http://*:*\"]\n\
                  allow_private_network = [\"127.0.0.1\"]\n\
                  [wasm.network]\n\
                  max_request = \"64KB\"\n\
                  max_response = \"64KB\"\n";
    Server::builder().config(config).start()
}

fn load(client: &mut Client, isolation: &str, rules: &[&str]) {
    let permissions = json!({"allow_write": true, "allow_network": rules}).to_string();
    let component = component();
    let words: [&[u8]; 7] = [
        b"WASM.LOAD",
        b"std",
        &component,
        b"PERMISSIONS",
        permissions.as_bytes(),
        b"ISOLATION",
        isolation.as_bytes(),
    ];
    let loaded = client.call(&words);
    assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
}

fn fetch(client: &mut Client, args: &[&str]) -> Reply {
    client.call(&[&["WASM.CALL", "std.fetch", "ARGS"], args].concat())
}

/// Returns status, headers and body of a response.
fn response(reply: &Reply) -> (i64, String, String) {
    let Reply::Array(parts) = reply else {
        panic!("{reply:?}");
    };
    let [Reply::Int(status), headers, body] = parts.as_slice() else {
        panic!("{reply:?}");
    };
    let text = |part: &Reply| part.text().expect("text").to_owned();
    (*status, text(headers), text(body))
}

/// Returns the error of a call that made no request, or got no response.
fn failure(reply: &Reply) -> String {
    reply
        .error()
        .unwrap_or_else(|| panic!("{reply:?}"))
        .to_owned()
}

#[test]
fn a_request_is_made_by_the_standard_interface() {
    let peer = Peer::start();
    let server = server();
    let mut client = server.client();
    let authority = format!("127.0.0.1:{}", peer.port);
    for isolation in ["rewind", "fresh", "reuse"] {
        load(&mut client, isolation, &[&peer.url("/*")]);
        for _ in 0..3 {
            let reply = fetch(&mut client, &["GET", "http", &authority, "/echo?a=b"]);
            let (status, headers, body) = response(&reply);
            assert_eq!(status, 201);
            assert_eq!(
                headers,
                format!("content-length: {}\nx-two: 1\nx-two: 2", body.len())
            );
            assert!(body.starts_with("GET /echo?a=b HTTP/1.1\r\n"), "{body}");
            assert!(body.contains("\r\nx-asked: yes\r\n"), "{body}");
            let long = "0123456789".repeat(6000);
            let reply = fetch(&mut client, &["POST", "http", &authority, "/echo", &long]);
            let (status, _, body) = response(&reply);
            assert_eq!(status, 201);
            assert!(body.ends_with(&format!("\r\n\r\n{long}")), "{isolation}");
        }
        // A redirection is a response like others.
        let reply = fetch(&mut client, &["GET", "http", &authority, "/moved"]);
        let expected = "content-length: 0\nlocation: /echo";
        assert_eq!(response(&reply), (302, expected.to_owned(), String::new()));
        let reply = fetch(&mut client, &["HEAD", "http", &authority, ""]);
        assert_eq!(response(&reply).2, "");
        assert_eq!(client.run("WASM.UNLOAD std"), Reply::Simple("OK".into()));
    }
    assert_eq!(peer.count(), 3 * 8);
}

#[test]
fn what_is_forbidden_or_wrong_is_an_error_code() {
    let peer = Peer::start();
    let server = server();
    let mut client = server.client();
    load(
        &mut client,
        "rewind",
        &["http://127.0.0.1:*/*", "http://127.0.0.2:*/*"],
    );
    let authority = format!("127.0.0.1:{}", peer.port);
    let elsewhere = format!("127.0.0.2:{}", peer.port);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let unused = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let long = "x".repeat(70_000);
    let good = ["GET", "http", authority.as_str(), "/"];
    let [get, http, here, root] = good;
    for (args, expected) in [
        (
            &[get, http, "example.com", root][..],
            "FAILED ErrorCode::HttpRequestDenied",
        ),
        (
            &[get, "https", here, root],
            "FAILED ErrorCode::HttpRequestDenied",
        ),
        (
            &[get, "", here, root],
            "FAILED ErrorCode::HttpRequestDenied",
        ),
        (
            &[get, http, &elsewhere, root],
            "FAILED ErrorCode::DestinationIpProhibited",
        ),
        (
            &[get, http, &unused, root],
            "FAILED ErrorCode::ConnectionRefused",
        ),
        (
            &[get, http, here, "/a/../b"],
            "FAILED ErrorCode::HttpRequestUriInvalid",
        ),
        (
            &[get, "ftp", here, root],
            "FAILED ErrorCode::HttpRequestUriInvalid",
        ),
        (
            &["TRACE", http, here, root],
            "FAILED ErrorCode::HttpRequestMethodInvalid",
        ),
        (
            &["PURGE", http, here, root],
            "FAILED ErrorCode::HttpRequestMethodInvalid",
        ),
        (&["GE T", http, here, root], "REFUSED method"),
        (&[get, "f tp", here, root], "REFUSED scheme"),
        (&[get, http, "", root], "REFUSED authority"),
        (&[get, http, "user@127.0.0.1", root], "REFUSED authority"),
        (&[get, http, "127.0.0.1/x", root], "REFUSED authority"),
        (&[get, http, here, ".example.com"], "REFUSED path"),
        (&[get, http, here, "/a b"], "REFUSED path"),
        (&[get, http, here, "/\r\nx: y"], "REFUSED path"),
        (
            &["POST", http, here, root, &long],
            "FAILED ErrorCode::HttpRequestBodySize(Some(70000))",
        ),
        (
            &[get, http, here, "/large"],
            "FAILED ErrorCode::HttpResponseBodySize(None)",
        ),
        (
            &[get, http, here, "/silent", "", "1000"],
            "FAILED ErrorCode::HttpResponseTimeout",
        ),
    ] {
        assert_eq!(failure(&fetch(&mut client, args)), expected, "{args:?}");
    }
    assert_eq!(
        peer.requests.try_iter().collect::<Vec<_>>(),
        ["/large", "/silent"]
    );
    // After all of these, one that is good.
    assert_eq!(response(&fetch(&mut client, &good)).2, "hello");

    // Where no request can be made, the error has the reason.
    client.run("MULTI");
    fetch(&mut client, &good);
    let reply = format!("{:?}", client.run("EXEC"));
    assert!(
        reply.contains(r#"FAILED ErrorCode::InternalError(Some("UNAVAILABLE "#),
        "{reply}"
    );
}

#[test]
fn misuse_ends_in_errors_or_ends_the_call() {
    let peer = Peer::start();
    let server = server();
    let mut client = server.client();
    load(&mut client, "reuse", &[&peer.url("/*")]);
    let authority = format!("127.0.0.1:{}", peer.port);
    let mut misuse =
        |what: &str| client.call(&["WASM.CALL", "std.misuse", "ARGS", what, &authority]);
    for (what, expected, requests) in [
        (
            "fields",
            &[
                // Names and values that are none, one that is an option of the host's, and headers of
                // the host.
                "Err(HeaderError::InvalidSyntax)",
                "Err(HeaderError::InvalidSyntax)",
                "Err(HeaderError::InvalidSyntax)",
                "Err(HeaderError::InvalidSyntax)",
                "Err(HeaderError::Forbidden)",
                "Err(HeaderError::Forbidden)",
                "Ok(())",
                "Ok(())",
                "[[49], [255]]",
                // One value is wrong, so that all stay.
                "Err(HeaderError::InvalidSyntax)",
                "2",
                "Ok(())",
                "false",
                "Some(HeaderError::InvalidSyntax)",
                // Those of a request do not change, and a copy does.
                "Err(HeaderError::Immutable)",
                r#"[("kept", [])]"#,
                "Ok(())",
            ][..],
            0,
        ),
        ("unread", &["", "[104, 101]", "hello"], 3),
        (
            "unfinished",
            &[
                "not yet",
                "false",
                r#"ErrorCode::InternalError(Some("body is not finished"))"#,
                "Ok(())",
                "taken",
            ],
            0,
        ),
        (
            "dropped",
            &[
                "ErrorCode::HttpRequestBodySize(None)",
                "Some(ErrorCode::HttpRequestBodySize(None))",
                "Ok(())",
                "Ok(())",
            ],
            0,
        ),
        (
            "length",
            &[
                "HTTP-request-body-size",
                "Some(ErrorCode::HttpRequestBodySize(Some(5)))",
                "Err(StreamError::Closed)",
                "Err(ErrorCode::HttpRequestBodySize(None))",
                "ErrorCode::HttpRequestBodySize(None)",
                "Err(ErrorCode::HttpRequestBodySize(Some(2)))",
                "ErrorCode::HttpRequestBodySize(Some(2))",
                "Ok(())",
                "200",
            ],
            1,
        ),
        (
            "trailers",
            &[
                "Err(ErrorCode::HttpRequestTrailerSectionSize(None))",
                "ErrorCode::HttpRequestTrailerSectionSize(None)",
                "Ok(())",
                "200",
            ],
            1,
        ),
        ("twice", &["true", "true", "taken", "true", "true"], 1),
        (
            "options",
            &[
                "None", "Ok(())", "Some(5)", "Err(())", "Err(())", "Ok(())", "None",
            ],
            0,
        ),
        ("time", &["false true", "[1]", "[0, 1]", "slept"], 0),
        ("many", &["200", "ErrorCode::ConnectionLimitReached"], 16),
        (
            "copied",
            &[
                "ErrorCode::HttpRequestBodySize(None)",
                "Ok(())",
                r#"ErrorCode::InternalError(Some("INVALID the header connection is set by the host; leave it out"))"#,
                "Ok(())",
                "200",
                "ErrorCode::HttpRequestHeaderSectionSize(None)",
            ],
            2,
        ),
        (
            "bodiless",
            &[
                "content-length: 0",
                "content-length: 0",
                "none",
                "ErrorCode::HttpRequestBodySize(None)",
                "ErrorCode::HttpRequestBodySize(None)",
            ],
            3,
        ),
    ] {
        let reply = misuse(what);
        let expected: Vec<_> = expected
            .iter()
            .map(|&text| Reply::Simple(text.into()))
            .collect();
        assert_eq!(reply, Reply::Array(expected), "{what}");
        assert_eq!(peer.count(), requests, "{what}");
    }
    for (what, expected) in [
        ("open-stream", "TRAP in wasm function "),
        (
            "response",
            "TRAP in wasm function \"wasi:http/types@0.2.12#[constructor]outgoing-response (not offered)\"",
        ),
    ] {
        let error = failure(&misuse(what));
        assert!(error.starts_with(expected), "{what}: {error}");
    }
}

#[test]
fn wasi_keyvalue_in_rust_runs_unchanged() {
    let server = Server::start();
    let mut client = server.client();
    let component = component();
    let permissions = br#"{"allow_write": true, "allowed_keys": ["visits:*"]}"#;
    let words: [&[u8]; 5] = [
        b"WASM.LOAD",
        b"std",
        &component,
        b"PERMISSIONS",
        permissions,
    ];
    let loaded = client.call(&words);
    assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
    for (name, expected) in [
        ("ann", &["ann=1", "count=1", "last=ann"][..]),
        ("bo", &["ann=1", "bo=2", "count=2", "last=annbo"]),
    ] {
        let reply = client.call(&["WASM.CALL", "std.visits", "KEYS", name]);
        let expected: Vec<_> = expected
            .iter()
            .map(|&text| Reply::Simple(text.into()))
            .collect();
        assert_eq!(reply, Reply::Array(expected));
    }
    assert_eq!(client.call(&["GET", "visits:last"]).text(), Some("annbo"));
}
