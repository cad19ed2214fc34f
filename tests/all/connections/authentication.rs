//! Users: the connections that are accepted, and the rights of each.

use ferrite_tests::{Client, Reply, Server};

use crate::support::guests::ADD1;

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
    assert!(error_of(&app.run("WASM.CALL other ARGS 1")).contains("to use the function \"other\""));
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

#[test]
fn guesses_with_long_names_leave_a_short_log() {
    let server = Server::builder()
        .arguments(&["--password", "s3cret"])
        .start();
    let name = "n".repeat(16_000);
    for _ in 0..50 {
        // A connection that has not logged in has little room for requests.
        let mut client = server.client();
        for _ in 0..10 {
            assert!(client.call(&["AUTH", &name, "guess"]).error().is_some());
        }
    }
    let log = server.log();
    assert!(log.contains("wrong user name or password"), "{log}");
    assert!(log.len() < 64 << 10, "{} bytes", log.len());
}

/// Requests that write and tell or copy what a key held.
const TELLING: [&str; 25] = [
    "SORT list",
    "SORT list STORE copy",
    "BITFIELD text SET u8 0 1",
    "BITOP NOT copy text",
    "GETEX text",
    "GETDEL text",
    "GETSET text new",
    "SET text new GET",
    "SET text new IFEQ guess",
    "SETBIT text 0 1",
    "INCR number",
    "INCRBYFLOAT number 0",
    "HINCRBY hash n 0",
    "SPOP set",
    "SMOVE set copy m",
    "SUNIONSTORE copy set",
    "LPOP list",
    "LMOVE list copy LEFT LEFT",
    "BLPOP list 0",
    "LMPOP 1 list LEFT",
    "ZPOPMIN zset",
    "ZADD zset INCR 0 m",
    "ZUNIONSTORE copy 1 zset",
    "RENAME text copy",
    "COPY text copy",
];

/// Requests that write, and tell no more than counts, lengths and what exists.
const BLIND: [&str; 13] = [
    "SET text new",
    "APPEND text x",
    "MSET text a other b",
    "RPUSH list x",
    "LTRIM list 0 1",
    "HSET hash f v",
    "HDEL hash f",
    "SADD set n",
    "SREM set n",
    "ZADD zset 1 n",
    "ZADD zset 1 incr",
    "EXPIRE text 100",
    "DEL other",
];

#[test]
fn a_user_who_may_only_write_gets_no_values() {
    let server = Server::builder()
        .config(
            "[server]\nusers = [\"root may=all password=root-password\", \"blind may=write password=blind-password\"]\n",
        )
        .start();
    let mut root = login(&server, "root");
    for request in [
        "SET text secret",
        "SET number 7",
        "RPUSH list 2 1",
        "HSET hash n 1",
        "SADD set m",
        "ZADD zset 1 m",
    ] {
        assert_eq!(root.run(request).error(), None, "{request}");
    }
    let mut blind = login(&server, "blind");
    for request in TELLING {
        let reply = blind.run(request);
        let error = error_of(&reply);
        assert!(
            error.contains("it needs the right read"),
            "{request}: {error}"
        );
    }
    assert_eq!(blind.run("MULTI"), ok());
    assert!(error_of(&blind.run("GETDEL text")).starts_with("NOPERM "));
    assert!(error_of(&blind.run("EXEC")).starts_with("EXECABORT "));
    for request in TELLING {
        // They are requests that the server would run.
        assert_eq!(root.run(request).error(), None, "{request}");
        root.run("FLUSHALL");
        for fill in ["SET text 1", "SET number 7", "RPUSH list 2 1", "SADD set m"] {
            root.run(fill);
        }
        root.run("ZADD zset 1 m");
    }
    for request in BLIND {
        assert_eq!(blind.run(request).error(), None, "{request}");
    }
    // What empties a database is for administrators.
    assert!(error_of(&blind.run("FLUSHDB")).contains("it needs the right admin"));
}

#[test]
fn a_user_of_some_functions_learns_nothing_of_others() {
    let config = "[server]\nusers = [\"root may=all password=root-password\", \
         \"app may=call password=app-password functions=add*\", \
         \"ops may=call+manage password=ops-password functions=add*\"]\n";
    let server = Server::builder().config(config).start();
    let mut root = login(&server, "root");
    for name in ["add1", "other"] {
        let reply = root.call(&["WASM.DEFINE", name, ADD1]);
        assert_eq!(reply.error(), None, "{reply:?}");
    }
    // An error of the other function, which may show its data.
    assert!(root.run("WASM.CALL other ARGS secret").error().is_some());
    assert!(root.run("WASM.CALL other ARGS 1").error().is_none());

    let stats = login(&server, "app").run("WASM.STATS");
    for field in ["calls", "errors", "fuel"] {
        assert_eq!(stats.at(field), Some(&Reply::Int(0)), "{field}");
    }
    assert_eq!(stats.at("functions"), Some(&Reply::Int(1)));
    assert_eq!(stats.at("async_results"), None);
    for name in ["app", "ops"] {
        let mut client = login(&server, name);
        for command in [
            "WASM.ERRORS",
            "WASM.INFO",
            "WASM.EXPORTS",
            "WASM.MEMORY",
            "WASM.PROFILE",
            "WASM.CALL",
            "WASM.CALL_RO",
            "WASM.CALLASYNC",
        ] {
            let reply = client.run(&format!("{command} other"));
            let error = error_of(&reply);
            assert!(error.starts_with("NOPERM "), "{name} {command}: {error}");
            let own = client.run(&format!("{command} add1"));
            let refused = own.error().is_some_and(|error| error.starts_with("NOPERM"));
            assert!(!refused, "{name} {command}: {own:?}");
            if command == "WASM.CALLASYNC" {
                let id = own.text().expect("the id of a call in the background");
                client.run(&format!("WASM.RESULT {id} BLOCK 0"));
            }
        }
        let list = client.run("WASM.LIST");
        let names: Vec<_> = list
            .elements()
            .unwrap_or_default()
            .iter()
            .filter_map(|one| one.at("name")?.text())
            .collect();
        assert_eq!(names, ["add1"], "{name}");
    }
    let mut ops = login(&server, "ops");
    for request in [
        &["WASM.UNLOAD", "other"][..],
        &["WASM.RELOAD", "other", "x.wasm"],
        &["WASM.DEFINE", "other", ADD1, "REPLACE"],
        &["WASM.DEFINE", "third", ADD1],
    ] {
        let reply = ops.call(request);
        let error = error_of(&reply);
        assert!(error.starts_with("NOPERM "), "{request:?}: {error}");
    }
    assert!(error_of(&ops.run("WASM.KILL other")).starts_with("NOFUNC "));
    assert_eq!(ops.run("WASM.KILL add1"), Reply::Int(0));
    assert_eq!(ops.call(&["WASM.DEFINE", "add2", ADD1]).error(), None);
    assert_eq!(root.run("WASM.CALL other ARGS 1"), Reply::Int(2));
}
