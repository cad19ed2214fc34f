//! Replies of command entries: every kind, and replies that are not exactly one value.

use ferrite_protocol::resp::Protocol;

use crate::support::{Host, guest, run};

#[tokio::test]
async fn every_kind_of_reply_follows_the_clients_protocol() {
    let host = Host::new();
    let strings = r#"(data (i32.const 0) "ERR no\0d\0agood")"#;
    for (body, resp2, resp3) in [
        ("(call $reply_null)", "$-1", "_"),
        ("(call $reply_bool (i32.const 2))", ":1", "#t"),
        ("(call $reply_bool (i32.const 0))", ":0", "#f"),
        ("(call $reply_int (i64.const -7))", ":-7", ":-7"),
        ("(call $reply_double (f64.const 0.25))", "$4 0.25", ",0.25"),
        (
            "(call $reply_bulk (i32.const 0) (i32.const 3))",
            "$3 ERR",
            "$3 ERR",
        ),
        ("(call $reply_bulk (i32.const 0) (i32.const 0))", "$0", "$0"),
        (
            "(call $reply_simple (i32.const 0) (i32.const 12))",
            "+ERR no  good",
            "+ERR no  good",
        ),
        (
            "(call $reply_error (i32.const 0) (i32.const 12))",
            "-ERR no  good",
            "-ERR no  good",
        ),
        (
            "(call $reply_error (i32.const 0) (i32.const 0))",
            "-ERR",
            "-ERR",
        ),
        ("(call $reply_array (i32.const 0))", "*0", "*0"),
        (
            "(call $reply_map (i32.const 1)) (call $reply_int (i64.const 1)) (call $reply_null)",
            "*2 :1 $-1",
            "%1 :1 _",
        ),
    ] {
        let function = host.load(&guest(&format!("{strings} (func (export \"run\") {body})")));
        let reply = host.call_in(Protocol::Resp2, &function, &[], &[]).await;
        assert_eq!(reply, resp2, "{body}");
        let reply = host.call_in(Protocol::Resp3, &function, &[], &[]).await;
        assert_eq!(reply, resp3, "{body}");
    }
}

#[tokio::test]
async fn anything_but_one_whole_reply_is_an_error() {
    let host = Host::new();
    let complete = "reply_null: the function has replied already; it replies once, and an array is opened with the number of values that follow";
    for (body, expected) in [
        (
            "(call $reply_array (i32.const 2)) (call $reply_null)",
            "-INVALID the function returned while its reply still lacked 1 values".to_owned(),
        ),
        ("(call $reply_null) (call $reply_null)", complete.to_owned()),
        (
            "(call $reply_array (i32.const 1)) (call $reply_null) (call $reply_null)",
            complete.to_owned(),
        ),
        (
            "(call $reply_array (i32.const -1))",
            "reply_array: -1 is no number of values".to_owned(),
        ),
        (
            "(loop (call $reply_array (i32.const 1)) (br 0))",
            "reply_array: the reply nests deeper than 32 arrays; make it flatter".to_owned(),
        ),
    ] {
        let function = host.load(&run(body));
        let reply = host.call(&function, &[], &[]).await;
        assert!(
            reply == expected
                || reply.starts_with("-TRAP in wasm function ") && reply.ends_with(&expected),
            "{body}: {reply}"
        );
    }
    assert_eq!(
        host.keyspace
            .committed
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
}

#[tokio::test]
async fn traps_name_the_function_they_happened_in() {
    let host = Host::new();
    let function = host.load(
        r#"(module
            (func (export "run") (param i32) (result i32) (call $_ZN4demo6divide17h0123456789abcdefE (local.get 0)))
            (func $_ZN4demo6divide17h0123456789abcdefE (param i32) (result i32)
                (i32.div_s (i32.const 1) (local.get 0)))
            (memory 1)
            (func $peek (export "peek") (result i32) (i32.load (i32.const 65536)))
            (func $give_up (export "give_up") unreachable))"#,
    );
    for (entry, args, name, text) in [
        (
            "test.run",
            &["0"][..],
            "demo::divide",
            "integer divide by zero",
        ),
        ("test.peek", &[], "peek", "out of bounds memory access"),
        (
            "test.give_up",
            &[],
            "give_up",
            "unreachable was executed, as a panic or abort of the function does; its log may say why",
        ),
    ] {
        let args: Vec<_> = args.iter().map(|arg| arg.as_bytes()).collect();
        let request =
            ferrite_runtime::call::request::CallRequest::new(entry.as_bytes(), &[], &args);
        let (reply, _) = host.request(Protocol::Resp2, &function, &request).await;
        let start = format!("-TRAP in wasm function \"{name}\" at offset 0x");
        assert!(
            reply.starts_with(&start) && reply.ends_with(text),
            "{reply}"
        );
    }
}
