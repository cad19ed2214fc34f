//! Every host function's result and statuses, from a guest's view.

use ferrite_wasm_abi::{IMPORTS, NumType, Status};

use crate::support::keyspace::{Entry, NOW_MILLIS, Value};
use crate::support::{Host, guest, run};

/// Strings at fixed places: pointer and length as pushed.
const STRINGS: &str = r#"
    (data (i32.const 0) "key")
    (data (i32.const 10) "value")
    (data (i32.const 20) "field")
    (data (i32.const 30) "hash")
    (data (i32.const 40) "broken")
    ;; Pairs: key, hash, field
    (data (i32.const 64) "\00\00\00\00\03\00\00\00\1e\00\00\00\04\00\00\00\14\00\00\00\05\00\00\00")"#;
const KEY: &str = "(i32.const 0) (i32.const 3)";
const VALUE: &str = "(i32.const 10) (i32.const 5)";
const FIELD: &str = "(i32.const 20) (i32.const 5)";
const HASH: &str = "(i32.const 30) (i32.const 4)";
const BROKEN: &str = "(i32.const 40) (i32.const 6)";
const BUFFER: &str = "(i32.const 128) (i32.const 64)";

/// Returns the number that an expression evaluates to.
async fn number(host: &Host, expression: &str) -> i64 {
    let long = ["(call $ttl", "(call $time_millis"];
    let value = if long.iter().any(|call| expression.starts_with(call)) {
        expression.to_owned()
    } else {
        format!("(i64.extend_i32_s {expression})")
    };
    let function = host.load(&guest(&format!(
        r#"{STRINGS} (func (export "run") (call $reply_int {value}))"#
    )));
    let reply = host.call(&function, &[], &["0123456789"]).await;
    let number = reply.strip_prefix(':').and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("{expression}: {reply}"))
}

fn status(status: Status) -> i64 {
    status.code().into()
}

fn string(value: &str, expires_in: Option<i64>) -> Option<Entry> {
    Some(Entry {
        value: Value::String(value.into()),
        expires_in,
    })
}

#[tokio::test]
async fn keys_and_arguments_are_counted_and_copied() {
    let host = Host::new();
    let function = host.load(&run(r#"
        (call $reply_array (i32.const 6))
        (call $reply_int (i64.extend_i32_s (call $key_count)))
        (call $reply_int (i64.extend_i32_s (call $arg_count)))
        (call $reply_int (i64.extend_i32_s (call $key (i32.const 2) (i32.const 0) (i32.const 9))))
        (call $reply_int (i64.extend_i32_s (call $arg (i32.const -1) (i32.const 0) (i32.const 9))))
        (call $reply_int (i64.extend_i32_s (call $arg (i32.const 0) (i32.const 0) (i32.const 3))))
        (call $reply_bulk (i32.const 0) (i32.const 4))"#));
    let reply = host.call(&function, &["a", "b"], &["wxyz"]).await;
    assert_eq!(reply, "*6 :2 :1 :-1 :-1 :4 $4 wxy\0");
}

#[tokio::test]
async fn get_answers_length_or_status() {
    let host = Host::new();
    host.keyspace.put("key", "stored");
    host.keyspace.put_hash("hash", "f", "v");
    for (expression, expected) in [
        (format!("(call $get {KEY} {BUFFER})"), 6),
        (
            format!("(call $get {KEY} (i32.const 128) (i32.const 0))"),
            6,
        ),
        (
            format!("(call $get {FIELD} {BUFFER})"),
            status(Status::NotFound),
        ),
        (
            format!("(call $get {HASH} {BUFFER})"),
            status(Status::WrongType),
        ),
        (
            format!("(call $get {BROKEN} {BUFFER})"),
            status(Status::Store),
        ),
    ] {
        assert_eq!(number(&host, &expression).await, expected, "{expression}");
    }
    let function = host.load(&guest(&format!(
        r#"{STRINGS} (func (export "run")
            (call $reply_bulk (i32.const 128) (call $get {KEY} {BUFFER})))"#
    )));
    assert_eq!(host.call(&function, &[], &[]).await, "$6 stored");
}

#[tokio::test]
async fn set_follows_its_options() {
    let set = |options: i32, ttl: i64| {
        format!("(call $set {KEY} {VALUE} (i32.const {options}) (i64.const {ttl}))")
    };
    for (before, options, ttl, expected, after) in [
        (None, 0, -1, 0, string("value", None)),
        (None, 0, 1500, 0, string("value", Some(1500))),
        (None, 1, -1, 0, string("value", None)),
        (
            Some("old"),
            1,
            -1,
            status(Status::NotStored),
            string("old", None),
        ),
        (None, 2, -1, status(Status::NotStored), None),
        (Some("old"), 2, -1, 0, string("value", None)),
        (Some("old"), 4, -1, 0, string("value", None)),
        (
            Some("old"),
            3,
            -1,
            status(Status::Invalid),
            string("old", None),
        ),
        (
            Some("old"),
            8,
            -1,
            status(Status::Invalid),
            string("old", None),
        ),
        (
            Some("old"),
            4,
            5,
            status(Status::Invalid),
            string("old", None),
        ),
        (
            Some("old"),
            0,
            0,
            status(Status::Invalid),
            string("old", None),
        ),
    ] {
        let host = Host::new();
        if let Some(before) = before {
            host.keyspace.put("key", before);
        }
        let answer = number(&host, &set(options, ttl)).await;
        assert_eq!(answer, expected, "options {options}, ttl {ttl}");
        assert_eq!(host.keyspace.entry("key"), after);
    }
}

#[tokio::test]
async fn del_and_exists_count() {
    let host = Host::new();
    host.keyspace.put("key", "1");
    host.keyspace.put_hash("hash", "f", "v");
    let pairs = "(i32.const 64) (i32.const 3)";
    assert_eq!(number(&host, &format!("(call $exists {pairs})")).await, 2);
    assert_eq!(
        number(&host, "(call $exists (i32.const 64) (i32.const 0))").await,
        0
    );
    assert_eq!(number(&host, &format!("(call $del {pairs})")).await, 2);
    assert_eq!(number(&host, &format!("(call $exists {pairs})")).await, 0);
    assert_eq!(host.keyspace.entry("key"), None);
}

#[tokio::test]
async fn incr_by_writes_the_sum() {
    let host = Host::new();
    let function = host.load(&guest(&format!(
        r#"{STRINGS} (func (export "run")
            (call $reply_array (i32.const 2))
            (call $reply_int (i64.extend_i32_s (call $incr_by {KEY} (i64.const -3) (i32.const 128))))
            (call $reply_int (i64.load (i32.const 128))))"#
    )));
    assert_eq!(host.call(&function, &[], &[]).await, "*2 :0 :-3");
    assert_eq!(host.call(&function, &[], &[]).await, "*2 :0 :-6");
    let incr = |delta: i64| format!("(call $incr_by {KEY} (i64.const {delta}) (i32.const 128))");
    host.keyspace.put("key", "no number");
    assert_eq!(number(&host, &incr(1)).await, status(Status::Invalid));
    host.keyspace.put("key", "9223372036854775807");
    assert_eq!(number(&host, &incr(1)).await, status(Status::Invalid));
    host.keyspace.put_hash("key", "f", "v");
    assert_eq!(number(&host, &incr(1)).await, status(Status::WrongType));
}

#[tokio::test]
async fn expire_and_ttl_count_milliseconds() {
    let host = Host::new();
    let expire = |ttl: i64| format!("(call $expire {KEY} (i64.const {ttl}))");
    let ttl = format!("(call $ttl {KEY})");
    assert_eq!(number(&host, &ttl).await, -2);
    assert_eq!(number(&host, &expire(5)).await, 0);
    host.keyspace.put("key", "v");
    assert_eq!(number(&host, &ttl).await, -1);
    assert_eq!(number(&host, &expire(90_000_000_000)).await, 1);
    assert_eq!(number(&host, &ttl).await, 90_000_000_000);
    assert_eq!(number(&host, &expire(0)).await, 1);
    assert_eq!(host.keyspace.entry("key"), None);
}

#[tokio::test]
async fn hashes_are_read_and_written_by_field() {
    let host = Host::new();
    host.keyspace.put("key", "string");
    let hget = |key: &str| format!("(call $hget {key} {FIELD} {BUFFER})");
    let hset = |key: &str| format!("(call $hset {key} {FIELD} {VALUE})");
    let hdel = |key: &str| format!("(call $hdel {key} (i32.const 64) (i32.const 3))");
    for (expression, expected) in [
        (hget(HASH), status(Status::NotFound)),
        (hset(HASH), 1),
        (hset(HASH), 0),
        (hget(HASH), 5),
        (hdel(HASH), 1),
        (hdel(HASH), 0),
        (hget(KEY), status(Status::WrongType)),
        (hset(KEY), status(Status::WrongType)),
        (hdel(KEY), status(Status::WrongType)),
    ] {
        assert_eq!(number(&host, &expression).await, expected, "{expression}");
    }
}

#[tokio::test]
async fn call_runs_commands_and_hands_out_their_replies() {
    let host = Host::new();
    host.keyspace.put("key", "stored");
    let call = |name: &str, args: &str| {
        let args = args.replace(' ', "\\0d\\0a");
        let (name_len, args_len) = (name.len(), args.replace("\\0d\\0a", "\r\n").len());
        host.load(&guest(&format!(
            r#"(data (i32.const 0) "{name}") (data (i32.const 100) "{args}")
            (func (export "run") (local $len i32)
                (local.set $len (call $call (i32.const 0) (i32.const {name_len})
                    (i32.const 100) (i32.const {args_len}) (i32.const 500) (i32.const 400)))
                (if (i32.lt_s (local.get $len) (i32.const 0))
                    (then (call $reply_int (i64.extend_i32_s (local.get $len))))
                    (else (call $reply_bulk (i32.const 500) (local.get $len)))))"#
        )))
    };
    for (name, args, expected) in [
        ("GET", "*1 $3 key ", "$12 $6 stored"),
        ("get", "*1 $3 key ", "$12 $6 stored"),
        ("GET", "*1 $4 none ", "$5 $-1"),
        ("SET", "*2 $1 a $1 b ", "$5 +OK"),
        ("ECHO", "", "$4 *0"),
        ("ECHO", "*0 ", "$4 *0"),
        ("ECHO", "*2 $0  $1 x ", "$17 *2 $0  $1 x"),
        (
            "GET",
            "",
            "$50 -ERR wrong number of arguments for \"GET\" command",
        ),
        ("NONE", "", "$29 -ERR unknown command \"NONE\""),
        // Not an array of bulk strings.
        ("ECHO", "*1 *1 $1 x ", ":-19"),
        ("ECHO", "*1 :1 ", ":-19"),
        ("ECHO", "*2 $1 x ", ":-19"),
        ("ECHO", "*1 $1 x +more ", ":-19"),
        ("ECHO", "*-1 ", ":-19"),
        ("ECHO", "*1 $-1 ", ":-19"),
        ("ECHO", "*9999999999 ", ":-19"),
        ("ECHO", "inline x ", ":-19"),
    ] {
        let reply = host.call(&call(name, args), &[], &[]).await;
        assert_eq!(reply, expected, "{name} {args:?}");
    }
    assert_eq!(host.keyspace.string("a").as_deref(), Some("b"));
}

#[tokio::test]
async fn a_scanner_that_failed_starts_over() {
    let host = Host::new();
    let function = host.load_reusing(&guest(
        r#"(data (i32.const 0) "ECHO") (data (i32.const 10) "*2\0d\0a$1\0d\0ax\0d\0a")
        (data (i32.const 40) "*1\0d\0a$1\0d\0ay\0d\0a")
        (func (export "run")
            (call $reply_array (i32.const 2))
            (call $reply_int (i64.extend_i32_s (call $call (i32.const 0) (i32.const 4)
                (i32.const 10) (i32.const 11) (i32.const 100) (i32.const 100))))
            (call $reply_bulk (i32.const 100) (call $call (i32.const 0) (i32.const 4)
                (i32.const 40) (i32.const 11) (i32.const 100) (i32.const 100))))"#,
    ));
    for _ in 0..2 {
        assert_eq!(host.call(&function, &[], &[]).await, "*2 :-19 $11 *1 $1 y");
    }
}

#[tokio::test]
async fn take_hands_out_what_did_not_fit() {
    let host = Host::new();
    host.keyspace.put("key", "0123456789");
    for source in [
        format!("(call $get {KEY} (i32.const 128) (i32.const 4))"),
        "(call $arg (i32.const 0) (i32.const 128) (i32.const 4))".to_owned(),
    ] {
        let function = host.load(&guest(&format!(
            r#"{STRINGS} (func (export "run")
                (call $reply_array (i32.const 7))
                (call $reply_int (i64.extend_i32_s (call $take (i32.const 200) (i32.const 0) (i32.const 9))))
                (call $reply_int (i64.extend_i32_s {source}))
                (call $reply_bulk (i32.const 128) (i32.const 4))
                (call $reply_bulk (i32.const 200) (call $take (i32.const 200) (i32.const 4) (i32.const 5)))
                (call $reply_bulk (i32.const 200) (call $take (i32.const 200) (i32.const 9) (i32.const 50)))
                (call $reply_int (i64.extend_i32_s (call $take (i32.const 200) (i32.const 10) (i32.const 9))))
                (call $reply_int (i64.extend_i32_s (call $take (i32.const 200) (i32.const -1) (i32.const 9)))))"#
        )));
        let reply = host.call(&function, &[], &["0123456789"]).await;
        assert_eq!(reply, "*7 :-1 :10 $4 0123 $5 45678 $1 9 :0 :0", "{source}");
    }
    // The reply of a command too; it does not outlive the call.
    let function = host.load_reusing(&guest(
        r#"(data (i32.const 0) "REPEAT") (data (i32.const 10) "*2\0d\0a$1\0d\0ak\0d\0a$5\0d\0a60000\0d\0a")
        (func (export "run")
            (call $reply_array (i32.const 3))
            (call $reply_int (i64.extend_i32_s (call $take (i32.const 200) (i32.const 0) (i32.const 9))))
            (call $reply_int (i64.extend_i32_s (call $call (i32.const 0) (i32.const 6)
                (i32.const 10) (i32.const 22) (i32.const 100) (i32.const 0))))
            (call $reply_int (i64.extend_i32_s
                (call $take (i32.const 200) (i32.const 8) (i32.const 60000)))))"#,
    ));
    for _ in 0..2 {
        assert_eq!(host.call(&function, &[], &[]).await, "*3 :-1 :60010 :60000");
    }
}

#[tokio::test]
async fn time_is_the_transactions() {
    let host = Host::new();
    assert_eq!(number(&host, "(call $time_millis)").await, NOW_MILLIS);
}

#[tokio::test]
async fn random_fills_a_buffer() {
    let host = Host::new();
    let function = host.load(&run(r#"
        (call $random (i32.const 8) (i32.const 16))
        (call $reply_bulk (i32.const 0) (i32.const 32))"#));
    let mut reply = ferrite_protocol::resp::Encoder::default();
    let request = ferrite_runtime::call::request::CallRequest::new(b"test", &[], &[]);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..4 {
        reply.clear();
        host.run(&function, &request, &mut reply).await;
        let bytes = &reply.bytes()[b"$32\r\n".len()..][..32];
        assert_eq!((&bytes[..8], &bytes[24..]), (&[0; 8][..], &[0; 8][..]));
        assert!(seen.insert(bytes.to_vec()), "16 bytes hardly repeat");
    }
}

#[tokio::test]
async fn overlapping_buffers_are_read_before_they_are_written() {
    let host = Host::new();
    host.keyspace.put("key", "0123456789");
    host.keyspace.put_hash("keyhash", "key", "found");
    let function = host.load(&guest(
        r#"(data (i32.const 0) "keyhash")
        (func (export "run")
            (call $reply_array (i32.const 2))
            (call $reply_bulk (i32.const 0)
                (call $hget (i32.const 0) (i32.const 7) (i32.const 0) (i32.const 3)
                            (i32.const 1) (i32.const 6)))
            (memory.copy (i32.const 0) (i32.const 20) (i32.const 3))
            (call $reply_bulk (i32.const 1)
                (call $get (i32.const 0) (i32.const 3) (i32.const 1) (i32.const 20))))
        (data (i32.const 20) "key")"#,
    ));
    let reply = host.call(&function, &[], &[]).await;
    assert_eq!(reply, "*2 $5 kfoun $10 0123456789");
}

#[tokio::test]
async fn host_work_costs_fuel_in_proportion_to_bytes() {
    let host = Host::new();
    host.keyspace.put("key", "v");
    let mut used = Vec::new();
    for len in [0, 8_000, 16_000] {
        let function = host.load(&guest(&format!(
            r#"{STRINGS} (func (export "run")
                (drop (call $set {KEY} (i32.const 128) (i32.const {len}) (i32.const 0) (i64.const -1)))
                (call $reply_null))"#
        )));
        let request = ferrite_runtime::call::request::CallRequest::new(b"test", &[], &[]);
        let (_, outcome) = host
            .request(ferrite_protocol::resp::Protocol::Resp2, &function, &request)
            .await;
        assert_eq!(outcome.error, None);
        used.push(outcome.fuel);
    }
    assert_eq!(used[1] - used[0], 1000, "a unit for 8 bytes");
    assert_eq!(used[2] - used[1], 1000);
}

/// Arguments that describe `len` bytes at `pointer` for all parameters that could be either.
fn arguments(params: &[NumType], pointer: i32, len: i32) -> String {
    let mut given = [pointer, len].into_iter().cycle();
    params
        .iter()
        .map(|ty| match ty {
            NumType::I32 => format!("(i32.const {})", given.next().unwrap_or(len)),
            NumType::I64 => "(i64.const -1)".to_owned(),
            NumType::F64 => "(f64.const -1)".to_owned(),
        })
        .collect()
}

#[tokio::test]
async fn bytes_outside_the_memory_are_told_as_that_and_not_as_fuel() {
    let host = Host::new();
    for import in IMPORTS {
        // Every pattern of good and bad pointers and lengths that the parameters can have.
        for (pointer, len) in [(0, -1), (-1, -1), (-1, 0), (65_530, 100), (0, i32::MAX)] {
            for swapped in [false, true] {
                let (first, second) = if swapped {
                    (len, pointer)
                } else {
                    (pointer, len)
                };
                let arguments = arguments(import.params, first, second);
                let call = format!("(call ${} {arguments})", import.name);
                let body = match import.result {
                    Some(_) => format!("(drop {call})"),
                    None => call.clone(),
                };
                let function = host.load(&run(&body));
                let reply = host.call(&function, &["k"], &["a"]).await;
                assert!(!reply.starts_with("-FUEL"), "{call}: {reply}");
            }
        }
        if import
            .params
            .iter()
            .filter(|ty| **ty == NumType::I32)
            .count()
            >= 2
        {
            let arguments = arguments(import.params, -1, -1);
            let call = format!("(call ${} {arguments})", import.name);
            let body = match import.result {
                Some(_) => format!("(drop {call})"),
                None => call.clone(),
            };
            let function = host.load(&run(&body));
            let reply = host.call(&function, &["k"], &["a"]).await;
            assert!(reply.starts_with("-TRAP"), "{call}: {reply}");
        }
    }
}

#[tokio::test]
async fn keys_have_a_largest_length() {
    let host = Host::new();
    let long = "(i32.const 0) (i32.const 65537)";
    for call in [
        format!("(call $get {long} {BUFFER})"),
        format!("(call $set {long} {VALUE} (i32.const 0) (i64.const -1))"),
        format!("(call $incr_by {long} (i64.const 1) (i32.const 0))"),
        format!("(call $expire {long} (i64.const 1))"),
        format!("(call $hget {long} {FIELD} {BUFFER})"),
        format!("(call $hset {long} {FIELD} {VALUE})"),
        format!("(call $hdel {long} (i32.const 64) (i32.const 1))"),
        "(call $del (i32.const 64) (i32.const 1))".to_owned(),
        "(call $exists (i32.const 64) (i32.const 1))".to_owned(),
    ] {
        let wat = guest(&format!(
            r#"(data (i32.const 64) "\00\00\00\00\01\00\01\00")
            (func (export "run") (call $reply_int (i64.extend_i32_s {call})))"#
        ))
        .replacen(
            "(memory (export \"memory\") 1)",
            "(memory (export \"memory\") 3)",
            1,
        );
        let function = host.load(&wat);
        let reply = host.call(&function, &[], &[]).await;
        assert_eq!(reply, format!(":{}", status(Status::Limit)), "{call}");
    }
}

/// A guest that passes all of its memory, 12 MB, as often as its fuel allows.
const GREEDY: &str = r#"
    (func (export "run") (local $at i32)
        (loop $next
            (i32.store offset=4 (local.get $at) (i32.const 12000000))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $next (i32.lt_u (local.get $at) (i32.const 320000))))
        (drop (call $NAME (i32.const 0) (i32.const 40000))))"#;

#[tokio::test]
async fn bytes_that_are_named_twice_are_paid_twice() {
    let host = Host::new();
    for name in ["del", "exists"] {
        let wat = guest(&GREEDY.replace("NAME", name)).replacen(
            "(memory (export \"memory\") 1)",
            "(memory (export \"memory\") 184)",
            1,
        );
        let function = host.load(&wat);
        let reply = host.call(&function, &[], &[]).await;
        assert!(reply.starts_with("-FUEL"), "{name}: {reply}");
    }
}
