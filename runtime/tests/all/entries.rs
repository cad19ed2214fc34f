//! The three kinds of entry, and the choice of an entry by a call's name.

use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::error::Code;

use crate::support::{Host, guest, run};

#[tokio::test]
async fn scalar_entries_take_and_give_numbers() {
    let host = Host::new();
    let function = host.load(
        r#"(module
            (func (export "add") (param i32 i32) (result i32)
                (i32.add (local.get 0) (local.get 1)))
            (func (export "mix") (param i64 f32 f64) (result i64 f32 f64)
                (local.get 0) (local.get 1) (local.get 2))
            (func (export "half") (param f64) (result f64)
                (f64.div (local.get 0) (f64.const 2)))
            (func (export "none") (param i32)))"#,
    );
    for (name, args, expected) in [
        ("test.add", &["40", "2"][..], ":42"),
        ("test.add", &["2147483647", "1"], ":-2147483648"),
        ("test.half", &["1"], ",0.5"),
        ("test.mix", &["-9", "0.1", "1e300"], "*3 :-9 ,0.1 ,1e+300"),
        ("test.none", &["0"], "+OK"),
        (
            "test.add",
            &["1"],
            "-INVALID entry \"add\" takes 2 arguments (i32, i32), not 1; give them after ARGS",
        ),
        (
            "test.add",
            &["1", "two"],
            "-INVALID argument 2 of entry \"add\" is \"two\", no i32; give a whole number from -2147483648 to 2147483647",
        ),
    ] {
        let args: Vec<_> = args.iter().map(|arg| arg.as_bytes()).collect();
        let request = CallRequest::new(name.as_bytes(), &[], &args);
        let (reply, _) = host.request(Protocol::Resp3, &function, &request).await;
        assert_eq!(reply, expected, "{name}");
    }
    assert_eq!(
        host.keyspace
            .begun
            .load(std::sync::atomic::Ordering::Relaxed),
        0,
        "numbers need no transaction"
    );
}

#[tokio::test]
async fn scalar_entries_of_every_usual_signature_take_their_arguments_in_order() {
    let host = Host::new();
    let function = host.load_reusing(
        r#"(module
            (func (export "i") (result i32) (i32.const -1))
            (func (export "l") (result i64) (i64.const -1))
            (func (export "i_i") (param i32) (result i32) (local.get 0))
            (func (export "l_l") (param i64) (result i64) (local.get 0))
            (func (export "d_d") (param f64) (result f64) (local.get 0))
            (func (export "i_ii") (param i32 i32) (result i32)
                (i32.sub (local.get 0) (local.get 1)))
            (func (export "l_ll") (param i64 i64) (result i64)
                (i64.sub (local.get 0) (local.get 1)))
            (func (export "d_dd") (param f64 f64) (result f64)
                (f64.sub (local.get 0) (local.get 1)))
            (func (export "i_iii") (param i32 i32 i32) (result i32)
                (i32.sub (local.get 0) (i32.sub (local.get 1) (local.get 2)))))"#,
    );
    for (entry, args, expected) in [
        ("test.i", &[][..], ":-1"),
        ("test.l", &[], ":-1"),
        ("test.i_i", &["-7"], ":-7"),
        (
            "test.l_l",
            &["-9223372036854775808"],
            ":-9223372036854775808",
        ),
        ("test.d_d", &["-0.5"], ",-0.5"),
        ("test.i_ii", &["1", "3"], ":-2"),
        ("test.l_ll", &["1", "3"], ":-2"),
        ("test.d_dd", &["0.5", "1"], ",-0.5"),
        ("test.i_iii", &["1", "2", "5"], ":4"),
    ] {
        let args: Vec<_> = args.iter().map(|arg| arg.as_bytes()).collect();
        for _ in 0..2 {
            let request = CallRequest::new(entry.as_bytes(), &[], &args);
            let (reply, _) = host.request(Protocol::Resp3, &function, &request).await;
            assert_eq!(reply, expected, "{entry}");
        }
    }
}

#[tokio::test]
async fn command_entries_pull_input_and_push_a_reply() {
    let host = Host::new();
    let function = host.load(&run(r#"
        (call $reply_array (i32.const 3))
        (call $reply_int (i64.extend_i32_u (call $key_count)))
        (call $reply_bulk (i32.const 0) (call $key (i32.const 0) (i32.const 0) (i32.const 100)))
        (call $reply_bulk (i32.const 0) (call $arg (i32.const 1) (i32.const 0) (i32.const 100)))"#));
    let reply = host.call(&function, &["k1", "k2"], &["a", "second"]).await;
    assert_eq!(reply, "*3 :2 $2 k1 $6 second");
}

/// Copies its input back as the reply, in the block that `alloc` returned.
const BUFFER: &str = r#"(module
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (global $freed (mut i32) (i32.const 0))
    (func (export "alloc") (param i32) (result i32)
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get 0))))
    (func (export "dealloc") (param i32 i32)
        (global.set $freed (i32.add (global.get $freed) (i32.const 1))))
    (func (export "echo") (param i32 i32) (result i64)
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32))
                (i64.extend_i32_u (local.get 1))))
    (func (export "map") (param i32 i32) (result i64)
        (i64.const 0x0000000A00000016))
    (func (export "freed") (param i32 i32) (result i64)
        (i32.store8 (i32.const 101) (i32.add (i32.const 48) (global.get $freed)))
        (i64.const 0x0000006400000004))
    (func (export "outside") (param i32 i32) (result i64)
        (i64.const 0x0001000000000001))
    (func (export "broken") (param i32 i32) (result i64)
        (i64.const 0x0000006400000003))
    (func (export "empty") (param i32 i32) (result i64)
        (i64.const 0))
    (data (i32.const 10) "%1\r\n+a\r\n*2\r\n#t\r\n,0.5\r\n")
    (data (i32.const 100) ":0\r\n"))"#;

#[tokio::test]
async fn buffer_entries_take_and_give_resp() {
    let host = Host::new();
    let function = host.load(BUFFER);
    for (name, protocol, expected) in [
        ("test.echo", Protocol::Resp3, "*2 *1 $1 k *2 $1 a $0"),
        ("test.map", Protocol::Resp3, "%1 +a *2 #t ,0.5"),
        ("test.map", Protocol::Resp2, "*2 +a *2 :1 $3 0.5"),
        (
            "test.outside",
            Protocol::Resp2,
            "-TRAP the reply that the entry returned is 1 bytes at 0x10000, outside the memory of 65536 bytes",
        ),
    ] {
        let request = CallRequest::new(name.as_bytes(), &[b"k"], &[b"a", b""]);
        let (reply, _) = host.request(protocol, &function, &request).await;
        assert_eq!(reply, expected, "{name}");
    }
    for name in ["test.broken", "test.empty"] {
        let request = CallRequest::new(name.as_bytes(), &[], &[]);
        let (reply, _) = host.request(Protocol::Resp2, &function, &request).await;
        assert!(
            reply.starts_with("-INVALID the entry returned no reply: "),
            "{reply}"
        );
    }
}

#[tokio::test]
async fn buffers_are_given_back_where_the_instance_serves_again() {
    let host = Host::new();
    let function = host.load_reusing(BUFFER);
    for (name, expected) in [
        // The reply replaces the input in memory: one block.
        ("test.echo", "*2 *0 *0"),
        ("test.freed", ":1"),
        // Input and reply of `freed`: two more.
        ("test.freed", ":3"),
    ] {
        let request = CallRequest::new(name.as_bytes(), &[], &[]);
        let (reply, _) = host.request(Protocol::Resp2, &function, &request).await;
        assert_eq!(reply, expected, "{name}");
    }
}

#[tokio::test]
async fn both_spellings_of_an_import_are_the_same_function() {
    let host = Host::new();
    let function = host.load(
        r#"(module
            (import "env" "ferrite_reply_int" (func $reply_int (param i64)))
            (import "ferrite" "key_count" (func $key_count (result i32)))
            (func (export "run")
                (call $reply_int (i64.extend_i32_u (call $key_count)))))"#,
    );
    assert_eq!(host.call(&function, &["k"], &[]).await, ":1");
}

#[tokio::test]
async fn an_entry_is_found_by_name_or_by_habit() {
    let host = Host::new();
    let entries = |names: &[&str]| {
        let mut wat = String::from("(module");
        for (index, name) in names.iter().enumerate() {
            wat += &format!("(func (export \"{name}\") (result i32) (i32.const {index}))");
        }
        host.load(&(wat + ")"))
    };
    for (names, call, expected) in [
        (&["only"][..], "test", ":0"),
        (&["test", "run"], "test", ":1"),
        (&["other", "test"], "test", ":1"),
        (&["a", "b"], "test.b", ":1"),
        (&["a", "b.c"], "test.b.c", ":1"),
        (
            &["a", "b"],
            "test",
            "-NOFUNC function \"test\" has several entries; name one as test.ENTRY: a, b",
        ),
        (
            &["a", "b"],
            "test.c",
            "-NOFUNC function \"test\" has no entry \"c\"; it has: a, b",
        ),
        (
            &["only"],
            "test.",
            "-NOFUNC function \"test\" has no entry \"\"; it has: only",
        ),
    ] {
        let function = entries(names);
        let request = CallRequest::new(call.as_bytes(), &[], &[]);
        let (reply, _) = host.request(Protocol::Resp2, &function, &request).await;
        assert_eq!(reply, expected, "{call} of {names:?}");
    }
}

#[tokio::test]
async fn the_initialiser_runs_once_before_the_first_entry() {
    let host = Host::new();
    let wat = guest(
        r#"(global $runs (mut i32) (i32.const 0))
        (func $bump (global.set $runs (i32.add (global.get $runs) (i32.const 1))))
        (func (export "_initialize") (call $bump))
        (func $start (call $bump) (call $log (i32.const 2) (i32.const 0) (i32.const 5)))
        (start $start)
        (data (i32.const 0) "hello")
        (func (export "run") (call $reply_int (i64.extend_i32_u (global.get $runs))))"#,
    );
    let fresh = host.load(&wat);
    let reuse = host.load_reusing(&wat);
    for _ in 0..3 {
        assert_eq!(host.call(&fresh, &[], &[]).await, ":2");
        assert_eq!(host.call(&reuse, &[], &[]).await, ":2");
    }
}

#[test]
fn any_executor_will_do() {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    let host = Host::new();
    let function = host.load(&run("(call $reply_null)"));
    let mut call = pin!(host.call(&function, &[], &[]));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(reply) = call.as_mut().poll(&mut context) {
            assert_eq!(reply, "_");
            return;
        }
    }
}

#[tokio::test]
async fn calls_of_a_held_function_are_counted_and_profiled() {
    let host = Host::new();
    let wat = run(
        "(if (i32.eqz (call $arg_count)) (then (unreachable))) (call $reply_int (i64.const 7))",
    );
    let function = host.load(&wat);
    assert_eq!(host.call(&function, &[], &["a"]).await, ":7");
    assert!(host.call(&function, &[], &[]).await.starts_with("-TRAP "));
    let stats = function.stats().snapshot();
    assert_eq!((stats.calls, stats.errors), (2, 1));
    assert!(stats.fuel > 0);

    let request = CallRequest::new(b"", &[], &[b"a"]).with_function(function.entry_named(None));
    let mut reply = Encoder::new(Protocol::Resp3);
    let outcome = host.runtime.profile(&request, &mut reply).await;
    let profile = outcome.profile.expect("it was asked for");
    assert!(
        profile
            .host_calls
            .as_slice()
            .iter()
            .any(|call| call.name == "reply_int")
    );
    assert_eq!(function.stats().snapshot().calls, 3);

    // A call that is dropped while it runs counts as killed.
    let spinning = host.load(&run("(loop $l (br $l))"));
    {
        let call = host.call(&spinning, &[], &[]);
        let mut call = std::pin::pin!(call);
        let waker = std::task::Waker::noop();
        let polled = call
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        assert!(polled.is_pending());
    }
    let stats = spinning.stats().snapshot();
    assert_eq!(stats.errors_by_code, [(Code::Killed, 1)]);
}
