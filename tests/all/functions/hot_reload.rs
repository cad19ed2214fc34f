//! Changed files reload their functions.

use ferrite_tests::{Client, Reply, Server};

const ONE: &str = r#"(module (func (export "run") (result i32) (i32.const 1)))"#;
const TWO: &str = r#"(module (func (export "run") (result i32) (i32.const 2)))"#;

/// Calls until the reply is `answer`; each call is a whole round trip.
fn call_until(client: &mut Client, answer: i64) {
    for _ in 0..1_000_000 {
        match client.run("WASM.CALL f") {
            Reply::Int(value) if value == answer => return,
            Reply::Int(_) => {}
            other => panic!("no call may fail: {other:?}"),
        }
    }
    panic!("the answer is never {answer}");
}

#[test]
fn a_changed_file_reloads_its_function_and_a_broken_one_does_not() {
    let server = Server::builder()
        .arguments(&["--wasm-hot-reload", "true"])
        .start();
    let modules = server.dir().join("wasm");
    std::fs::create_dir_all(&modules).expect("made");
    let file = modules.join("f.wat");
    std::fs::write(&file, ONE).expect("written");
    let mut client = server.client();
    let reply = client.run("WASM.LOAD f f.wat");
    assert!(reply.error().is_none(), "{reply:?}");
    assert_eq!(client.run("WASM.CALL f"), Reply::Int(1));
    wait_until_seen(&server);

    std::fs::write(&file, TWO).expect("written");
    call_until(&mut client, 2);

    std::fs::write(&file, "(module").expect("written");
    let mut errors = String::new();
    for _ in 0..1_000_000 {
        errors = format!("{:?}", client.run("WASM.ERRORS f"));
        if errors.contains("INVALID") {
            break;
        }
    }
    assert!(errors.contains("INVALID"), "{errors}");
    assert_eq!(client.run("WASM.CALL f"), Reply::Int(2));

    std::fs::write(&file, ONE).expect("written");
    call_until(&mut client, 1);
}

/// Waits until the server has checked the folder with the file in it.
fn wait_until_seen(server: &Server) {
    let mut client = server.client();
    for _ in 0..1_000_000 {
        assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
        if server.log().contains("watching") {
            return;
        }
    }
    panic!("the file is never watched: {}", server.log());
}

#[test]
fn files_are_left_alone_unless_it_is_asked_for() {
    let server = Server::start();
    assert_eq!(
        server
            .client()
            .run("CONFIG GET wasm.hot_reload")
            .at("wasm.hot_reload"),
        Some(&Reply::Bulk(b"false".to_vec()))
    );
}
