//! A component reads its function's configuration by `wasi:config`.

use ferrite_tests::{Client, Reply, Server};

fn configured(client: &mut Client, args: &str) -> Reply {
    client.run(&format!("WASM.CALL std.configured {args}"))
}

#[test]
fn values_are_found_and_listed() {
    let server = Server::start();
    let mut client = server.client();
    let component = super::standard::component();
    let load: [&[u8]; 3] = [b"WASM.LOAD", b"std", &component];
    let long = "x".repeat(10_000);
    let config =
        format!(r#"{{"token": "s3cret", "url": "", "long": "{long}", "greeting": "grüße"}}"#);
    for isolation in ["rewind", "reuse"] {
        let loaded = client.call(
            &[
                &load[..],
                &[b"CONFIG", config.as_bytes()],
                &[b"ISOLATION", isolation.as_bytes()],
            ]
            .concat(),
        );
        assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
        let text = |text: &str| Reply::Simple(text.into());
        for _ in 0..2 {
            assert_eq!(configured(&mut client, "ARGS token"), text("s3cret"));
            assert_eq!(configured(&mut client, "ARGS url"), text(""));
            assert_eq!(configured(&mut client, "ARGS Token"), Reply::Null);
            let all = [
                text("greeting=grüße"),
                text(&format!("long={long}")),
                text("token=s3cret"),
                text("url="),
            ];
            assert_eq!(configured(&mut client, ""), Reply::Array(all.into()));
        }
        let changed = client.call(&[
            "WASM.CONFIG",
            "std",
            r#"{"token": null, "url": null, "long": null}"#,
        ]);
        assert!(changed.error().is_none(), "{changed:?}");
        let all = vec![text("greeting=grüße")];
        assert_eq!(configured(&mut client, ""), Reply::Array(all));
        assert_eq!(client.run("WASM.UNLOAD std"), Reply::Simple("OK".into()));
    }
    // Nobody else is told a value.
    let loaded = client.call(&load);
    assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
    assert_eq!(configured(&mut client, ""), Reply::Array(Vec::new()));
    assert_eq!(configured(&mut client, "ARGS token"), Reply::Null);
    assert!(!server.log().contains("s3cret"));
}
