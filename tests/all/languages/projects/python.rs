//! Functions in Python: replies of every type, packages, and what goes wrong.

use std::fs;
use std::path::Path;

use ferrite_tests::{Client, Reply, Server};

use super::{is_there, output, printed};
use crate::network::receiver::ReceivingServer;

const OPEN: &str = "[wasm.security]\nallow_network = [\"http://127.0.0.1:*\"]\nallow_private_network = [\"127.0.0.1\"]\n";

/// A project's functions.
const FUNCTIONS: &str = r#"
import os
import random
from datetime import datetime

import ferrite
from helper import late

TABLE = {number: number * number for number in range(100)}

@ferrite.on(keys=["a b", "order:*"], events=["set", "del"])
@ferrite.every("365d")
@ferrite.function
@ferrite.cron("0 3 1 1 *", missed="once", keys="k", args=["x", "y z"])
def types():
    return {
        "none": None, "true": True, "int": -(1 << 63), "big": 1 << 70, "float": 0.5, "text": "ü",
        "bytes": b"\xff\x00", "list": [1, [2, (3,)], {}], "simple": ferrite.OK,
        "error": ferrite.Error("OOPS as a value"),
    }

@ferrite.function
def fails(index: int):
    ferrite.set("written", "never")
    return [1, 2, 3][index]

@ferrite.function
def refuses(key: str):
    ferrite.set(key, "stays")
    raise ferrite.Error("NOWAY not this one")

@ferrite.function
def table(number: int) -> int:
    return TABLE[number]

@ferrite.function
def imported_late() -> str:
    return late()

@ferrite.function
def parsed(date: str) -> int:
    return datetime.strptime(date, "%Y-%m-%d").toordinal()

@ferrite.function
def absent(name: str):
    return __import__(name).__name__

@ferrite.function
def drawn() -> float:
    return random.random()

@ferrite.function
def changed() -> int:
    TABLE[0] += 1
    return TABLE[0]

@ferrite.function
def endless():
    while True:
        pass

@ferrite.function
def large(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))

@ferrite.function
def store(key: str):
    return [
        ferrite.set(key, b"\xff", if_absent=True, ttl=60), ferrite.get_bytes(key), ferrite.set(key, 1, if_absent=True),
        ferrite.hset("h", "a", "1"), ferrite.hget("h", "a"), ferrite.hgetall("h"), ferrite.hdel("h", "a", "b"),
        ferrite.incr("n", 5), ferrite.expire("n", 60), ferrite.ttl_ms("h"), ferrite.exists(key, "n"),
        ferrite.call("LPUSH", "l", "x", "y"), ferrite.call("LRANGE", "l", 0, -1), ferrite.keys("*"),
        ferrite.delete(key, "n", "l"), len(ferrite.random_bytes(9)), ferrite.time_ms() > 1_600_000_000_000,
    ]

@ferrite.function
def ask(key: str, url: str, text: str):
    ferrite.set(key, "asked")
    response = ferrite.http.post(url, text, headers={"X-A": "b"}, timeout=60)
    return [response.status_code, response.ok, response.text, response.headers["Content-Length"], response.url]

@ferrite.function
def refused(url: str):
    try:
        ferrite.http.get(url)
    except ferrite.Error as error:
        return error.code

@ferrite.function
def lines(path: str):
    try:
        with open(path) as file:
            return [line.rstrip() for line in file]
    except OSError as error:
        return type(error).__name__

@ferrite.function
def listed(directory: str):
    return [sorted(os.listdir(directory)), os.path.getsize(f"{directory}/table"), os.path.exists("/none")]

@ferrite.function
def noted(path: str, text: str):
    try:
        with open(path, "a") as file:
            file.write(text)
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        return type(error).__name__

@ferrite.function
def tell(key: str, url: str):
    ferrite.set(key, "told")
    return [ferrite.after_commit("POST", url, json={"a": 1}), ferrite.config("token"), ferrite.config("none")]
"#;

/// A module that imports another inside a function.
const HELPER: &str = "
def late():
    from fractions import Fraction
    return str(Fraction(6, 4))
";

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

/// Makes a project with these functions; `None` without the tools.
fn project(folder: &Path, functions: &str) -> Option<std::path::PathBuf> {
    if !is_there("python", folder) {
        return None;
    }
    printed("ferrite-wasmc", &["new", "m", "--lang", "python"], folder);
    let project = folder.join("m");
    fs::write(project.join("functions.py"), functions).expect("it can be written");
    Some(project)
}

#[test]
fn functions_reply_fail_and_begin_anew() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let Some(project) = project(folder.path(), FUNCTIONS) else {
        return;
    };
    fs::write(project.join("helper.py"), HELPER).expect("it can be written");
    let built = printed("ferrite-wasmc", &["build"], &project);
    let digest = built
        .split_whitespace()
        .find(|word| word.starts_with("blake3:"))
        .expect("the build prints the digest");
    // Nothing has changed, so nothing is made again.
    let component = project.join("build/m.wasm");
    let made = || component.metadata().and_then(|file| file.modified());
    let before = made().expect("it was built");
    assert!(printed("ferrite-wasmc", &["build"], &project).contains(digest));
    assert_eq!(made().expect("it is still there"), before);
    // The server finds the code in the project's cache.
    let receiver = ReceivingServer::start();
    let tables = folder.path().join("tables");
    fs::create_dir(&tables).expect("it can be made");
    fs::write(tables.join("table"), "one\ntwo\n").expect("it can be written");
    let offered = format!(
        "allow_filesystem = [\"tables={}\", \"tmp:scratch=64KB\"]\n",
        tables.display()
    );
    let config = [OPEN, &offered].concat();
    let server = Server::builder().dir(&project).config(&config).start();
    let mut client = server.client();
    client.hello3();
    let limits = br#"{"max_memory": "64MB", "max_fuel": 200000000}"#;
    let words: [&[u8]; 9] = [
        b"WASM.LOAD",
        b"m",
        digest.as_bytes(),
        b"PERMISSIONS",
        br#"{"allow_write": true, "allow_network": ["http://127.0.0.1:*/open*"],
            "allow_filesystem": ["tables", "tmp"]}"#,
        b"LIMITS",
        limits,
        b"CONFIG",
        r#"{"token": "tökens"}"#.as_bytes(),
    ];
    let loaded = client.call(&words);
    assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");

    let info = client.run("WASM.INFO m");
    let declares = info.at("declares").and_then(Reply::elements);
    let mut declares: Vec<_> = declares
        .into_iter()
        .flatten()
        .filter_map(Reply::text)
        .collect();
    declares.sort_unstable();
    let expected = [
        "cron types \"0 3 1 1 *\" MISSED once KEYS k ARGS x \"y z\"",
        "every types 365d",
        "on types KEYS \"a b\" order:* EVENTS set del",
    ];
    assert_eq!(declares, expected);

    let Reply::Map(pairs) = client.run("WASM.CALL m.types") else {
        panic!("a map is a map");
    };
    let of = |name: &str| {
        let found = pairs.iter().find(|(key, _)| *key == bulk(name));
        found.expect("the map has it").1.clone()
    };
    assert_eq!(of("none"), Reply::Null);
    assert_eq!(of("true"), Reply::Bool(true));
    assert_eq!(of("int"), Reply::Int(i64::MIN));
    assert_eq!(of("big"), bulk("1180591620717411303424"));
    assert_eq!(of("float"), Reply::Double(0.5));
    assert_eq!(of("text"), bulk("ü"));
    assert_eq!(of("bytes"), Reply::Bulk(vec![0xff, 0]));
    let inner = Reply::Array(vec![Reply::Int(2), Reply::Array(vec![Reply::Int(3)])]);
    let list = Reply::Array(vec![Reply::Int(1), inner, Reply::Map(vec![])]);
    assert_eq!(of("list"), list);
    assert_eq!(of("simple"), Reply::Simple("OK".into()));
    assert_eq!(of("error"), Reply::Error("OOPS as a value".into()));

    // An exception ends the call with its traceback, and undoes the writes.
    let trapped = client.run("WASM.CALL m.fails ARGS 3");
    let text = trapped.error().expect("it traps").to_owned();
    let faulty = FUNCTIONS.lines().position(|line| line.contains("[index]"));
    let line = faulty.expect("the function is there") + 1;
    let expected = format!("IndexError: list index out of range (functions.py:{line} in fails)");
    assert_eq!(text, format!("TRAP {expected}"));
    let errors = format!("{:?}", client.run("WASM.ERRORS m"));
    assert!(errors.contains(&expected), "{errors}");
    assert!(server.log().contains("Traceback (most recent call last):"));
    let refused = client.run("WASM.CALL m.refuses KEYS k");
    assert_eq!(refused, Reply::Error("NOWAY not this one".into()));
    // An error reply is a reply like any other.
    assert_eq!(client.run("GETDEL k"), bulk("stays"));
    assert_eq!(client.run("EXISTS written"), Reply::Int(0));
    assert_eq!(client.run("WASM.CALL m.fails ARGS 0"), Reply::Int(1));
    assert_eq!(client.run("DEL written"), Reply::Int(1));

    // What the top of the module made is there, and what a call changes is gone.
    assert_eq!(client.run("WASM.CALL m.table ARGS 99"), Reply::Int(9801));
    for _ in 0..3 {
        assert_eq!(client.run("WASM.CALL m.changed"), Reply::Int(1));
    }
    assert_ne!(
        client.run("WASM.CALL m.drawn"),
        client.run("WASM.CALL m.drawn")
    );

    // Modules that are imported inside functions are there; others are named.
    assert_eq!(client.run("WASM.CALL m.imported_late"), bulk("3/2"));
    let parsed = client.run("WASM.CALL m.parsed ARGS 2024-02-29");
    assert_eq!(parsed, Reply::Int(738_945));
    let absent = client.run("WASM.CALL m.absent ARGS wave");
    assert!(absent.error().is_some(), "{absent:?}");
    let errors = format!("{:?}", client.run("WASM.ERRORS m")).replace("\\'", "'");
    let expected = "No module named 'wave', and nothing can be imported while a call runs";
    assert!(errors.contains(expected), "{errors}");

    let endless = client.run("WASM.CALL m.endless");
    assert!(
        endless.error().is_some_and(|it| it.starts_with("FUEL ")),
        "{endless:?}"
    );
    assert_eq!(
        client.run("WASM.CALL m.large ARGS 20"),
        Reply::Int(20 << 20)
    );
    let large = client.run("WASM.CALL m.large ARGS 300");
    assert!(
        large.error().is_some_and(|it| it.starts_with("MEMORY ")),
        "{large:?}"
    );

    let stored = client.run("WASM.CALL m.store KEYS k");
    let keys = ["h", "k", "l", "n"].map(bulk).to_vec();
    let expected = vec![
        Reply::Bool(true),
        Reply::Bulk(vec![0xff]),
        Reply::Bool(false),
        Reply::Bool(true),
        bulk("1"),
        Reply::Map(vec![(bulk("a"), bulk("1"))]),
        Reply::Int(1),
        Reply::Int(5),
        Reply::Bool(true),
        Reply::Int(-2),
        Reply::Int(2),
        Reply::Int(2),
        Reply::Array(vec![bulk("y"), bulk("x")]),
        Reply::Array(keys[1..].to_vec()),
        Reply::Int(3),
        Reply::Int(9),
        Reply::Bool(true),
    ];
    assert_eq!(stored, Reply::Array(expected));
    requests_are_made(&mut client, &receiver);
    files_are_there(&mut client);
}

/// Files by `open` and `os`: a directory to read, and one that begins empty in each call.
fn files_are_there(client: &mut Client) {
    let lines = client.run("WASM.CALL m.lines ARGS /tables/table");
    assert_eq!(lines, Reply::Array(vec![bulk("one"), bulk("two")]));
    let names = Reply::Array(vec![bulk("table")]);
    let expected = vec![names, Reply::Int(8), Reply::Bool(false)];
    let listed = client.run("WASM.CALL m.listed ARGS /tables");
    assert_eq!(listed, Reply::Array(expected));
    for (call, expected) in [
        ("noted ARGS /tmp/note x", "x"),
        ("noted ARGS /tmp/note y", "y"),
        ("noted ARGS /tables/table x", "OSError"),
        ("lines ARGS /tables/none", "FileNotFoundError"),
        ("lines ARGS /tables/../m/functions.py", "PermissionError"),
        ("lines ARGS /etc/passwd", "FileNotFoundError"),
    ] {
        let reply = client.run(&format!("WASM.CALL m.{call}"));
        assert_eq!(reply, bulk(expected), "{call}");
    }
}

/// Requests by `ferrite.http` and after the commit.
fn requests_are_made(client: &mut Client, receiver: &ReceivingServer) {
    let open = receiver.url("/open?a=1");
    receiver.answer(&[404]);
    let reply = client.call(&["WASM.CALL", "m.ask", "KEYS", "k", "ARGS", &open, "grüße"]);
    let expected = vec![
        Reply::Int(404),
        Reply::Bool(false),
        bulk("ok"),
        bulk("2"),
        bulk(&open),
    ];
    assert_eq!(reply, Reply::Array(expected));
    let arrived = receiver.next();
    let told = (&*arrived.method, &*arrived.target, &*arrived.body);
    assert_eq!(told, ("POST", "/open?a=1", "grüße"));
    assert_eq!(client.run("GET k"), bulk("asked"));
    for (target, code) in [
        (receiver.url("/closed"), "NOPERM"),
        ("http://127.0.0.1:1/open".to_owned(), "CONNECT"),
        ("nonsense".to_owned(), "INVALID"),
    ] {
        let reply = client.call(&["WASM.CALL", "m.refused", "ARGS", &target]);
        assert_eq!(reply, bulk(code), "{target}");
    }
    let reply = client.call(&["WASM.CALL", "m.tell", "KEYS", "k", "ARGS", &open]);
    let arrived = receiver.next();
    assert_eq!(arrived.body, r#"{"a": 1}"#);
    let expected = vec![bulk(&arrived.key), bulk("tökens"), Reply::Null];
    assert_eq!(reply, Reply::Array(expected));
    assert_eq!(receiver.arrived.try_iter().count(), 0);
}

/// Builds bad functions; returns what the build says.
fn refusal(functions: &str, requirements: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let project = project(folder.path(), functions)?;
    fs::write(project.join("requirements.txt"), requirements).expect("it can be written");
    let built = output("ferrite-wasmc", &["build"], &project);
    assert_eq!(built.status.code(), Some(1));
    assert!(!project.join("build/m.wasm").exists());
    Some(String::from_utf8_lossy(&built.stderr).into_owned())
}

#[test]
fn what_cannot_be_built_is_explained() {
    let cases = [
        (
            "def f(:\n    pass\n",
            "",
            "error: functions.py, line 1: invalid syntax",
        ),
        (
            "import ferrite\nimport numpy\n",
            "",
            "there is no module `numpy`: add its package to the requirements",
        ),
        (
            "import ferrite\nferrite.get('key')\n",
            "",
            "the top of a module runs when it is built, without a store",
        ),
    ];
    for (functions, requirements, expected) in cases {
        let Some(said) = refusal(functions, requirements) else {
            return;
        };
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
}

/// A package in the project's folder that holds machine code.
#[test]
fn an_extension_in_machine_code_is_refused() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let Some(project) = project(folder.path(), "import ferrite\n") else {
        return;
    };
    // A wheel without machine code has the tag `any`; this one has another.
    let wheel = "spam-1.0-cp314-cp314-manylinux_2_17_x86_64.whl";
    fs::write(project.join(wheel), b"PK\x05\x06").expect("it can be written");
    fs::write(project.join("requirements.txt"), format!("./{wheel}\n")).expect("it can be written");
    let built = output("ferrite-wasmc", &["build"], &project);
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    assert_eq!(built.status.code(), Some(1), "{said}");
    assert!(
        said.contains("pip could not install the requirements"),
        "{said}"
    );
    assert!(said.contains("spam"), "{said}");
}
