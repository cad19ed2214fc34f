//! Users: the connections that are accepted, and the rights of each.

use ferrite_tests::{Client, Reply, Server};

use crate::guests::ADD1;

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

fn error_of(reply: &Reply) -> &str {
    reply
        .error()
        .unwrap_or_else(|| panic!("not refused: {reply:?}"))
}

#[test]
fn a_password_is_asked_for_before_anything_else() {
    let server = Server::builder()
        .arguments(&["--password", "s3cret"])
        .start();
    let mut client = server.client();
    for request in [
        "PING",
        "GET k",
        "WASM.LIST",
        "WASM.CALL f",
        "COMMAND",
        "CLIENT LIST",
        "MULTI",
    ] {
        assert_eq!(
            error_of(&client.run(request)),
            "NOAUTH Authentication required.",
            "{request}"
        );
    }
    let hello = client.run("HELLO 3");
    assert!(error_of(&hello).starts_with("NOAUTH "), "{hello:?}");
    for wrong in [
        "AUTH wrong",
        "AUTH default wrong",
        "AUTH nobody s3cret",
        "HELLO 2 AUTH default x",
    ] {
        assert!(
            error_of(&client.run(wrong)).starts_with("WRONGPASS "),
            "{wrong}"
        );
    }
    assert_eq!(client.run("AUTH s3cret"), ok());
    assert_eq!(client.run("SET k v"), ok());
    assert_eq!(client.run("RESET"), Reply::Simple("RESET".into()));
    assert!(error_of(&client.run("GET k")).starts_with("NOAUTH "));
    let hello = client.call(&["HELLO", "2", "AUTH", "default", "s3cret", "SETNAME", "me"]);
    assert!(hello.error().is_none(), "{hello:?}");
    assert_eq!(client.run("CLIENT GETNAME"), Reply::Bulk(b"me".to_vec()));
}

#[test]
fn without_a_password_auth_says_so() {
    let server = Server::start();
    let mut client = server.client();
    let reply = client.run("AUTH s3cret");
    assert!(
        error_of(&reply).contains("without any password configured"),
        "{reply:?}"
    );
    assert_eq!(client.run("AUTH default anything"), ok());
}

#[test]
fn an_unknown_client_cannot_send_much() {
    let server = Server::builder()
        .arguments(&["--password", "s3cret"])
        .start();
    let mut client = server.client();
    client.send(b"*2\r\n$4\r\nAUTH\r\n$100000\r\n");
    assert_eq!(
        error_of(&client.reply()),
        "ERR Protocol error: invalid bulk length"
    );
    assert_eq!(client.next(), None);
    let mut client = server.client();
    client.send(b"*1000\r\n");
    assert_eq!(
        error_of(&client.reply()),
        "ERR Protocol error: invalid multibulk length"
    );

    // A successful login lifts the tighter bounds at once, in the middle of a pipeline.
    let mut client = server.client();
    let value = "v".repeat(100_000);
    client.send(b"AUTH s3cret\r\n");
    client.send(&ferrite_tests::encode(&["SET", "k", &value]));
    assert_eq!(client.reply(), ok());
    assert_eq!(client.reply(), ok());
}

fn login(server: &Server, name: &str) -> Client {
    let mut client = server.client();
    assert_eq!(client.run(&format!("AUTH {name} {name}-password")), ok());
    client
}

#[test]
fn each_user_may_do_what_it_may() {
    let config = format!(
        "[server]\nusers = [\n\
         \"reader may=read password=reader-password\",\n\
         \"app may=read+write+call password=app-password functions=add*\",\n\
         \"deployer may=call+manage password_blake3={}\",\n\
         \"root may=all password=root-password\",\n]\n",
        blake3::hash(b"deployer-password").to_hex()
    );
    let server = Server::builder().config(&config).start();
    assert!(error_of(&server.client().run("PING")).starts_with("NOAUTH "));

    let define = ["WASM.DEFINE", "add1", ADD1];
    let mut deployer = login(&server, "deployer");
    assert!(deployer.call(&define).error().is_none());
    let other = deployer.call(&["WASM.DEFINE", "other", ADD1]);
    assert!(other.error().is_none(), "{other:?}");
    assert!(error_of(&deployer.run("GET k")).contains("it needs the right read"));

    let mut reader = login(&server, "reader");
    assert_eq!(reader.run("GET k"), Reply::Null);
    assert!(error_of(&reader.run("SET k v")).contains("it needs the right write"));
    assert!(error_of(&reader.run("WASM.CALL add1 ARGS 1")).contains("it needs the right call"));
    assert_eq!(reader.run("MULTI"), ok());
    assert!(error_of(&reader.run("SET k v")).starts_with("NOPERM "));
    assert!(error_of(&reader.run("EXEC")).starts_with("EXECABORT "));

    let mut app = login(&server, "app");
    assert_eq!(app.run("SET k v"), ok());
    assert_eq!(app.run("WASM.CALL add1 ARGS 1"), Reply::Int(2));
    assert_eq!(app.run("FCALL add1.run 0 1"), Reply::Int(2));
    assert!(
        error_of(&app.run("WASM.CALL other ARGS 1")).contains("to call the function \"other\"")
    );
    assert!(error_of(&app.run("WASM.CALLASYNC other ARGS 1")).starts_with("NOPERM "));
    assert!(error_of(&app.call(&define)).contains("it needs the right manage"));
    assert!(error_of(&app.run("WASM.UNLOAD add1")).starts_with("NOPERM "));
    assert!(error_of(&app.run("SHUTDOWN")).contains("it needs the right admin"));
    assert!(error_of(&app.run("CLIENT LIST")).starts_with("NOPERM "));
    assert!(error_of(&app.run("CONFIG GET *")).starts_with("NOPERM "));
    assert_eq!(app.run("CLIENT ID").error(), None);

    let mut root = login(&server, "root");
    let list = root.run("CLIENT LIST");
    assert!(
        list.text().expect("text").contains(" user=app "),
        "{list:?}"
    );
    assert_eq!(root.run("WASM.UNLOAD add1"), ok());
}

#[test]
fn a_wrong_password_is_logged_without_it() {
    let server = Server::builder()
        .arguments(&["--password", "s3cret"])
        .start();
    let mut client = server.client();
    assert!(client.run("AUTH gu3ss").error().is_some());
    assert!(client.run("INFO").error().is_some());
    let log = server.log();
    assert!(log.contains("wrong user name or password"), "{log}");
    assert!(!log.contains("gu3ss") && !log.contains("s3cret"), "{log}");
}
