//! Bundles of functions that share their code: each carries it, with its own image.

use std::fs;

use ferrite_tests::Reply;

use super::workshop::{Workshop, files, loaded, refused};

/// Makes a signed bundle of a function `name` with 160 KiB of data, which replies a byte of them.
fn bundle(workshop: &Workshop, name: &str, byte: u8) -> Vec<u8> {
    let data = format!("\\{byte:02x}").repeat(160 << 10);
    let wat = format!(
        r#"(module
            (memory (export "memory") 4)
            (data (i32.const 65536) "{data}")
            (func (export "run") (result i32)
                (i32.store8 (i32.const 70000) (i32.add (i32.load8_u (i32.const 70000)) (i32.const 1)))
                (i32.load8_u (i32.const 70000))))"#
    );
    let (source, made) = (format!("{name}.wat"), format!("{name}.tar"));
    fs::write(workshop.path(&source), wat).expect("written");
    let mut arguments = vec!["bundle", &source, "-o", &made, "--name", name];
    arguments.extend(["--version", "1", "--sign", "ci.key"]);
    arguments.extend([
        "--target",
        "x86_64-unknown-linux-gnu",
        "--target",
        "aarch64",
    ]);
    workshop.wasmc(&arguments);
    fs::read(workshop.path(&made)).expect("it was made")
}

#[test]
fn functions_of_two_bundles_share_code_and_keep_their_memories() {
    let workshop = Workshop::new();
    let server = workshop.lean_server().start();
    let mut client = server.client();
    let bundles = [("one", 10), ("two", 20)].map(|(name, byte)| bundle(&workshop, name, byte));
    loaded(&client.call(&[b"WASM.LOAD", b"one".as_slice(), &bundles[0]]));
    loaded(&client.call(&[b"WASM.LOAD", b"two".as_slice(), &bundles[1]]));
    for _ in 0..3 {
        assert_eq!(client.run("WASM.CALL one"), Reply::Int(11));
        assert_eq!(client.run("WASM.CALL two"), Reply::Int(21));
    }
    assert_eq!(files(&workshop.cache(), "engine"), 1);
    assert_eq!(files(&workshop.cache(), "image"), 2);
    assert_eq!(files(&workshop.cache(), "cwasm"), 0);
    // A restart finds both again.
    assert!(server.stop().success());
    let server = workshop.lean_server().start();
    let mut client = server.client();
    assert_eq!(client.run("WASM.CALL two"), Reply::Int(21));
    assert_eq!(client.run("WASM.CALL one"), Reply::Int(11));
}

#[test]
fn a_bundle_whose_image_was_changed_is_refused() {
    let workshop = Workshop::new();
    let server = workshop.lean_server().start();
    let mut client = server.client();
    let mut bundle = bundle(&workshop, "one", 0x5a);
    // The images are the only members with so many of these bytes in a row.
    let run = [0x5a; 64];
    let places: Vec<usize> = bundle
        .windows(run.len())
        .enumerate()
        .step_by(16)
        .filter(|(_, bytes)| *bytes == run)
        .map(|(at, _)| at)
        .collect();
    let last = *places.last().expect("an image comes last");
    bundle[last] ^= 1;
    let said = refused(
        &client.call(&[b"WASM.LOAD", b"one".as_slice(), &bundle]),
        "BADSIG",
    );
    assert!(said.contains("images/"), "{said}");
    assert_eq!(files(&workshop.cache(), "image"), 0);
    bundle[last] ^= 1;
    loaded(&client.call(&[b"WASM.LOAD", b"one".as_slice(), &bundle]));
    assert_eq!(client.run("WASM.CALL one"), Reply::Int(0x5b));
}
