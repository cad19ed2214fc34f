//! Successive releases: an older one is refused after a newer one.

use ferrite_tests::Reply;

use super::workshop::{Workshop, loaded, refused};

#[test]
fn an_older_release_does_not_come_back() {
    let workshop = Workshop::new();
    let [one, two] = ["1", "2"].map(|sequence| workshop.signed(&["--sequence", sequence]));
    let server = workshop.lean_server().start();
    let mut client = server.client();
    loaded(&client.call(&[b"WASM.LOAD".as_slice(), b"count", &two]));
    // Loading the same release again is allowed.
    loaded(&client.call(&[b"WASM.LOAD".as_slice(), b"count", &two, b"REPLACE"]));
    for command in [b"WASM.LOAD".as_slice(), b"WASM.RELOAD"] {
        let mut words = vec![command, b"count", &one];
        if command == b"WASM.LOAD" {
            words.push(b"REPLACE");
        }
        let error = refused(&client.call(&words), "BADSIG ");
        assert!(
            error.contains("has sequence 1, and sequence 2 of \"count\""),
            "{error}"
        );
    }
    // Also after an unload, and after a restart.
    assert_eq!(client.run("WASM.UNLOAD count"), Reply::Simple("OK".into()));
    refused(
        &client.call(&[b"WASM.LOAD".as_slice(), b"count", &one]),
        "BADSIG ",
    );
    assert!(server.stop().success());
    let server = workshop.lean_server().start();
    let mut client = server.client();
    refused(
        &client.call(&[b"WASM.LOAD".as_slice(), b"count", &one]),
        "BADSIG ",
    );
    loaded(&client.call(&[b"WASM.LOAD".as_slice(), b"count", &two]));
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
}

#[test]
fn loads_at_once_end_with_the_newest() {
    const RELEASES: usize = 8;
    let workshop = Workshop::new();
    let bundles: Vec<_> = (1..=RELEASES)
        .map(|sequence| workshop.signed(&["--sequence", &sequence.to_string()]))
        .collect();
    let server = workshop.lean_server().start();
    loaded(
        &server
            .client()
            .call(&[b"WASM.LOAD".as_slice(), b"count", &bundles[0]]),
    );
    std::thread::scope(|scope| {
        for bundle in bundles.iter().rev() {
            let mut client = server.client();
            scope.spawn(move || {
                let reply = client.call(&[b"WASM.LOAD".as_slice(), b"count", bundle, b"REPLACE"]);
                if reply.error().is_some() {
                    refused(&reply, "BADSIG ");
                } else {
                    loaded(&reply);
                }
            });
        }
        for _ in 0..2 {
            let mut client = server.client();
            scope.spawn(move || {
                for _ in 0..100 {
                    let reply = client.run("WASM.CALL count KEYS n");
                    assert!(reply.int().is_some(), "no call fails: {reply:?}");
                }
            });
        }
    });
    let info = server.client().run("WASM.INFO count");
    let sequence = info
        .at("bundle")
        .and_then(|release| release.at("sequence")?.int());
    assert_eq!(sequence, i64::try_from(RELEASES).ok());
}
