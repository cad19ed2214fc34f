//! Long calls on one key take turns, instead of computing in vain.

use ferrite_tests::{Reply, Server};

/// Reads its key, computes for some milliseconds, and adds 1 to it.
const LONG: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run")
    (local $len i32) (local $left i32)
    (local.set $len (call $key (i32.const 0) (i32.const 64) (i32.const 256)))
    (drop (call $get (i32.const 64) (local.get $len) (i32.const 512) (i32.const 64)))
    (local.set $left (i32.const 1000000))
    (loop $again
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (if (call $incr_by (i32.const 64) (local.get $len) (i64.const 1) (i32.const 0))
      (then unreachable))))"#;

#[test]
fn long_calls_on_one_key_are_rarely_in_vain() {
    const CALLS: i64 = 50;
    const CALLERS: i64 = 4;
    let server = Server::start();
    let mut client = server.client();
    let permissions = r#"{"allowed_keys":["*"],"allow_write":true}"#;
    let reply = client.call(&["WASM.DEFINE", "long", LONG, "PERMISSIONS", permissions]);
    assert!(reply.error().is_none(), "{reply:?}");
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let mut caller = server.client();
                for _ in 0..CALLS {
                    let reply = caller.run("WASM.CALL long KEYS hot");
                    assert_eq!(reply.text(), Some("OK"), "{reply:?}");
                }
            });
        }
    });
    let sum = client.run("GET hot");
    assert_eq!(sum.text(), Some((CALLS * CALLERS).to_string().as_str()));
    let info = client.run("WASM.INFO long");
    let retries = info.at("retries").and_then(Reply::int).expect("a count");
    assert!(
        retries < CALLS * CALLERS / 4,
        "{retries} tries of {} calls were in vain",
        CALLS * CALLERS
    );
}
