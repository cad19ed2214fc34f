//! Files that functions keep, by the functions' names.

use ferrite_protocol::resp::Encoder;
use ferrite_runtime::policy::files::directory::Directory;
use ferrite_runtime::{
    CallRequest, FunctionName, LoadRequest, Permissions, RuntimeOptions, Source,
};

use super::Managed;
use crate::files::kept::GUEST;

const PERMISSIONS: &[u8] = br#"{"allow_filesystem": ["cache"]}"#;

fn with_a_directory(options: &mut RuntimeOptions) {
    options.directories = vec![Directory::kept("cache", 100_000).expect("a name")];
}

async fn load(host: &Managed, name: &str, digest: &str, more: &[&[u8]]) {
    let mut words: Vec<&[u8]> = vec![b"WASM.LOAD", name.as_bytes(), digest.as_bytes()];
    words.extend([b"PERMISSIONS", PERMISSIONS]);
    words.extend(more);
    let reply = host.run(&words).await;
    assert!(reply.starts_with('$'), "{reply}");
}

/// The files of a name stay over a reload, and go with the function or the process.
#[tokio::test]
async fn they_end_with_the_function() {
    let host = Managed::with(with_a_directory);
    let digest = host.compile(GUEST).to_string();
    load(&host, "one", &digest, &[]).await;
    load(&host, "two", &digest, &[]).await;
    assert_eq!(host.say("WASM.CALL one.append ARGS x").await, "$1 x");
    assert_eq!(host.say("WASM.CALL two.append ARGS y").await, "$1 y");
    load(&host, "one", &digest, &[b"REPLACE"]).await;
    assert_eq!(host.say("WASM.CALL one.append ARGS x").await, "$2 xx");
    host.say("WASM.UNLOAD one").await;
    load(&host, "one", &digest, &[]).await;
    assert_eq!(host.say("WASM.CALL one.append ARGS x").await, "$1 x");
    assert_eq!(host.say("WASM.CALL two.append ARGS y").await, "$2 yy");
    // The function is there after a restart, its files are not.
    let host = host.restart_with(with_a_directory).expect("it starts");
    assert_eq!(host.say("WASM.CALL two.append ARGS z").await, "$1 z");
}

#[tokio::test]
async fn a_function_that_is_held_by_the_same_name_has_its_own() {
    let host = Managed::with(with_a_directory);
    let digest = host.compile(GUEST);
    load(&host, "one", &digest.to_string(), &[]).await;
    assert_eq!(host.say("WASM.CALL one.append ARGS x").await, "$1 x");
    let name = FunctionName::parse(b"one").expect("a name");
    let mut request = LoadRequest::new(name, Source::Cached(digest));
    request.permissions = Some(Permissions {
        allow_filesystem: vec!["cache".to_owned()],
        ..Permissions::default()
    });
    let held = host.runtime.load_held(request).expect("it loads");
    for expected in ["$1\r\ny\r\n", "$2\r\nyy\r\n"] {
        let args = [&b"y"[..]];
        let request = CallRequest::new(b"one", &[], &args);
        let entry = held.entry_named(Some(b"append"));
        let mut reply = Encoder::default();
        host.runtime
            .call(&request.with_function(entry), &mut reply)
            .await;
        assert_eq!(reply.bytes(), expected.as_bytes());
    }
    assert_eq!(host.say("WASM.CALL one.read").await, "$1 x");
}
