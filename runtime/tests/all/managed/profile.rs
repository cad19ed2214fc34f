//! `WASM.PROFILE` runs the function and discards its effects.

use super::{ENDLESS, Managed};
use crate::support::guest;

#[tokio::test]
async fn a_profile_tells_what_a_call_took_and_rolls_back() {
    let host = Managed::new();
    let wat = guest(
        r#"(data (i32.const 0) "key")
        (func (export "run")
            (drop (call $set (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 3) (i32.const 0) (i64.const -1)))
            (call $reply_int (i64.extend_i32_s (call $get (i32.const 0) (i32.const 3) (i32.const 16) (i32.const 16)))))"#,
    );
    host.load("f", &wat, r#"PERMISSIONS {"allow_write":true}"#)
        .await;
    let profile = host.say("WASM.PROFILE f").await;
    for part in [
        "$7 wall_us ",
        "$6 cpu_us ",
        "$4 fuel :",
        "$5 tries :1 ",
        "$12 memory_bytes :65536 ",
        "$10 host_calls *3 *8 $4 name $3 set $5 calls :1 $5 bytes :",
        "$4 name $3 get $5 calls :1 ",
        "$5 error $-1 ",
        "$11 reply_bytes :4 $5 reply :3",
    ] {
        assert!(profile.contains(part), "{part}: {profile}");
    }
    assert_eq!(
        host.runtime.keyspace().string("key"),
        None,
        "it was rolled back"
    );
    assert_eq!(host.say("WASM.CALL f").await, ":3");
    assert_eq!(
        host.runtime.keyspace().string("key").as_deref(),
        Some("key")
    );
}

#[tokio::test]
async fn a_profile_of_a_failure_tells_the_error() {
    let host = Managed::new();
    host.load("loops", ENDLESS, r#"LIMITS {"max_fuel":1000}"#)
        .await;
    let profile = host.say("WASM.PROFILE loops").await;
    assert!(
        profile.contains("FUEL the call used up its 1000 units"),
        "{profile}"
    );
    assert!(profile.ends_with("$5 reply $-1"), "{profile}");
    // A call that never ran has no profile.
    for (call, error) in [
        ("WASM.PROFILE nobody", "-NOFUNC no function"),
        (
            "WASM.PROFILE loops.nothing",
            "-NOFUNC function \"loops\" has no entry ",
        ),
    ] {
        let reply = host.say(call).await;
        assert!(reply.starts_with(error), "{reply}");
    }
}
