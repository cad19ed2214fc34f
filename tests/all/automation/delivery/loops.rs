//! Functions that trigger each other, or themselves several times at once.

use ferrite_tests::Server;

use super::super::{define, ok};
use super::figure;

/// Writes two keys: its first one with 0 and with 1 at the end.
const FORK: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (memory (export "memory") 1)
  (func $write (param $letter i32) (local $length i32)
    (local.set $length (call $key (i32.const 0) (i32.const 0) (i32.const 256)))
    (i32.store8 (local.get $length) (local.get $letter))
    (drop (call $set (i32.const 0) (i32.add (local.get $length) (i32.const 1))
      (i32.const 0) (i32.const 1) (i32.const 0) (i64.const -1))))
  (func (export "run")
    (call $write (i32.const 48))
    (call $write (i32.const 49))))"#;

/// Each event leads to two more, and all of them end at the same depth.
#[test]
fn a_loop_that_forks_ends_at_its_depth() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "fork", FORK);
    let add = "WASM.TRIGGER ADD t fork KEYS k* EVENTS set";
    assert_eq!(client.run(add), ok());
    assert_eq!(client.run("SET k v"), ok());
    // 1 + 2 + 4 … + 128, and the 256 that these lead to.
    while figure(&mut client, "given_up") != 256 {}
    while figure(&mut client, "pending") != 0 {}
    assert_eq!(figure(&mut client, "delivered"), 255);
    assert_eq!(figure(&mut client, "occurred"), 511);
    assert_eq!(client.run("DBSIZE").int(), Some(511));
}

/// Two triggers that lead to each other are one loop.
#[test]
fn a_loop_of_two_triggers_ends_at_its_depth() {
    let server = Server::start();
    let mut client = server.client();
    // `a` writes `a0` and `a1`, whose trigger writes `a00`, and so on: the patterns take turns.
    define(&mut client, "fork", FORK);
    for line in [
        "WASM.TRIGGER ADD t fork KEYS k k?? k???? k?????? k???????? EVENTS set",
        "WASM.TRIGGER ADD u fork KEYS k? k??? k????? k??????? k????????? EVENTS set",
    ] {
        assert_eq!(client.run(line), ok());
    }
    assert_eq!(client.run("SET k v"), ok());
    while figure(&mut client, "given_up") != 256 {}
    while figure(&mut client, "pending") != 0 {}
    assert_eq!(figure(&mut client, "delivered"), 1 + 4 + 16 + 64);
    assert_eq!(client.run("DBSIZE").int(), Some(511));
}
