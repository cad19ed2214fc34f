//! Calls in the background, through `WASM.CALLASYNC` and `WASM.RESULT`.

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::commands::Outcome;

use super::{ADD_ONE, ENDLESS, Managed};

/// Begins a call in the background; returns its id, and the future that the host must run.
async fn begin(
    host: &Managed,
    request: &str,
) -> (
    String,
    ferrite_runtime::commands::BackgroundCall<crate::support::keyspace::MemoryKeyspace>,
) {
    let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
    let (reply, outcome) = host.run_in(Protocol::Resp2, &words).await;
    let id = reply
        .strip_prefix("$16 ")
        .unwrap_or_else(|| panic!("{reply}"));
    let Outcome::Background(call) = outcome else {
        panic!("there is nothing to run");
    };
    assert_eq!(call.id(), id);
    (id.to_owned(), *call)
}

#[tokio::test]
async fn a_reply_is_there_once_it_is_published() {
    let host = Managed::new();
    host.load("add1", ADD_ONE, "").await;
    let (id, mut call) = begin(&host, "WASM.CALLASYNC add1 ARGS 41").await;
    let fetch = format!("WASM.RESULT {id}");
    assert_eq!(host.say(&fetch).await, "$-1");
    call.run().await;
    assert_eq!(
        host.say(&fetch).await,
        "$-1",
        "its host may still wait for the disk"
    );
    call.publish();
    assert_eq!(host.say(&fetch).await, ":42");
    assert_eq!(host.say(&format!("{fetch} BLOCK 1")).await, ":42");
    assert!(
        host.say("WASM.STATS")
            .await
            .contains("$13 async_pending :0 $13 async_results :1 $18 async_result_bytes :5")
    );
}

#[tokio::test]
async fn a_fetch_waits_and_errors_are_replies_too() {
    let host = Managed::new();
    host.load("add1", ADD_ONE, "").await;
    let (id, mut call) = begin(&host, "WASM.CALLASYNC add1 ARGS x").await;
    let wait = format!("WASM.RESULT {id} BLOCK 0");
    let (reply, ()) = tokio::join!(host.say(&wait), async {
        tokio::task::yield_now().await;
        call.run().await;
        call.publish();
    });
    assert!(reply.starts_with("-INVALID "), "{reply}");
    assert_eq!(
        host.say("WASM.RESULT 0000000000000000").await,
        "-INVALID there is no result for call \"0000000000000000\": the id is unknown, or the result was older than 60s or had to make room"
    );
}

#[tokio::test]
async fn a_call_in_the_background_can_be_ended_or_dropped() {
    let host = Managed::with(|options| options.limits.fuel_max = u64::MAX);
    host.load("loops", ENDLESS, "").await;
    for by_name in [true, false] {
        let (id, mut call) = begin(&host, "WASM.CALLASYNC loops").await;
        let kill = format!("WASM.KILL {}", if by_name { "loops" } else { &id });
        assert_eq!(host.say(&kill).await, ":1");
        call.run().await;
        call.publish();
        let reply = host.say(&format!("WASM.RESULT {id}")).await;
        assert!(reply.starts_with("-KILLED "), "{reply}");
    }
    let (id, call) = begin(&host, "WASM.CALLASYNC loops").await;
    drop(call);
    let reply = host.say(&format!("WASM.RESULT {id}")).await;
    assert!(reply.starts_with("-KILLED "), "{reply}");
}

#[tokio::test]
async fn ten_thousand_calls_do_not_fit() {
    let host = Managed::new();
    host.load("add1", ADD_ONE, "").await;
    let mut begun = Vec::new();
    let mut refused = 0;
    for _ in 0..10_000 {
        let (reply, outcome) = host
            .run_in(
                Protocol::Resp2,
                &[b"WASM.CALLASYNC", b"add1", b"ARGS", b"1"],
            )
            .await;
        match outcome {
            Outcome::Background(call) => begun.push(call),
            Outcome::Done(_) => {
                assert!(
                    reply.starts_with("-BUSY 1000 calls are in the background"),
                    "{reply}"
                );
                refused += 1;
            }
        }
    }
    assert_eq!((begun.len(), refused), (1000, 9000));
    drop(begun);
    assert!(
        host.say("WASM.STATS")
            .await
            .contains("async_pending :0 $13 async_results :1000 ")
    );
}
