//! Functions that go through all keys of an engine.

use std::collections::BTreeSet;

use ferrite_tests::{Client, Reply, Server};

use super::{COUNT, before, define, engine, on_each};
use crate::operations::monitoring::get;

pub(super) const ANY: &str = include_str!("guests/any.wat");

/// Adds 1 to the integer at each key that its pattern lists, and replies with their number.
pub(super) const SWEEP: &str = include_str!("guests/sweep.wat");

/// Adds 1 to the integer at each key that it meets by `SCAN`, and replies with their number.
const WALK: &str = include_str!("guests/walk.wat");

/// The same for the engine.
const WALK_LUA: &str = "
    local cursor, shown = '0', 0
    repeat
      local step = redis.call('SCAN', cursor, 'MATCH', 'n:*', 'COUNT', 7)
      cursor = step[1]
      for _, key in ipairs(step[2]) do redis.call('INCR', key) shown = shown + 1 end
    until cursor == '0'
    return shown";

fn any(client: &mut Client, line: &str) -> Reply {
    let mut call = vec!["FCALL", "any", "0"];
    call.extend(line.split(' '));
    client.call(&call)
}

fn texts(reply: &Reply) -> BTreeSet<String> {
    let elements = reply.elements().unwrap_or_else(|| panic!("{reply:?}"));
    let texts = elements.iter().map(|one| one.text().map(str::to_owned));
    texts.collect::<Option<_>>().expect("texts")
}

/// Goes through all steps of a scan, of which each is a call of its own.
pub(super) fn scan(client: &mut Client, options: &str) -> BTreeSet<String> {
    let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
    loop {
        let reply = any(client, &format!("SCAN {cursor} {options}"));
        let [next, keys] = reply.elements().unwrap_or_else(|| panic!("{reply:?}")) else {
            panic!("{reply:?}")
        };
        found.extend(texts(keys));
        next.text().expect("a cursor").clone_into(&mut cursor);
        if cursor == "0" {
            return found;
        }
    }
}

#[test]
fn functions_list_the_engines_keys() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "any", ANY);
        for number in 0..300 {
            client.run(&format!("SET text:{number} x"));
        }
        client.run("RPUSH list x");
        let listed = any(&mut client, "KEYS text:1*");
        assert_eq!(texts(&listed), texts(&client.run("KEYS text:1*")));
        assert_eq!(texts(&listed).len(), 111);
        let everywhere = client.run("WASM.CALLALL any ARGS KEYS text:1*");
        assert_eq!(format!("{everywhere:?}").matches("text:1").count(), 111);
        let expected: BTreeSet<String> = (0..300).map(|number| format!("text:{number}")).collect();
        assert_eq!(scan(&mut client, "MATCH text:* COUNT 20"), expected);
        let lists = scan(&mut client, "TYPE list");
        assert_eq!(lists.into_iter().collect::<Vec<_>>(), ["list"]);
        let size = client.run("DBSIZE").int().expect("a number");
        assert!(size >= 301);
        assert_eq!(any(&mut client, "DBSIZE").int(), Some(size));
        let random = any(&mut client, "RANDOMKEY");
        let random = random.text().expect("a key").to_owned();
        assert_eq!(client.run(&format!("EXISTS {random}")), Reply::Int(1));
        // Another database has other keys.
        client.run("SELECT 1");
        assert_eq!(any(&mut client, "KEYS *"), Reply::Array(Vec::new()));
        assert_eq!(any(&mut client, "DBSIZE"), Reply::Int(0));
        assert_eq!(any(&mut client, "RANDOMKEY"), Reply::Null);
        client.run("SELECT 0");
        for line in ["SCAN x", "SCAN 0 COUNT 0", "SCAN 0 TYPE"] {
            let reply = any(&mut client, line);
            let error = reply.error().unwrap_or_default();
            assert!(error.starts_with("ERR"), "{line}: {reply:?}");
        }
        for line in ["FLUSHALL", "FLUSHDB"] {
            let reply = any(&mut client, line);
            let error = reply.error().unwrap_or_default();
            assert!(error.contains("cannot remove all keys"), "{reply:?}");
        }
        assert_eq!(client.run("EXISTS list"), Reply::Int(1));
    });
}

#[test]
fn many_keys_need_few_tries() {
    const KEYS: usize = 12_000;
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine)
            .arguments(&["--metrics-address", "127.0.0.1:0"])
            .start();
        let (mut client, mut direct) = (server.client(), engine.client());
        // Its scan goes through all keys by itself, a thousand at a time.
        let restricted = r#"{"allowed_keys":["mine:*"]}"#;
        let defined = client.call(&["WASM.DEFINE", "any", ANY, "PERMISSIONS", restricted]);
        assert_eq!(defined.error(), None);
        let fill = format!(
            "for i = 1, {KEYS} do redis.call('SET', 'other:' .. i, 1) end redis.call('SET', 'mine:1', 1)"
        );
        assert_eq!(direct.call(&["EVAL", &fill, "0"]), Reply::Null);
        let profile = client.run("WASM.PROFILE any ARGS SCAN 0");
        let reply = profile.at("reply").and_then(Reply::elements);
        let keys = reply.map(|parts| texts(&parts[1]));
        assert_eq!(
            keys,
            Some(BTreeSet::from(["mine:1".to_owned()])),
            "{profile:?}"
        );
        let trips = profile.at("round_trips").and_then(Reply::int);
        let trips = trips.expect("a number");
        assert!((12..=20).contains(&trips), "{profile:?}");
        let tries = metric(&server, "ferrite_upstream_tries_total");
        assert!(tries <= 7, "{tries}");
        let read = profile.at("read_bytes").and_then(Reply::int);
        assert!(read.is_some_and(|read| read > 100_000), "{profile:?}");
    });
}

#[test]
fn a_scan_that_writes_meets_each_key_once_as_in_a_script() {
    const KEYS: i64 = 100;
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let (mut client, mut direct) = (server.client(), engine.client());
        define(&mut client, "walk", WALK);
        let fill = format!("for i = 1, {KEYS} do redis.call('SET', 'n:' .. i, 0) end");
        assert_eq!(direct.call(&["EVAL", &fill, "0"]), Reply::Null);
        let both = [
            client.run("WASM.CALL walk"),
            direct.call(&["EVAL", WALK_LUA, "0"]),
            client.run("WASM.CALL walk"),
        ];
        assert_eq!(both, [Reply::Int(KEYS), Reply::Int(KEYS), Reply::Int(KEYS)]);
        for key in 1..=KEYS {
            assert_eq!(direct.run(&format!("GET n:{key}")).text(), Some("3"));
        }
    });
}

pub(super) fn metric(server: &Server, name: &str) -> i64 {
    let page = get(server.address_of("metrics"), "/metrics").expect("metrics");
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    let value = value.and_then(|value| value.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name}: {page}"))
}

#[test]
fn too_many_keys_are_refused() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine)
            .arguments(&["--upstream-max-fetch", "10KB"])
            .start();
        let (mut client, mut direct) = (server.client(), engine.client());
        define(&mut client, "any", ANY);
        let fill = "for i = 1, 1000 do redis.call('SET', 'key:' .. i, 1) end";
        direct.call(&["EVAL", fill, "0"]);
        let reply = any(&mut client, "KEYS key:*");
        let error = reply.error().unwrap_or_default();
        assert!(
            error.starts_with("LIMIT")
                && error.contains("10240 bytes of keys (upstream.max_fetch)"),
            "{reply:?}"
        );
        // In several calls, it can.
        assert_eq!(scan(&mut client, "MATCH key:* COUNT 100").len(), 1000);
        assert_eq!(texts(&any(&mut client, "KEYS key:99*")).len(), 11);
    });
}

#[test]
fn the_rights_to_list_are_the_clients() {
    on_each(|kind| {
        let engine = engine(kind);
        let mut direct = engine.client();
        direct.run("ACL SETUSER plain on >pw ~* &* +@all -@scripting");
        direct.run("ACL SETUSER blind on >pw ~* &* +@all -scan");
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "any", ANY);
        define(&mut client, "sweep", SWEEP);
        client.run("MSET n:1 1 n:2 2");
        client.run("AUTH blind pw");
        let reply = any(&mut client, "KEYS n:*");
        let error = reply.error().unwrap_or_default();
        assert!(
            error.starts_with("NOPERM") && error.contains("scan"),
            "{reply:?}"
        );
        // Without scripts, keys are watched instead.
        client.run("AUTH plain pw");
        assert_eq!(texts(&any(&mut client, "KEYS n:*")).len(), 2);
        assert_eq!(client.run("WASM.CALL sweep ARGS n:*"), Reply::Int(2));
        let sums = client.run("MGET n:1 n:2");
        assert_eq!(
            texts(&sums),
            BTreeSet::from(["2".to_owned(), "3".to_owned()])
        );
    });
}

#[test]
fn what_is_read_of_listed_keys_is_proved() {
    const SWEEPS: i64 = 40;
    const KEYS: i64 = 5;
    on_each(|kind| {
        let engine = engine(kind);
        let servers = [before(&engine).start(), before(&engine).start()];
        for server in &servers {
            define(&mut server.client(), "sweep", SWEEP);
            define(&mut server.client(), "count", COUNT);
        }
        let mut direct = engine.client();
        for key in 0..KEYS {
            direct.run(&format!("SET n:{key} 0"));
        }
        std::thread::scope(|scope| {
            for server in &servers {
                scope.spawn(|| {
                    let mut client = server.client();
                    for _ in 0..SWEEPS {
                        assert_eq!(client.run("WASM.CALL sweep ARGS n:*"), Reply::Int(KEYS));
                    }
                });
                scope.spawn(|| {
                    let mut client = server.client();
                    for number in 0..SWEEPS {
                        let key = number % KEYS;
                        assert!(
                            client
                                .run(&format!("WASM.CALL count KEYS n:{key}"))
                                .int()
                                .is_some()
                        );
                    }
                });
            }
        });
        let all = 2 * SWEEPS + 2 * SWEEPS / KEYS;
        for key in 0..KEYS {
            let sum = direct.run(&format!("GET n:{key}"));
            assert_eq!(
                sum.text(),
                Some(all.to_string().as_str()),
                "{kind:?}: n:{key}"
            );
        }
    });
}
