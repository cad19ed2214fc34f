//! `ACL`: users that are made and changed while the server runs.

use std::io::Write as _;
use std::process::Stdio;

use ferrite_tests::{Client, Reply, Server, command};

use crate::support::guests::{ADD1, COUNT};

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

fn is_refused(reply: &Reply) -> bool {
    reply
        .error()
        .is_some_and(|error| error.starts_with("NOPERM "))
}

fn login(server: &Server, name: &str, password: &str) -> Client {
    let mut client = server.client();
    assert_eq!(client.call(&["AUTH", name, password]), ok());
    client
}

/// The hash that the program makes of a password.
fn hash(password: &str) -> String {
    let mut child = command("ferrite-server", "FERRITE_SERVER_BIN")
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(format!("{password}\n").as_bytes())
        .expect("taken");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

#[test]
fn rules_decide_from_one_request_to_the_next() {
    let server = Server::start();
    let mut root = server.client();
    assert_eq!(root.run("ACL WHOAMI"), Reply::Bulk(b"default".to_vec()));
    let made =
        root.run("ACL SETUSER app on >secret ~app:* %R~ref:* +@read +set +multi +exec +config|get");
    assert_eq!(made, ok());
    let mut app = login(&server, "app", "secret");
    assert_eq!(app.run("ACL WHOAMI").text(), None, "ACL is not allowed");
    assert_eq!(app.run("SET app:1 v"), ok());
    assert_eq!(app.run("GET app:1"), Reply::Bulk(b"v".to_vec()));
    assert_eq!(app.run("GET ref:1"), Reply::Null);
    for request in [
        "SET ref:1 v",
        "GET other",
        "MGET app:1 other",
        "DEL app:1",
        "FLUSHALL",
        "CONFIG SET maxclients 5",
        "WASM.LIST",
        "SORT app:1 BY other:* GET secret:*",
        "MEMORY USAGE other",
    ] {
        let reply = app.run(request);
        assert!(is_refused(&reply), "{request}: {reply:?}");
    }
    assert!(app.run("CONFIG GET maxclients").error().is_none());
    assert_eq!(app.run("MULTI"), ok());
    assert!(is_refused(&app.run("SET other v")));
    assert!(
        app.run("EXEC")
            .error()
            .expect("an error")
            .starts_with("EXECABORT ")
    );

    // A change holds for connections that are open.
    assert_eq!(root.run("ACL SETUSER app -get +del"), ok());
    assert!(is_refused(&app.run("GET app:1")));
    assert_eq!(app.run("DEL app:1"), Reply::Int(1));
    assert_eq!(root.run("ACL SETUSER app resetpass >other"), ok());
    assert!(server.client().run("AUTH app secret").error().is_some());
    login(&server, "app", "other");
    assert_eq!(root.run("ACL SETUSER app off"), ok());
    assert!(server.client().run("AUTH app other").error().is_some());
    assert_eq!(root.run("ACL DELUSER app nobody"), Reply::Int(1));
    assert!(app.try_send(b"PING\r\n").is_err() || app.next().is_none());
    assert!(root.run("ACL DELUSER default").error().is_some());
}

#[test]
fn users_are_shown_tried_and_their_refusals_kept() {
    let server = Server::start();
    let mut root = server.client();
    root.run("ACL SETUSER app on nopass ~app:* +get functions=add*");
    let users = root.run("ACL USERS");
    let names: Vec<_> = users
        .elements()
        .expect("names")
        .iter()
        .map(Reply::text)
        .collect();
    assert_eq!(names, [Some("app"), Some("default")]);
    let list = root.run("ACL LIST");
    assert_eq!(
        list.elements().expect("lines")[0].text(),
        Some("user app on nopass ~app:* &* functions=add* -@all +get")
    );
    let shown = root.run("ACL GETUSER app");
    assert_eq!(
        shown.at("commands").and_then(Reply::text),
        Some("-@all +get")
    );
    assert_eq!(shown.at("keys").and_then(Reply::text), Some("~app:*"));
    assert_eq!(root.run("ACL GETUSER nobody"), Reply::Null);
    assert_eq!(root.run("ACL DRYRUN app GET app:1"), ok());
    let denied = root.run("ACL DRYRUN app GET other");
    assert!(
        denied.text().expect("text").contains("\"other\""),
        "{denied:?}"
    );
    assert!(root.run("ACL DRYRUN nobody GET k").error().is_some());

    let mut app = login(&server, "app", "anything");
    for _ in 0..3 {
        assert!(is_refused(&app.run("SET app:1 v")));
    }
    assert!(server.client().run("AUTH app-two x").error().is_some());
    let log = root.run("ACL LOG");
    let entries = log.elements().expect("entries");
    let entry = |reason: &str| {
        let found = entries
            .iter()
            .find(|entry| entry.at("reason").and_then(Reply::text) == Some(reason));
        found.unwrap_or_else(|| panic!("no {reason} in {log:?}"))
    };
    assert_eq!(entry("command").at("count"), Some(&Reply::Int(3)));
    assert_eq!(
        entry("command").at("object").and_then(Reply::text),
        Some("set")
    );
    assert_eq!(
        entry("auth").at("username").and_then(Reply::text),
        Some("app-two")
    );
    assert_eq!(root.run("ACL LOG RESET"), ok());
    assert_eq!(root.run("ACL LOG"), Reply::Array(Vec::new()));

    let categories = format!("{:?}", root.run("ACL CAT"));
    assert!(categories.contains("dangerous"), "{categories}");
    let hash = format!("{:?}", root.run("ACL CAT hash"));
    assert!(hash.contains("hget") && !hash.contains("lpush"), "{hash}");
    let password = root.run("ACL GENPASS");
    assert_eq!(password.text().map(str::len), Some(64));
    let wrong = root.run("ACL SETUSER app +nosuch");
    assert!(
        wrong
            .error()
            .expect("an error")
            .contains("there is no command \"nosuch\"")
    );
    let wrong = root.run("ACL SETUSER app #s3cret");
    assert!(
        !wrong.error().expect("an error").contains("s3cret"),
        "{wrong:?}"
    );
}

#[test]
fn users_of_the_configuration_have_rights_keys_and_slow_hashes() {
    let config = format!(
        "[server]\nusers = [\n\
         \"app may=read+write+call keys=app:* password_hash={}\",\n\
         \"deployer may=manage password_hash={}\",\n\
         \"ops may=all password=ops\",\n]\n",
        hash("app"),
        hash("deployer")
    );
    let server = Server::builder().config(&config).start();
    let mut ops = login(&server, "ops", "ops");
    let mut deployer = login(&server, "deployer", "deployer");
    let write = r#"{"allow_write":true}"#;
    let defined = deployer.call(&["WASM.DEFINE", "count", COUNT, "PERMISSIONS", write]);
    assert!(defined.error().is_none(), "{defined:?}");
    assert!(
        deployer.run("WASM.INFO count").error().is_none(),
        "who deploys may look"
    );
    assert!(deployer.run("WASM.ERRORS count").error().is_none());
    assert!(is_refused(&deployer.run("WASM.CALL count KEYS k")));

    assert!(server.client().run("AUTH app wrong").error().is_some());
    let mut app = login(&server, "app", "app");
    assert_eq!(app.run("SET app:1 v"), ok());
    assert!(is_refused(&app.run("SET other v")));
    assert_eq!(app.run("WASM.CALL count KEYS app:n"), Reply::Int(1));
    assert!(is_refused(&app.run("WASM.CALL count KEYS other")));
    assert!(is_refused(&app.run("FCALL count 1 other")));
    for request in ["FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "ACL LIST"] {
        let reply = app.run(request);
        let error = reply.error().expect("refused");
        assert!(error.contains("it needs the right admin"), "{error}");
    }
    assert_eq!(app.run("ACL WHOAMI"), Reply::Bulk(b"app".to_vec()));
    let list = format!("{:?}", ops.run("ACL LIST"));
    assert!(
        list.contains("user app on #$argon2id$") && list.contains("~app:*"),
        "{list}"
    );
}

#[test]
fn a_file_of_users_is_written_and_read_again() {
    let server = Server::builder()
        .arguments(&["--acl-file", "users.acl"])
        .start();
    let mut root = server.client();
    assert_eq!(
        root.run("ACL SETUSER app on >secret ~* +@all -flushall"),
        ok()
    );
    assert_eq!(root.run("ACL SAVE"), ok());
    let path = server.dir().join("users.acl");
    let text = std::fs::read_to_string(&path).expect("written");
    assert!(
        text.contains("user app on #$argon2id$") && !text.contains("secret"),
        "{text}"
    );
    assert_eq!(root.run("ACL DELUSER app"), Reply::Int(1));
    assert_eq!(root.run("ACL LOAD"), ok());
    let mut app = login(&server, "app", "secret");
    assert!(is_refused(&app.run("FLUSHALL")) && app.run("FLUSHDB") == ok());

    std::fs::write(&path, "user app on nopass +nosuch\n").expect("written");
    let reply = root.run("ACL LOAD");
    let error = reply.error().expect("an error");
    assert!(error.contains("users.acl:1: user app: +nosuch"), "{error}");
    assert_eq!(
        app.run("PING"),
        Reply::Simple("PONG".into()),
        "nothing has changed"
    );
    let none = Server::start().client().run("ACL SAVE");
    assert!(none.error().expect("an error").contains("server.acl_file"));
}

#[test]
fn users_are_read_again_from_the_configuration_without_a_restart() {
    let config = |password: &str| {
        format!(
            "[server]\nusers = [\"ops may=all password={password}\", \"app may=read password=app\"]\n"
        )
    };
    let server = Server::builder().config(&config("old")).start();
    let mut ops = login(&server, "ops", "old");
    let mut app = login(&server, "app", "app");
    let info = ops.run("INFO server");
    let path = info
        .text()
        .expect("text")
        .lines()
        .find_map(|line| line.strip_prefix("config_file:"));
    let path = path.expect("a path").trim().to_owned();
    std::fs::write(&path, config("new").replace("may=read", "may=read+write")).expect("written");
    assert!(is_refused(&app.run("SET k v")));
    assert_eq!(ops.run("ACL LOAD"), ok());
    assert_eq!(app.run("SET k v"), ok());
    assert!(server.client().run("AUTH ops old").error().is_some());
    login(&server, "ops", "new");
}

#[test]
fn functions_are_libraries_for_client_libraries() {
    let server = Server::start();
    let mut client = server.client();
    let code = format!("#!wasm name=adder\n{{\"description\":\"adds\"}}\n{ADD1}");
    assert_eq!(
        client.call(&["FUNCTION", "LOAD", &code]),
        Reply::Bulk(b"adder".to_vec())
    );
    let again = client.call(&["FUNCTION", "LOAD", &code]);
    assert!(again.error().expect("an error").starts_with("EXISTS "));
    let replaced = client.call(&["FUNCTION", "LOAD", "REPLACE", &code]);
    assert_eq!(replaced, Reply::Bulk(b"adder".to_vec()));
    assert_eq!(client.run("FCALL adder 0 41"), Reply::Int(42));
    let list = client.run("FUNCTION LIST LIBRARYNAME add* WITHCODE");
    let library = &list.elements().expect("libraries")[0];
    assert_eq!(
        library.at("library_name").and_then(Reply::text),
        Some("adder")
    );
    let code = library
        .at("library_code")
        .and_then(Reply::text)
        .expect("code");
    // What is listed can be loaded.
    let other = code.replace("name=adder", "name=other");
    assert_eq!(
        client.call(&["FUNCTION", "LOAD", &other]),
        Reply::Bulk(b"other".to_vec())
    );
    let stats = client.run("FUNCTION STATS");
    let engines = stats.at("engines").and_then(|engines| engines.at("WASM"));
    let count = engines.and_then(|engine| engine.at("functions_count"));
    assert_eq!(count, Some(&Reply::Int(2)), "{stats:?}");
    assert!(
        client
            .run("FUNCTION KILL")
            .error()
            .expect("an error")
            .starts_with("NOTBUSY ")
    );
    assert_eq!(client.run("FUNCTION DELETE other"), ok());
    assert!(client.run("FUNCTION DELETE other").error().is_some());
    assert_eq!(client.run("FUNCTION FLUSH"), ok());
    assert_eq!(client.run("FUNCTION LIST"), Reply::Array(Vec::new()));
    let lua = client.call(&["FUNCTION", "LOAD", "#!lua name=x\nreturn 1"]);
    assert!(
        lua.error()
            .expect("an error")
            .contains("Engine 'lua' not found")
    );
}

const ROOT: &str = "root may=all password=root";

/// Puts other users of the configuration into force: a list with commas.
fn set_users(root: &mut Client, users: &str) {
    let set = root.call(&["CONFIG", "SET", "server.users", users]);
    assert_eq!(set, ok());
}

#[test]
fn other_users_of_the_configuration_leave_those_of_the_file() {
    let config = format!("[server]\nacl_file = \"users.acl\"\nusers = [\"{ROOT}\"]\n");
    let server = Server::builder().config(&config).start();
    let mut root = login(&server, "root", "root");
    assert_eq!(root.run("ACL SETUSER filed on >filed ~* +@all"), ok());
    assert_eq!(root.run("ACL SAVE"), ok());
    // A list as in the file would make a user whose name begins with a bracket.
    let listed = root.call(&["CONFIG", "SET", "server.users", &format!("[\"{ROOT}\"]")]);
    assert!(listed.error().is_some(), "{listed:?}");
    set_users(&mut root, &format!("{ROOT},more may=read password=more"));
    login(&server, "more", "more");
    login(&server, "filed", "filed");
}

#[test]
fn a_user_that_is_gone_hears_nothing_more() {
    let config = format!("[server]\nusers = [\"{ROOT}\", \"ears may=read password=ears\"]\n");
    let server = Server::builder().config(&config).start();
    let mut root = login(&server, "root", "root");
    let mut ears = login(&server, "ears", "ears");
    assert_eq!(ears.run("SUBSCRIBE c").error(), None);
    set_users(&mut root, ROOT);
    root.run("PUBLISH c news");
    assert_eq!(ears.next(), None);
}
