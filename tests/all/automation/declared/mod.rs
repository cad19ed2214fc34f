//! Triggers and schedules that modules declare.

mod replaced;

use ferrite_tests::{Client, Reply, Server};

use super::{NOTE, READ_WRITE, declaring, durable, names, next_note, ok};

/// Defines a function whose module declares these lines, in the place of one of its name.
fn define(client: &mut Client, name: &str, lines: &str, permissions: &str) -> Reply {
    let source = declaring(NOTE, lines);
    client.call(&[
        "WASM.DEFINE",
        name,
        &source,
        "PERMISSIONS",
        permissions,
        "REPLACE",
    ])
}

fn loaded(reply: &Reply) {
    assert!(
        reply.text().is_some_and(|text| text.starts_with("blake3:")),
        "{reply:?}"
    );
}

fn origin(client: &mut Client, command: &str, at: usize) -> Option<String> {
    let reply = client.call(&[command, "LIST"]);
    let one = reply.elements()?.get(at)?.at("from")?;
    one.text().map(str::to_owned)
}

#[test]
fn they_come_and_go_with_the_function() {
    let server = Server::start();
    let mut client = server.client();
    let lines = "on run KEYS user:* EVENTS set\non run KEYS order:* item:* EVENTS del expired\nevery run 1h ARGS tick\ncron run \"0 3 * * *\" MISSED once\n";
    loaded(&define(&mut client, "note", lines, READ_WRITE));
    let add = "WASM.TRIGGER ADD mine note KEYS own:* EVENTS set";
    assert_eq!(client.run(add), ok());
    assert_eq!(client.run("WASM.SCHEDULE ADD hand note EVERY 1h"), ok());
    assert_eq!(
        names(&mut client, "WASM.TRIGGER"),
        ["mine", "note:run", "note:run:2"]
    );
    assert_eq!(
        names(&mut client, "WASM.SCHEDULE"),
        ["hand", "note:run", "note:run:2"]
    );
    for command in ["WASM.TRIGGER", "WASM.SCHEDULE"] {
        assert_eq!(origin(&mut client, command, 0).as_deref(), Some("command"));
        assert_eq!(origin(&mut client, command, 1).as_deref(), Some("module"));
    }
    let info = client.run("WASM.INFO note");
    let declares = info
        .at("declares")
        .and_then(Reply::elements)
        .expect("lines");
    let declares: Vec<_> = declares.iter().filter_map(Reply::text).collect();
    assert_eq!(declares.join("\n") + "\n", lines);
    let list = client.run("WASM.LIST");
    let listed = list.elements().and_then(|list| list[0].at("declares"));
    assert_eq!(listed, Some(&Reply::Int(4)));

    assert_eq!(client.run("SET user:1 a"), ok());
    let note = next_note(&mut client);
    assert!(
        note.starts_with("user:1|set|none||string|a|note:run|"),
        "{note}"
    );

    // The same one goes on with its figures, the other ones go, and what was added by hand stays.
    let fewer = "on run KEYS user:* EVENTS set\nevery run 2h";
    loaded(&define(&mut client, "note", fewer, READ_WRITE));
    assert_eq!(names(&mut client, "WASM.TRIGGER"), ["mine", "note:run"]);
    assert_eq!(names(&mut client, "WASM.SCHEDULE"), ["hand", "note:run"]);
    let info = client.run("WASM.TRIGGER INFO note:run");
    assert_eq!(info.at("occurred"), Some(&Reply::Int(1)));
    let schedules = client.run("WASM.SCHEDULE LIST");
    let when = schedules
        .elements()
        .and_then(|list| list[1].at("when")?.text());
    assert_eq!(when, Some("EVERY 7200000"));

    let other = define(
        &mut client,
        "other",
        "on run KEYS other:* EVENTS del",
        READ_WRITE,
    );
    let digest = other.text().expect("it is loaded");
    let reload = client.call(&["WASM.RELOAD", "note", digest]);
    assert_eq!(reload.text(), Some(digest));
    assert_eq!(
        names(&mut client, "WASM.TRIGGER"),
        ["mine", "note:run", "other:run"]
    );
    assert_eq!(names(&mut client, "WASM.SCHEDULE"), ["hand"]);
    assert_eq!(client.run("SET other:1 b"), ok());
    assert_eq!(client.run("DEL other:1"), Reply::Int(1));
    let mut notes = [next_note(&mut client), next_note(&mut client)];
    notes.sort();
    assert!(
        notes[0].starts_with("other:1|del|string|b|none||note:run|"),
        "{notes:?}"
    );
    assert!(
        notes[1].starts_with("other:1|del|string|b|none||other:run|"),
        "{notes:?}"
    );

    assert_eq!(client.run("WASM.UNLOAD note"), ok());
    assert_eq!(names(&mut client, "WASM.TRIGGER"), ["mine", "other:run"]);
    assert_eq!(names(&mut client, "WASM.SCHEDULE"), ["hand"]);
}

/// The function keeps the database in which it was loaded first.
#[test]
fn they_are_for_the_database_of_the_client() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(client.run("SELECT 3"), ok());
    let first = define(&mut client, "note", "on run KEYS k EVENTS set", READ_WRITE);
    loaded(&first);
    assert_eq!(client.run("SELECT 0"), ok());
    let digest = first.text().expect("loaded").to_owned();
    loaded(&client.call(&["WASM.RELOAD", "note", &digest]));
    assert_eq!(client.run("SET k 0"), ok());
    assert_eq!(client.run("SELECT 3"), ok());
    assert_eq!(client.run("SET k 3"), ok());
    let note = next_note(&mut client);
    assert!(note.starts_with("k|set|none||string|3|"), "{note}");
}

#[test]
fn a_load_is_refused_with_what_it_must_not_declare() {
    let server = Server::start();
    let mut client = server.client();
    loaded(&define(&mut client, "plain", "", READ_WRITE));
    let add = "WASM.TRIGGER ADD f:run plain KEYS x EVENTS set";
    assert_eq!(client.run(add), ok());
    let some = r#"{"allowed_keys":["user:*"],"allow_write":true}"#;
    let but = r#"{"denied_keys":["user:*:secret"]}"#;
    for (lines, permissions, expected) in [
        (
            "on run KEYS [ EVENTS set",
            READ_WRITE,
            "INVALID the module declares 'on run KEYS [ EVENTS set': KEYS",
        ),
        (
            "on run KEYS a EVENTS a-b",
            READ_WRITE,
            "is no name of an event",
        ),
        ("on run KEYS a EVENTS", READ_WRITE, "EVENTS is missing"),
        (
            "on other KEYS a EVENTS set",
            READ_WRITE,
            "the module has no entry \"other\" to run",
        ),
        (
            "every run soon",
            READ_WRITE,
            "INVALID the module declares 'every run soon'",
        ),
        ("cron run \"0 0 30 2 *\"", READ_WRITE, "no date matches it"),
        (
            "on run KEYS a EVENTS set",
            READ_WRITE,
            "EXISTS the module declares a trigger that gets the name \"f:run\"",
        ),
        (
            "on run KEYS * EVENTS set",
            some,
            "NOPERM the module declares 'on run KEYS * EVENTS set': pattern \"*\" is not within",
        ),
        (
            "on run KEYS user:1 EVENTS set",
            but,
            "NOPERM the module declares",
        ),
        (
            "on run KEYS a EVENTS set BEFORE",
            "read-only",
            "for which its permissions need \"allow_write\": true",
        ),
    ] {
        let reply = define(&mut client, "f", lines, permissions);
        let error = reply.error().unwrap_or_default();
        assert!(error.contains(expected), "{lines}: {reply:?}");
        let info = client.run("WASM.INFO f");
        assert!(
            info.error()
                .is_some_and(|error| error.starts_with("NOFUNC ")),
            "{lines}"
        );
    }
    assert_eq!(names(&mut client, "WASM.TRIGGER"), ["f:run"]);
    // What is within the permissions is added.
    assert_eq!(client.run("WASM.TRIGGER DEL f:run"), ok());
    loaded(&define(
        &mut client,
        "f",
        "on run KEYS user:1* user:[2-5] EVENTS set BEFORE",
        some,
    ));
    loaded(&define(
        &mut client,
        "f",
        "on run KEYS order:* EVENTS set",
        but,
    ));
    // A load that fails leaves what there was.
    let failed = define(&mut client, "f", "every run soon", READ_WRITE);
    assert!(failed.error().is_some());
    assert_eq!(names(&mut client, "WASM.TRIGGER"), ["f:run"]);
}

#[test]
fn before_refuses_writes_and_library_commands_add_as_well() {
    let server = Server::start();
    let mut client = server.client();
    let refuse = r#"(module
      (import "ferrite" "reply_error" (func $reply_error (param i32 i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "REFUSED always")
      (func (export "check") (call $reply_error (i32.const 0) (i32.const 14))))"#;
    let source = declaring(refuse, "on check KEYS k EVENTS set BEFORE");
    let code = format!("#!wasm name=lib\n{{\"permissions\":\"read-write\"}}\n{source}");
    assert_eq!(
        client.call(&["FUNCTION", "LOAD", &code]).text(),
        Some("lib")
    );
    assert_eq!(client.run("SET k v").error(), Some("REFUSED always"));
    assert_eq!(names(&mut client, "WASM.TRIGGER"), ["lib:check"]);
    assert_eq!(client.run("FUNCTION DELETE lib"), ok());
    assert_eq!(client.run("SET k v"), ok());
    assert_eq!(names(&mut client, "WASM.TRIGGER"), [""; 0]);
}

#[test]
fn a_user_who_may_add_none_cannot_load_them() {
    let server = Server::start();
    let mut client = server.client();
    // To look at triggers and schedules is not to add them.
    let user = "ACL SETUSER dev on >secret ~* +wasm.define +wasm.trigger|list +wasm.schedule|list";
    assert_eq!(client.run(user), ok());
    let mut dev = server.client();
    assert_eq!(dev.run("AUTH dev secret"), ok());
    let trigger = "on run KEYS a EVENTS set";
    for (lines, command) in [(trigger, "WASM.TRIGGER"), ("every run 1h", "WASM.SCHEDULE")] {
        let reply = define(&mut dev, "f", lines, READ_WRITE);
        let error = reply.error().unwrap_or_default();
        assert!(
            error.starts_with("NOPERM the module declares") && error.ends_with(command),
            "{reply:?}"
        );
    }
    loaded(&define(&mut dev, "f", "", READ_WRITE));
    assert_eq!(client.run("ACL SETUSER dev +wasm.trigger|add"), ok());
    loaded(&define(&mut dev, "f", trigger, READ_WRITE));
}

/// A crash can come between the registry and the data, and data in memory are gone after a restart: what the
/// registry says is added again.
#[test]
fn they_are_there_again_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = durable(dir.path());
    let mut client = server.client();
    let lines = "on run KEYS k EVENTS set\nevery run 1h";
    loaded(&define(&mut client, "note", lines, READ_WRITE));
    let before = client.run("WASM.TRIGGER LIST");
    server.signal(rustix::process::Signal::KILL);
    let mut server = server;
    server.wait();
    let server = durable(dir.path());
    let mut client = server.client();
    assert_eq!(client.run("WASM.TRIGGER LIST"), before);
    assert_eq!(names(&mut client, "WASM.SCHEDULE"), ["note:run"]);
    assert_eq!(client.run("WASM.TRIGGER DEL note:run"), ok());
    server.stop();
    let in_memory = || {
        let config = "[store]\npersistent = false\n";
        Server::builder().dir(dir.path()).config(config).start()
    };
    let server = in_memory();
    let mut client = server.client();
    assert_eq!(names(&mut client, "WASM.TRIGGER"), ["note:run"]);
    assert_eq!(names(&mut client, "WASM.SCHEDULE"), ["note:run"]);
    assert_eq!(client.run("SET k v"), ok());
    assert!(next_note(&mut client).starts_with("k|set|"));
}
