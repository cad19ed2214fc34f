//! The module in Valkey and Redis.

use std::thread;

use ferrite_tests::{EngineKind, Reply};

use super::peer::Peer;
use super::{call, define, hello, request};

const OPEN: [&str; 4] = [
    "allow-network",
    "http://127.0.0.1:*",
    "allow-private-network",
    "127.0.0.1",
];

#[test]
fn requests_are_made_beside_the_main_thread_and_never_on_it() {
    for kind in EngineKind::here() {
        let peer = Peer::start();
        let engine = kind.builder().module(&OPEN).start();
        let mut client = engine.client();
        define(&mut client, &peer);
        let url = peer.url("/hello");
        assert_eq!(call(&mut client, &url), hello(&url));
        assert_eq!(peer.count(), 1);

        // While a call waits, the engine serves others, who may also write what it has read.
        let silent = peer.url("/silent");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| call(&mut engine.client(), &silent));
            assert_eq!(peer.requests.recv().as_deref(), Ok("/silent"));
            assert_eq!(client.run("SET n 5"), Reply::Simple("OK".into()));
            assert_eq!(client.run("WASM.KILL f"), Reply::Int(1));
            let reply = waiting.join().expect("no panic");
            assert!(
                reply
                    .error()
                    .is_some_and(|error| error.starts_with("KILLED ")),
                "{reply:?}"
            );
            assert_eq!(peer.gone.recv(), Ok(()));
        });

        // Inside a transaction and a script, no request is made.
        client.run("MULTI");
        call(&mut client, &url);
        let reply = format!("{:?}", client.run("EXEC"));
        assert!(reply.contains("-UNAVAILABLE "), "{reply}");
        let script = "return redis.call('WASM.CALL', 'f', 'ARGS', ARGV[1])";
        let reply = format!("{:?}", client.call(&["EVAL", script, "0", &request(&url)]));
        assert!(reply.contains("-UNAVAILABLE "), "{reply}");
        assert_eq!(peer.count(), 0);
    }
}
