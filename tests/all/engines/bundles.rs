//! Signed bundles inside the engines: the trusted keys, and the state after a restart.

use std::fs;

use ferrite_tests::{EngineKind, Reply};

use crate::bundles::workshop::{Workshop, loaded, refused};

#[test]
fn bundles_are_loaded_if_a_trusted_key_signed_them() {
    for kind in EngineKind::here() {
        let workshop = Workshop::new();
        let dir = workshop.path("engine");
        fs::create_dir_all(dir.join("modules")).expect("made");
        let write = |name: &str, bundle: Vec<u8>| {
            fs::write(dir.join("modules").join(name), bundle).expect("written");
        };
        write("old.cwasm.tar", workshop.signed(&["--sequence", "1"]));
        write("new.cwasm.tar", workshop.signed(&["--sequence", "2"]));
        write(
            "foreign.cwasm.tar",
            workshop.bundle(&["--sign", "other.key"]),
        );
        let key = workshop.path("ci.pub");
        let key = key.to_str().expect("text");
        let start = || {
            kind.builder()
                .dir(&dir)
                .module(&["module-dir", "modules", "trusted-key", key])
                .module(&["require-signed", "yes"])
                .start()
        };
        let engine = start();
        let mut client = engine.client();
        refused(&client.run("WASM.LOAD count foreign.cwasm.tar"), "BADSIG");
        refused(
            &client.call(&["WASM.DEFINE", "plain", "(module (func (export \"run\")))"]),
            "BADSIG",
        );
        loaded(&client.run("WASM.LOAD count new.cwasm.tar"));
        assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(1));
        refused(
            &client.run("WASM.LOAD count old.cwasm.tar REPLACE"),
            "BADSIG",
        );
        client.run("SAVE");
        drop(engine);

        // A restart finds code and facts again, and still refuses an older release.
        let engine = start();
        let mut client = engine.client();
        assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(2));
        let info = client.run("WASM.INFO count");
        let release = info.at("bundle").expect("it came in one");
        assert_eq!(release.at("sequence").and_then(Reply::int), Some(2));
        refused(
            &client.run("WASM.LOAD count old.cwasm.tar REPLACE"),
            "BADSIG",
        );
    }
}
