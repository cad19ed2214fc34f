//! The registry after a restart.

use std::fs;
use std::sync::Arc;

use super::{ADD_ONE, Managed};
use crate::support::run;

#[tokio::test]
async fn functions_survive_a_restart_and_are_fetched_when_called() {
    let host = Managed::new();
    let digest = host
        .load(
            "add1",
            ADD_ONE,
            r#"DESCRIPTION adds LIMITS {"max_fuel":999} ISOLATION reuse"#,
        )
        .await;
    host.load(
        "writer",
        &run("nop"),
        r#"PERMISSIONS {"allow_write":true,"allowed_keys":["a*"]}"#,
    )
    .await;
    let before = fs::read_to_string(host.registry_path()).expect("it was written");

    let host = host.restart().expect("it starts");
    let list = host.say("WASM.LIST").await;
    assert!(
        list.starts_with("*2 ") && list.contains(&digest.to_string()),
        "{list}"
    );
    let info = host.say("WASM.INFO add1").await;
    assert!(
        info.contains("$6 loaded :0 ") && info.contains("$4 adds "),
        "{info}"
    );
    assert_eq!(host.say("WASM.CALL add1 ARGS 1").await, ":2");
    let info = host.say("WASM.INFO add1").await;
    assert!(
        info.contains("$6 loaded :1 ") && info.contains(r#""max_fuel":999"#),
        "{info}"
    );
    assert!(host.say("WASM.EXPORTS writer").await.starts_with('*'));
    assert!(
        host.say("WASM.INFO writer")
            .await
            .contains(r#""allowed_keys":["a*"]"#)
    );

    assert_eq!(host.say("WASM.UNLOAD writer").await, "+OK");
    let host = host.restart().expect("it starts");
    assert!(host.say("WASM.LIST").await.starts_with("*1 "));
    assert!(before.starts_with("{\"version\":2,"), "{before}");
}

#[tokio::test]
async fn a_missing_artifact_is_reported_and_does_not_keep_it_from_starting() {
    let host = Managed::new();
    host.load("gone", ADD_ONE, "").await;
    let cache = host
        .runtime
        .cache()
        .expect("there is one")
        .root()
        .to_path_buf();
    fs::remove_dir_all(cache.join("v1")).expect("it was there");
    let host = host.restart().expect("it starts");
    for _ in 0..2 {
        let reply = host.say("WASM.CALL gone ARGS 1").await;
        assert!(reply.starts_with("-NOARTIFACT blake3:"), "{reply}");
    }
    assert!(
        host.say("WASM.ERRORS gone")
            .await
            .contains("$4 code $10 NOARTIFACT ")
    );

    // Once the code exists again, a load repairs the function.
    host.load("gone", ADD_ONE, "REPLACE").await;
    assert_eq!(host.say("WASM.CALL gone ARGS 1").await, ":2");
}

#[tokio::test]
async fn a_thousand_functions_start_from_one_file() {
    let host = Managed::new();
    let digest = host.load("f0", ADD_ONE, "").await;
    let text = fs::read_to_string(host.registry_path()).expect("it was written");
    let line = text.lines().nth(1).expect("a line for the function");
    let line: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
    let record = line["put"][0].clone();
    let functions: Vec<_> = (0..1000)
        .map(|number| {
            let mut record = record.clone();
            record["name"] = format!("f{number}").into();
            record
        })
        .collect();
    let many = serde_json::json!({"version": 1, "functions": functions});
    fs::write(host.registry_path(), many.to_string()).expect("the disk works");
    let host = host.restart().expect("it starts");
    let stats = host.say("WASM.STATS").await;
    assert!(
        stats.contains("$9 functions :1000 $16 functions_loaded :0 "),
        "{stats}"
    );
    assert_eq!(host.say("WASM.CALL f777 ARGS 1").await, ":2");
    assert!(
        host.say("WASM.STATS")
            .await
            .contains("functions_loaded :1 ")
    );
    assert!(host.say("WASM.INFO f1").await.contains(&digest.to_string()));
}

#[tokio::test]
async fn many_first_calls_all_get_the_code() {
    let host = Managed::new();
    host.load("f", ADD_ONE, "").await;
    let host = Arc::new(host.restart().expect("it starts"));
    let calls: Vec<_> = (0..50)
        .map(|number| {
            let host = Arc::clone(&host);
            tokio::spawn(async move { host.say(&format!("WASM.CALL f ARGS {number}")).await })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.expect("no panic"), format!(":{}", number + 1));
    }
}

#[tokio::test]
async fn a_registry_that_cannot_be_written_changes_nothing() {
    let host = Managed::new();
    host.load("f", ADD_ONE, "").await;
    // A folder at the path of the file: a rename over it fails.
    fs::remove_file(host.registry_path()).expect("it was there");
    fs::create_dir_all(host.registry_path().join("in the way")).expect("the disk works");
    let digest = host.compile(&run("nop"));
    let reply = host.say(&format!("WASM.LOAD g {digest}")).await;
    assert!(
        reply.starts_with("-STORE nothing was changed: the registry "),
        "{reply}"
    );
    assert!(
        host.say("WASM.UNLOAD f")
            .await
            .starts_with("-STORE nothing was changed: ")
    );
    assert_eq!(host.say("WASM.CALL f ARGS 1").await, ":2");
    assert!(host.say("WASM.CALL g").await.starts_with("-NOFUNC "));
}

#[test]
fn a_damaged_registry_keeps_it_from_starting_and_is_left_alone() {
    let host = Managed::new();
    fs::write(host.registry_path(), "{\"version\": 1, \"functions\": [").expect("the disk works");
    let Err(error) = host.restart() else {
        panic!("functions would be lost without a word");
    };
    assert!(error.to_string().contains("is damaged: EOF"), "{error}");
}
