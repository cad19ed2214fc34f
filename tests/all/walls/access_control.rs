//! Inside Valkey and Redis, what a function does is for the calling user what the command would be.
//!
//! The server's own table of commands makes the requests, and its `ACL DRYRUN` says whether the user
//! may make each. A function that makes it on behalf of the user is refused exactly then.

#![expect(clippy::print_stderr, reason = "tells how many cases there were")]

use ferrite_tests::{Client, Engine, EngineKind, Reply, encode};

use super::samples::{self, Sample};
use super::{OPEN, TYPED};

/// Shapes of access control, without the commands that call functions.
const SHAPES: [&str; 24] = [
    "+@all ~*",
    "+@all ~a:*",
    "+@all %R~*",
    "+@all %W~*",
    "+@all %R~a:* %W~b:*",
    "+@all %RW~a:*",
    "+@all %R~a:* %W~a:*",
    "+@all %R~* %W~a:*",
    "+@read ~*",
    "+@write ~*",
    "+@all -@write ~*",
    "+@all -@dangerous ~*",
    "+@all -set -get -incrby ~*",
    "+@string ~a:*",
    "+@hash +@keyspace ~*",
    "+get +mget ~*",
    "+get ~* (+set ~a:*)",
    "+@read ~* (+@write ~a:*)",
    "-@all (+@read %R~*) (+@write %W~a:*)",
    "-@all (+@all %R~a:*) (+@all %RW~b:*)",
    "+incr +decr +pttl +unlink +expire +hmset +hmget ~*",
    "+@all -object +object|encoding -xgroup|create ~*",
    "~*",
    "+@all",
];

/// Ways in which a user reaches a function.
const CALLS: [&str; 8] = [
    "+wasm.call",
    "+wasm.call_ro",
    "+wasm.callasync",
    "+wasm.result",
    "+fcall",
    "+multi",
    "+exec",
    "+select",
];

/// The operations of `typed.wat`, each with requests of which any one permits it.
fn operations(key: &str) -> Vec<(&'static str, Vec<Vec<String>>)> {
    let table: [(&str, &[&str]); 13] = [
        ("op_get", &["GET K", "MGET K"]),
        ("op_set", &["SET K v"]),
        ("op_set_nx", &["SET K v NX"]),
        ("op_del", &["DEL K", "UNLINK K"]),
        ("op_exists", &["EXISTS K"]),
        ("op_incr", &["INCRBY K 1", "INCR K", "DECRBY K -1"]),
        ("op_decr", &["INCRBY K -1", "DECR K", "DECRBY K 1"]),
        ("op_incr_by", &["INCRBY K 7", "DECRBY K -7"]),
        ("op_expire", &["PEXPIRE K 9", "EXPIRE K 9"]),
        ("op_ttl", &["PTTL K", "TTL K"]),
        ("op_hget", &["HGET K f", "HMGET K f"]),
        ("op_hset", &["HSET K f v", "HMSET K f v"]),
        ("op_hdel", &["HDEL K f"]),
    ];
    let request = |line: &&str| {
        let words = line.split(' ');
        words
            .map(|word| if word == "K" { key } else { word }.to_owned())
            .collect()
    };
    let operation = |(name, lines): (&'static str, &[&str])| {
        let requests = lines.iter().map(request).collect();
        (name, requests)
    };
    table.into_iter().map(operation).collect()
}

/// Returns true if the server lets the user make the request; `None` if it is not a request.
fn rights(admin: &mut Client, request: &[String]) -> Option<bool> {
    let mut words = vec!["ACL", "DRYRUN", "user"];
    words.extend(request.iter().map(String::as_str));
    match admin.call(&words) {
        Reply::Error(_) => None,
        reply => Some(reply == Reply::Simple("OK".into())),
    }
}

fn may(admin: &mut Client, request: &[String]) -> bool {
    rights(admin, request) == Some(true)
}

/// Makes the user anew, and a client of it.
fn user(admin: &mut Client, engine: &Engine, shape: &str) -> Client {
    let mut words = vec!["ACL", "SETUSER", "user", "reset", "on", ">secret"];
    // A rule in parentheses is one word.
    let mut rest = shape;
    while !rest.is_empty() {
        let end = if rest.starts_with('(') {
            rest.find(')').map_or(rest.len(), |at| at + 1)
        } else {
            rest.find(' ').unwrap_or(rest.len())
        };
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    // Everything else that the shape denies stays denied.
    words.extend(CALLS);
    assert_eq!(admin.call(&words), Reply::Simple("OK".into()), "{shape}");
    let mut client = engine.client();
    let reply = client.call(&["AUTH", "user", "secret"]);
    assert_eq!(reply, Reply::Simple("OK".into()), "{shape}");
    client
}

fn fill(admin: &mut Client) {
    assert_eq!(admin.call(&["FLUSHALL"]).error(), None);
    for prefix in ["a:", "b:"] {
        for line in [
            "SET string 7",
            "RPUSH list m n",
            "HSET hash f 1",
            "SADD set m n",
            "ZADD zset 1 m 2 n",
            "XADD stream 1-1 f v",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            let key = format!("{prefix}{}", words[1]);
            let words: Vec<&str> = [words[0], &key]
                .into_iter()
                .chain(words[2..].iter().copied())
                .collect();
            assert_eq!(admin.call(&words).error(), None, "{words:?}");
        }
    }
}

/// Ways to run a function.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Call,
    Offloaded,
    Multi,
    Fcall,
}

/// Runs an entry of `typed.wat` as the user, with a declared key or none; returns its reply.
fn run(client: &mut Client, way: Way, entry: &str, key: Option<&str>, args: &[&[u8]]) -> Reply {
    let mut words: Vec<Vec<u8>> = Vec::new();
    if way == Way::Fcall {
        let count = key.map_or("0", |_| "1");
        words.extend([b"FCALL".to_vec(), entry.into(), count.into()]);
        words.extend(key.map(Into::into));
    } else {
        let function = if way == Way::Offloaded {
            "offloaded"
        } else {
            "typed"
        };
        let name = format!("{function}.{entry}");
        words.extend([b"WASM.CALL".to_vec(), name.into(), b"KEYS".to_vec()]);
        words.extend(key.map(Into::into));
        words.push(b"ARGS".to_vec());
    }
    words.extend(args.iter().map(|arg| arg.to_vec()));
    if way != Way::Multi {
        return client.call(&words);
    }
    client.call(&["MULTI"]);
    let queued = client.call(&words);
    let mut replies = client.call(&["EXEC"]);
    match &mut replies {
        Reply::Array(replies) if replies.len() == 1 => replies.remove(0),
        _ => queued,
    }
}

/// Returns true if the function was refused for want of a right.
fn is_refused(reply: &Reply) -> bool {
    match reply {
        Reply::Int(status) => *status == -16,
        Reply::Error(text) => text.starts_with("NOPERM"),
        // Redis 7.0 words it differently.
        reply => reply.text().is_some_and(|text| {
            text.starts_with("-NOPERM") || text.starts_with("-ERR acl verification failed")
        }),
    }
}

/// Returns true for what the module refuses before it asks for rights, whoever calls.
pub(super) fn is_refused_to_all(reply: &Reply) -> bool {
    const REASONS: [&str; 7] = [
        "unknown command",
        "wrong number of arguments",
        "reaches further than the keys",
        "does not tell which keys",
        "the server would not run",
        "cannot put a value of this type aside",
        "is run only for functions",
    ];
    reply
        .text()
        .is_some_and(|text| REASONS.iter().any(|reason| text.contains(reason)))
}

fn load(engine: &Engine, kind: EngineKind) -> Client {
    let mut admin = engine.client();
    for name in ["typed", "offloaded"] {
        let reply = admin.call(&["WASM.DEFINE", name, TYPED, "PERMISSIONS", OPEN]);
        assert_eq!(reply.error(), None);
    }
    if EngineKind::with_scripting_engines().contains(&kind) {
        let library = format!("#!wasm name=typed\n{{\"permissions\":{OPEN}}}\n{TYPED}");
        assert_eq!(admin.call(&["FUNCTION", "LOAD", &library]).error(), None);
    }
    admin
}

fn ways(kind: EngineKind) -> Vec<Way> {
    let mut ways = vec![Way::Call, Way::Offloaded, Way::Multi];
    if EngineKind::with_scripting_engines().contains(&kind) {
        ways.push(Way::Fcall);
    }
    ways
}

#[test]
fn each_typed_operation_is_what_its_command_would_be() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&["offload", "offloaded"]).start();
        let mut admin = load(&engine, kind);
        let (mut cases, mut refusals) = (0, 0);
        for shape in SHAPES {
            fill(&mut admin);
            let mut client = user(&mut admin, &engine, shape);
            for key in ["a:string", "b:string", "a:hash", "a:none"] {
                for (entry, requests) in operations(key) {
                    let allowed = requests.iter().any(|request| may(&mut admin, request));
                    for way in ways(kind) {
                        let reply = run(&mut client, way, entry, None, &[key.as_bytes()]);
                        assert_eq!(
                            is_refused(&reply),
                            !allowed,
                            "{kind:?} {way:?} {shape:?}: {entry} {key}: {reply:?}"
                        );
                        cases += 1;
                        refusals += usize::from(!allowed);
                        // A key that the request declares must be allowed for the request too.
                        let call = ["WASM.CALL", "typed", "KEYS", key, "ARGS"].map(str::to_owned);
                        if may(&mut admin, &call) {
                            let reply = run(&mut client, way, entry, Some(key), &[]);
                            assert_eq!(
                                is_refused(&reply),
                                !allowed,
                                "{kind:?} {way:?} {shape:?}: {entry} {key}, declared: {reply:?}"
                            );
                            cases += 1;
                            refusals += usize::from(!allowed);
                        }
                    }
                }
            }
        }
        eprintln!("{kind:?}: {cases} cases, {refusals} refused");
        assert!(cases > 4_000 && refusals * 5 > cases && refusals < cases);
    }
}

#[test]
fn each_command_that_a_function_runs_is_what_the_user_sends() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&["offload", "offloaded"]).start();
        let mut admin = load(&engine, kind);
        let mut samples = samples::of_server(&mut admin);
        samples.retain(|sample| is_for_functions(&mut admin, sample));
        let (mut cases, mut refusals) = (0, 0);
        for (turn, shape) in SHAPES.into_iter().enumerate() {
            fill(&mut admin);
            let mut client = user(&mut admin, &engine, shape);
            for (at, sample) in samples.iter().enumerate() {
                for keys in [["a:string", "a:list"], ["b:set", "a:zset"]] {
                    // The shortest form, and each time another one.
                    let requests = sample.requests(&keys);
                    let other = 1 + (turn + at) % requests.len();
                    let requests = [requests.first(), requests.get(other)];
                    for request in requests.into_iter().flatten() {
                        let Some(allowed) = rights(&mut admin, request) else {
                            continue;
                        };
                        let ways = ways(kind);
                        // Each request goes one of the ways, and each way sees every command.
                        let way = ways[(at + cases) % ways.len()];
                        let args = encode(&request[1..]);
                        let arguments = [request[0].as_bytes(), &args];
                        let reply = run(&mut client, way, "op_any", None, &arguments);
                        if is_refused_to_all(&reply) {
                            continue;
                        }
                        assert_eq!(
                            is_refused(&reply),
                            !allowed,
                            "{kind:?} {way:?} {shape:?}: {request:?}: {reply:?}"
                        );
                        cases += 1;
                        refusals += usize::from(!allowed);
                    }
                }
            }
        }
        eprintln!("{kind:?}: {cases} cases, {refusals} refused");
        assert!(cases > 4_000 && refusals * 5 > cases && refusals < cases);
    }
}

/// Returns true if functions may run the command at all, for a user who may do everything.
pub(super) fn is_for_functions(admin: &mut Client, sample: &Sample) -> bool {
    let requests = sample.requests(&["c:none"]);
    let request = &requests[0];
    let info = admin.call(&["COMMAND", "INFO", &sample.name.join("|")]);
    let flags = info
        .elements()
        .and_then(|commands| commands.first())
        .and_then(Reply::elements)
        .and_then(|fields| fields.get(2))
        .and_then(Reply::elements)
        .unwrap_or_default();
    let has = |name: &str| flags.iter().any(|flag| flag.text() == Some(name));
    // A function's permissions have to name this one.
    let is_named_only = request[0] == "restore";
    (has("write") || has("readonly"))
        && !has("noscript")
        && !is_named_only
        && !request[0].starts_with("wasm.")
}

/// An engine may keep back the reply of a command that fails, and give it to the next one.
#[test]
fn each_command_gets_its_own_reply() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&["offload", "offloaded"]).start();
        let mut admin = load(&engine, kind);
        fill(&mut admin);
        for way in ways(kind) {
            for (name, words) in [
                ("getset", &["a:list", "v"][..]),
                ("getdel", &["a:set"]),
                ("getex", &["a:zset", "PERSIST"]),
                ("spop", &["a:string"]),
            ] {
                let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
                let args = encode(&words);
                let reply = run(&mut admin, way, "op_any", None, &[name.as_bytes(), &args]);
                let is_one_error = |text: &str| {
                    text.starts_with("-WRONGTYPE") && text.matches("\r\n").count() == 1
                };
                assert!(
                    reply.text().is_some_and(is_one_error),
                    "{kind:?} {way:?}: {name}: {reply:?}"
                );
                let args = encode(&["b:string".to_owned()]);
                let reply = run(&mut admin, way, "op_any", None, &[b"strlen", &args]);
                assert_eq!(
                    reply.text(),
                    Some(":1\r\n"),
                    "{kind:?} {way:?} after {name}"
                );
            }
        }
    }
}
