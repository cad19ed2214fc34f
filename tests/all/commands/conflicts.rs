//! Calls that conflict: each takes effect once, as if they had run one after the other.

use std::sync::atomic::{AtomicBool, Ordering};

use ferrite_tests::{Reply, Server};

/// Moves 1 from its first key to its second. It reads both, with more than a tick in between for
/// others to change them, and traps if a read fails.
const TRANSFER: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 1)
  (func $read (param $key i32)
    (if (i32.le_s
          (call $get (i32.const 64)
            (call $key (local.get $key) (i32.const 64) (i32.const 256))
            (i32.const 512) (i32.const 64))
          (i32.const -16))
      (then unreachable)))
  (func $add (param $key i32) (param $delta i64)
    (if (call $incr_by (i32.const 64)
          (call $key (local.get $key) (i32.const 64) (i32.const 256))
          (local.get $delta) (i32.const 0))
      (then unreachable)))
  (func (export "run")
    (local $left i32)
    (call $read (i32.const 0))
    (local.set $left (i32.const 1000000))
    (loop $again
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (call $read (i32.const 1))
    (call $add (i32.const 0) (i64.const -1))
    (call $add (i32.const 1) (i64.const 1))
    (call $reply_int (i64.const 1))))"#;

#[test]
fn calls_that_others_get_ahead_of_run_again() {
    const CALLS: i64 = 40;
    const CALLERS: i64 = 3;
    let server = Server::start();
    let mut client = server.client();
    let read_write = r#"{"allowed_keys":["*"],"allow_write":true}"#;
    let reply = client.call(&[
        "WASM.DEFINE",
        "transfer",
        TRANSFER,
        "PERMISSIONS",
        read_write,
    ]);
    assert!(reply.error().is_none(), "{reply:?}");
    let done = AtomicBool::new(false);
    let added = std::thread::scope(|scope| {
        let adding = scope.spawn(|| {
            let mut adder = server.client();
            let mut added = 0;
            while !done.load(Ordering::Relaxed) {
                assert!(adder.run("INCR from").int().is_some());
                added += 1;
            }
            added
        });
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut caller = server.client();
                    for _ in 0..CALLS {
                        let reply = caller.run("WASM.CALL transfer KEYS from to");
                        assert_eq!(reply, Reply::Int(1));
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().expect("no call failed");
        }
        done.store(true, Ordering::Relaxed);
        adding.join().expect("a sum")
    });
    let mut balance = |key: &str| -> i64 {
        let reply = client.run(&format!("GET {key}"));
        reply
            .text()
            .and_then(|text| text.parse().ok())
            .expect("a number")
    };
    assert_eq!(balance("to"), CALLS * CALLERS);
    assert_eq!(balance("from"), added - CALLS * CALLERS);
    let info = client.run("WASM.INFO transfer");
    let retries = info.at("retries").and_then(Reply::int).expect("a count");
    assert!(retries > 0, "nothing was in the way: {info:?}");
}
