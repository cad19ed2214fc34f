//! The life of a function, by commands alone.

use base64::Engine as _;
use ferrite_cache::Digest;

use super::{ADD_ONE, ENDLESS, Managed};
use crate::support::run;

#[tokio::test]
async fn a_function_is_loaded_called_looked_at_and_unloaded() {
    let host = Managed::new();
    let digest = host.load("add1", ADD_ONE, "").await;
    assert_eq!(host.say("WASM.CALL add1 ARGS 41").await, ":42");
    assert_eq!(host.say("WASM.CALL add1.run KEYS ARGS 1").await, ":2");
    assert_eq!(host.say("FCALL add1 0 7").await, ":8");
    assert_eq!(host.say("FCALL_RO add1 0 -1").await, ":0");
    assert_eq!(
        host.say("WASM.LIST").await,
        format!(
            "*1 *10 $4 name $4 add1 $6 digest $71 {digest} $9 isolation $6 rewind $5 calls :4 $6 errors :0"
        )
    );
    assert_eq!(
        host.say("WASM.EXPORTS add1").await,
        "*1 *8 $4 name $3 run $4 kind $8 function $9 signature $12 (i64) -> i64 $5 entry $6 scalar"
    );
    let info = host.say("WASM.INFO add1").await;
    for part in [
        "$4 name $4 add1 ",
        "$11 description $-1 ",
        "$6 loaded :1 ",
        "$7 entries *1 $3 run ",
        "$5 calls :4 ",
        "$14 errors_by_code *0 ",
        "$10 last_error $-1",
        r#""allow_write":false"#,
        r#""max_fuel":10000000"#,
    ] {
        assert!(info.contains(part), "{part}: {info}");
    }
    let memory = host.say("WASM.MEMORY add1").await;
    assert!(
        memory.starts_with("*14 $13 initial_bytes :0 $13 maximum_bytes :16777216 "),
        "{memory}"
    );
    assert!(
        host.say("WASM.STATS")
            .await
            .contains("$9 functions :1 $16 functions_loaded :1 $5 calls :4 ")
    );
    let help = host.say("WASM.HELP").await;
    assert!(
        help.contains("+WASM.LOAD name source [DESCRIPTION text] "),
        "{help}"
    );

    assert_eq!(host.say("WASM.UNLOAD add1").await, "+OK");
    let gone = "-NOFUNC no function \"add1\"; WASM.LIST shows what is loaded, WASM.LOAD loads it";
    for request in [
        "WASM.CALL add1 ARGS 1",
        "FCALL add1 0 1",
        "WASM.CALLASYNC add1",
        "WASM.INFO add1",
        "WASM.EXPORTS add1",
        "WASM.MEMORY add1",
        "WASM.ERRORS add1",
        "WASM.UNLOAD add1",
        "WASM.RELOAD add1 blake3:0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        assert_eq!(host.say(request).await, gone, "{request}");
    }
    assert_eq!(host.say("WASM.LIST").await, "*0");
}

#[tokio::test]
async fn a_source_is_taken_in_every_form() {
    let host = Managed::new();
    let digest = host.compile(ADD_ONE);
    let wasm = host
        .runtime
        .cache()
        .and_then(|cache| cache.source(&digest).expect("the disk works"))
        .expect("it was put there");
    let base64 = base64::engine::general_purpose::STANDARD.encode(&wasm);
    std::fs::write(host.modules().join("add.wasm"), &wasm).expect("the disk works");
    let sources: [&[u8]; 4] = [
        &wasm,
        base64.as_bytes(),
        b"add.wasm",
        &digest.to_string().into_bytes(),
    ];
    for source in sources {
        let reply = host.run(&[b"WASM.LOAD", b"f", source, b"REPLACE"]).await;
        assert_eq!(reply, format!("$71 {digest}"));
        assert_eq!(host.say("WASM.CALL f ARGS 1").await, ":2");
    }
    let file = host
        .run(&[b"WASM.LOAD", b"f", b"add.wasm", b"REPLACE"])
        .await;
    assert_eq!(file, format!("$71 {digest}"));
    let info = host.say("WASM.INFO f").await;
    assert!(info.contains("$4 file $8 add.wasm "), "{info}");
    assert!(
        info.contains("$5 calls :4 "),
        "the figures belong to the name: {info}"
    );
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused_and_nothing_changes() {
    let host = Managed::with(|options| options.functions_max = 1);
    let digest = host.load("f", ADD_ONE, "DESCRIPTION adds").await;
    let missing = Digest::of(b"not there");
    let cache = host
        .runtime
        .cache()
        .expect("there is one")
        .root()
        .display()
        .to_string();
    let digest_text = digest.to_string();
    let missing_text = missing.to_string();
    let long = "x".repeat(5000);
    let cases: &[(&[&str], String)] = &[
        (&["WASM.LOAD", "f", &digest_text], "-EXISTS function \"f\" is loaded; add REPLACE or use WASM.RELOAD".into()),
        (&["WASM.LOAD", "g", &digest_text], "-LIMIT there are 1 functions, which is the limit; unload some".into()),
        (&["WASM.LOAD", "f", &missing_text, "REPLACE"], format!("-NOARTIFACT {missing} is not in the cache {cache}; put it there by ferrite-wasmc compile FILE --cache {cache}, or give the module itself")),
        (&["WASM.RELOAD", "f", &missing_text], format!("-NOARTIFACT {missing} is not in the cache {cache}; put it there by ferrite-wasmc compile FILE --cache {cache}, or give the module itself")),
        (&["WASM.LOAD", "f", "\0asm\x01\0\0\0", "REPLACE"], "-NOARTIFACT the configured compiler /nonexistent/ferrite-wasmc is no program that can be run; precompile the module where there is one: ferrite-wasmc compile FILE --cache DIR, and load it by its blake3:<digest>".into()),
        (&["WASM.DEFINE", "f", "(module)", "REPLACE"], "-NOARTIFACT the configured compiler /nonexistent/ferrite-wasmc is no program that can be run; precompile the module where there is one: ferrite-wasmc compile FILE --cache DIR, and load it by its blake3:<digest>".into()),
        (&["WASM.LOAD", "f", "../f.wasm", "REPLACE"], "-NOPERM the path \"../f.wasm\" leads out of the folder for modules by \"..\"; give a path below it".into()),
        (&["WASM.LOAD", "f", &digest_text, "REPLACE", "DESCRIPTION", &long], "-LIMIT the description has 5000 bytes, the limit is 4096".into()),
        (&["WASM.LOAD", "f", &digest_text, "REPLACE", "PERMISSIONS", r#"{"allowed_commands": ["NOPE"]}"#], "-INVALID permissions: unknown command \"NOPE\" in allowed_commands; COMMAND LIST shows those there are".into()),
        (&["WASM.LOAD", "f", &digest_text, "REPLACE", "LIMITS", r#"{"max_stack_depth": 5}"#], "-NOARTIFACT the configured compiler /nonexistent/ferrite-wasmc is no program that can be run; precompile the module where there is one: ferrite-wasmc compile FILE --cache DIR, and load it by its blake3:<digest>; with max_stack_depth, which needs code that counts its calls, add --stack-depth to ferrite-wasmc compile or bundle".into()),
    ];
    for (words, expected) in cases {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(host.run(&words).await, *expected);
    }
    assert_eq!(host.say("WASM.CALL f ARGS 1").await, ":2");
    assert!(
        host.say("WASM.INFO f")
            .await
            .contains("$11 description $4 adds ")
    );
}

#[tokio::test]
async fn errors_are_counted_and_kept() {
    let host = Managed::new();
    let digest = host.load("f", &run("unreachable"), "").await;
    let endless = host.load("g", ENDLESS, r#"LIMITS {"max_fuel":1000}"#).await;
    for _ in 0..3 {
        assert!(host.say("WASM.CALL f").await.starts_with("-TRAP "));
    }
    assert!(host.say("WASM.CALL g").await.starts_with("-FUEL "));
    let errors = host.say("WASM.ERRORS f LIMIT 2").await;
    assert!(errors.starts_with("*2 *8 $7 unix_ms :"), "{errors}");
    assert_eq!(errors.matches("$4 code $4 TRAP ").count(), 2, "{errors}");
    assert!(
        errors.ends_with(&format!("$6 digest $71 {digest}")),
        "{errors}"
    );
    assert!(
        host.say("WASM.ERRORS g")
            .await
            .contains(&endless.to_string())
    );
    let info = host.say("WASM.INFO f").await;
    assert!(
        info.contains("$6 errors :3 $14 errors_by_code *2 $4 TRAP :3 "),
        "{info}"
    );
    assert!(
        host.say("WASM.STATS")
            .await
            .contains("errors_by_code *4 $4 FUEL :1 $4 TRAP :3 ")
    );
}

#[tokio::test]
async fn a_call_is_ended_by_name_or_by_id() {
    let host = Managed::with(|options| {
        options.limits.fuel_max = u64::MAX;
        options.limits.time_max = std::time::Duration::from_secs(600);
    });
    host.load("loops", ENDLESS, "").await;
    assert_eq!(
        host.say("WASM.KILL nobody").await,
        "-NOFUNC \"nobody\" is neither a function that is loaded nor a call that runs; WASM.INFO shows a function's calls"
    );
    assert_eq!(host.say("WASM.KILL loops").await, ":0");
    for by_id in [false, true] {
        let call = host.say("WASM.CALL loops");
        let kill = async {
            let id = loop {
                let info = host.say("WASM.INFO loops").await;
                if let Some((_, after)) = info.split_once("$13 running_calls *1 *4 $2 id ") {
                    break after.split(' ').nth(1).expect("an id").to_owned();
                }
                tokio::task::yield_now().await;
            };
            let what = if by_id { id } else { "loops".to_owned() };
            host.say(&format!("WASM.KILL {what}")).await
        };
        let (call, kill) = tokio::join!(call, kill);
        assert!(call.starts_with("-KILLED "), "{call}");
        assert_eq!(kill, ":1");
    }
}
