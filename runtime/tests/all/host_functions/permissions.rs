//! The permission check, as guests see it.

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::call::request::CallRequest;
use ferrite_wasm_abi::Status;

use crate::support::{Host, TestFunction, guest};

/// Each entry returns the status of one access to the key of the call.
const ACCESSES: &str = r#"
    (func $load (result i32) (call $key (i32.const 0) (i32.const 0) (i32.const 50)))
    (func $pair (result i32)
        (i32.store (i32.const 100) (i32.const 0))
        (i32.store (i32.const 104) (call $load))
        (i32.const 100))
    (func (export "get") (result i32)
        (call $get (i32.const 0) (call $load) (i32.const 200) (i32.const 9)))
    (func (export "set") (result i32)
        (call $set (i32.const 0) (call $load) (i32.const 200) (i32.const 1) (i32.const 0) (i64.const -1)))
    (func (export "del") (result i32) (call $del (call $pair) (i32.const 1)))
    (func (export "exists") (result i32) (call $exists (call $pair) (i32.const 1)))
    (func (export "incr_by") (result i32)
        (call $incr_by (i32.const 0) (call $load) (i64.const 1) (i32.const 200)))
    (func (export "expire") (result i32)
        (call $expire (i32.const 0) (call $load) (i64.const 100)))
    (func (export "ttl") (result i64) (call $ttl (i32.const 0) (call $load)))
    (func (export "hget") (result i32)
        (call $hget (i32.const 0) (call $load) (i32.const 200) (i32.const 1) (i32.const 300) (i32.const 9)))
    (func (export "hset") (result i32)
        (call $hset (i32.const 0) (call $load) (i32.const 200) (i32.const 1) (i32.const 200) (i32.const 1)))
    (func (export "hdel") (result i32)
        (call $hdel (i32.const 0) (call $load) (i32.const 400) (i32.const 1)))"#;

const READS: [&str; 4] = ["get", "exists", "ttl", "hget"];
const WRITES: [&str; 6] = ["set", "del", "incr_by", "expire", "hset", "hdel"];

async fn access(
    host: &Host,
    function: &TestFunction,
    entry: &str,
    key: &str,
    read_only: bool,
) -> i32 {
    let name = format!("test.{entry}");
    let keys = [key.as_bytes()];
    let mut request = CallRequest::new(name.as_bytes(), &keys, &[]);
    request.read_only = read_only;
    let (reply, outcome) = host.request(Protocol::Resp2, function, &request).await;
    let status = reply
        .strip_prefix(':')
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("{entry} {key}: {reply}"));
    assert_eq!(
        outcome.denied.is_some(),
        [Status::Denied, Status::ReadOnly]
            .iter()
            .any(|refusal| status == refusal.code()),
        "{entry} {key}"
    );
    status
}

fn refused(status: i32) -> bool {
    [Status::Denied, Status::ReadOnly]
        .map(Status::code)
        .contains(&status)
}

#[tokio::test]
async fn keys_outside_the_patterns_are_denied_to_every_function() {
    let host = Host::new();
    let function = host.load_with(&guest(ACCESSES), |spec| {
        spec.permissions.allowed_keys = vec!["user:*".into()];
        spec.permissions.denied_keys = vec!["*:secret".into()];
    });
    for entry in READS.iter().chain(&WRITES) {
        for key in ["other", "user:1:secret", ""] {
            let status = access(&host, &function, entry, key, false).await;
            assert_eq!(status, Status::Denied.code(), "{entry} {key}");
        }
        let status = access(&host, &function, entry, "user:1", false).await;
        assert!(!refused(status), "{entry}: {status}");
    }
}

#[tokio::test]
async fn a_function_that_may_only_read_cannot_write() {
    let host = Host::new();
    let wat = guest(ACCESSES);
    let reader = host.load_with(&wat, |spec| spec.permissions.allow_write = false);
    let writer = host.load(&wat);
    host.keyspace.put("k", "v");
    for entry in WRITES {
        let status = access(&host, &reader, entry, "k", false).await;
        assert_eq!(status, Status::ReadOnly.code(), "{entry}");
        let status = access(&host, &writer, entry, "k", true).await;
        assert_eq!(status, Status::ReadOnly.code(), "{entry} read-only");
    }
    for entry in READS {
        let status = access(&host, &reader, entry, "k", false).await;
        assert!(!refused(status), "{entry}: {status}");
    }
    assert_eq!(host.keyspace.string("k").as_deref(), Some("v"));
}

#[tokio::test]
async fn commands_pass_the_same_door() {
    let host = Host::new();
    host.keyspace.put("user:1", "v");
    host.keyspace.put("other", "v");
    let call = |name: &str, args: &str| {
        let wire: String = args
            .split_whitespace()
            .map(|arg| format!("${}\\0d\\0a{arg}\\0d\\0a", arg.len()))
            .collect();
        let count = args.split_whitespace().count();
        let len = format!("*{count}\r\n").len() + wire.replace("\\0d\\0a", "\r\n").len();
        guest(&format!(
            r#"(data (i32.const 0) "{name}") (data (i32.const 100) "*{count}\0d\0a{wire}")
            (func (export "run") (local $len i32)
                (local.set $len (call $call (i32.const 0) (i32.const {}) (i32.const 100)
                    (i32.const {len}) (i32.const 500) (i32.const 500)))
                (if (i32.lt_s (local.get $len) (i32.const 0))
                    (then (call $reply_int (i64.extend_i32_s (local.get $len))))
                    (else (call $reply_bulk (i32.const 500) (local.get $len)))))"#,
            name.len()
        ))
    };
    for (name, args, write, expected) in [
        ("GET", "user:1", true, "$7 $1 v"),
        ("GET", "other", true, ":-16"),
        ("SET", "user:2 v", true, "$5 +OK"),
        ("SET", "user:2 v", false, ":-17"),
        ("SET", "other v", true, ":-16"),
        // Shows only keys that the function may read.
        ("KEYS", "", true, "$16 *1 $6 user:1"),
        ("ECHO", "x", true, ":-16"),
    ] {
        let function = host.load_with(&call(name, args), |spec| {
            spec.permissions.allowed_keys = vec!["user:*".into()];
            spec.permissions.allowed_commands =
                Some(vec!["get".into(), "set".into(), "keys".into()]);
            spec.permissions.allow_write = write;
        });
        let request = CallRequest {
            profile: true,
            ..CallRequest::new(b"test", &[], &[])
        };
        let (reply, _) = host.request(Protocol::Resp2, &function, &request).await;
        assert_eq!(reply, expected, "{name} {args}");
    }
}
