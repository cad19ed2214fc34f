//! Inside Valkey and Redis, a call that traps after any command leaves everything as it was.
//!
//! The server's own table of commands makes the requests. A function makes each and then traps, and
//! everything that the server holds is compared with what it held before.

#![expect(clippy::print_stderr, reason = "tells how many cases there were")]

use std::collections::BTreeSet;

use ferrite_tests::{Client, Engine, EngineKind, Reply, encode};

use super::samples::{self, Sample};
use super::{OPEN, TYPED};
use crate::engines::until;

/// All keys with their values and expiries, as one text.
const DATA: &str = "
    local keys = redis.call('KEYS', '*')
    table.sort(keys)
    local all = {}
    for _, key in ipairs(keys) do
        local kind = redis.call('TYPE', key).ok
        local value
        if kind == 'string' then value = {redis.call('GET', key)}
        elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
        elseif kind == 'hash' then value = redis.call('HGETALL', key)
        elseif kind == 'set' then value = redis.call('SMEMBERS', key) table.sort(value)
        elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
        else value = {redis.sha1hex(redis.call('DUMP', key))} end
        if kind == 'hash' then
            local fields = {}
            for at = 1, #value, 2 do
                local expiry = redis.pcall('HPEXPIRETIME', key, 'FIELDS', 1, value[at])
                expiry = type(expiry) == 'table' and expiry[1] or ''
                fields[#fields + 1] = value[at] .. '=' .. value[at + 1] .. expiry
            end
            table.sort(fields)
            value = fields
        end
        all[#all + 1] = key .. ' ' .. kind .. ' ' .. redis.call('PEXPIRETIME', key) .. ' ' .. table.concat(value, ',')
    end
    return table.concat(all, '\\n')";

/// The server's state besides the data of a database, in commands that tell it.
const REST: [&[&str]; 5] = [
    &["ACL", "LIST"],
    &["CONFIG", "GET", "*"],
    &["FUNCTION", "LIST"],
    &["CLUSTER", "SLOTS"],
    &["PUBSUB", "CHANNELS"],
];

struct Watched {
    client: Client,
    /// Comes before each key, so that all of a cluster's keys are in one slot.
    tag: &'static str,
}

impl Watched {
    fn data(&mut self) -> String {
        let reply = self.client.call(&["EVAL", DATA, "0"]);
        match reply {
            Reply::Bulk(bytes) => bytes.escape_ascii().to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn rest(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for words in REST {
            all.push(format!("{:?}", self.client.call(words)));
        }
        // The numbers of keys in each database; what follows them depends on the time.
        let keyspace = self.client.call(&["INFO", "keyspace"]);
        let lines = keyspace.text().unwrap_or_default().lines();
        all.extend(lines.filter_map(|line| Some(line.split_once(',')?.0.to_owned())));
        all
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.tag)
    }

    fn fill(&mut self) {
        assert_eq!(self.client.call(&["FLUSHALL"]).error(), None);
        for line in [
            "SET string 7",
            "SET text abc EX 100000",
            "RPUSH list m n 3",
            "HSET hash f 1 g 2",
            "SADD set m n 5",
            "ZADD zset 1 m 2 n",
            "GEOADD geo 10 10 m 11 11 n",
            "PFADD log v w",
            "XADD stream 1-1 f v",
            "XADD stream 2-1 f w",
            "XGROUP CREATE stream g 0",
            "XREADGROUP GROUP g c COUNT 1 STREAMS stream >",
        ] {
            let names = [
                "string", "text", "list", "hash", "set", "zset", "geo", "log", "stream",
            ];
            let words: Vec<String> = line
                .split(' ')
                .map(|word| {
                    if names.contains(&word) {
                        self.key(word)
                    } else {
                        word.to_owned()
                    }
                })
                .collect();
            let reply = self.client.call(&words);
            assert_eq!(reply.error(), None, "{words:?}");
        }
    }

    /// Runs a command inside of a call; returns the call's reply.
    fn run(&mut self, entry: &str, request: &[String]) -> Reply {
        let args = encode(&request[1..]);
        let words: [&[u8]; 6] = [
            b"WASM.CALL",
            entry.as_bytes(),
            b"KEYS",
            b"ARGS",
            request[0].as_bytes(),
            &args,
        ];
        self.client.call(&words)
    }
}

/// Tries every command of an engine; returns the number of calls that trapped, and the names of the
/// commands that would have changed something.
fn try_all(engine: &Engine, tag: &'static str, what: &str) -> (usize, BTreeSet<String>) {
    let mut watched = Watched {
        client: engine.client(),
        tag,
    };
    for name in ["typed", "offloaded"] {
        let reply = watched
            .client
            .call(&["WASM.DEFINE", name, TYPED, "PERMISSIONS", OPEN]);
        assert_eq!(reply.error(), None);
    }
    let samples = samples::of_server(&mut watched.client);
    let writing = writing(&mut watched.client);
    let kinds = [
        "none", "string", "text", "list", "hash", "set", "zset", "geo", "log", "stream",
    ];
    watched.fill();
    let mut before = watched.data();
    let rest = watched.rest();
    let (mut calls, mut effective) = (0, BTreeSet::new());
    for sample in &samples {
        if sample.name[0].starts_with("wasm.") {
            continue;
        }
        // What only reads needs no value of each type.
        let kinds = if writing.contains(&sample.name[0]) {
            &kinds[..]
        } else {
            &kinds[..2]
        };
        for kind in kinds {
            // A second key of the same type, and none.
            let keys = [watched.key(kind), watched.key("other")];
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            for request in requests_of(sample, &keys) {
                let entry = if calls % 4 == 3 {
                    "offloaded.op_trap"
                } else {
                    "typed.op_trap"
                };
                let reply = watched.run(entry, &request);
                assert!(
                    reply.error().is_some(),
                    "{what}: {request:?} did not trap: {reply:?}"
                );
                calls += 1;
                let after = watched.data();
                assert_eq!(before, after, "{what}: {request:?}");
                // The same without the trap, to know that there was something to undo.
                watched.run("typed.op_any", &request);
                if watched.data() != before {
                    effective.insert(sample.name.join("|"));
                    watched.fill();
                    before = watched.data();
                }
            }
        }
        assert_eq!(watched.rest(), rest, "{what}: {:?}", sample.name);
    }
    (calls, effective)
}

fn requests_of(sample: &Sample, keys: &[&str]) -> Vec<Vec<String>> {
    let with_keys = sample.requests(keys);
    let without = sample.requests(&["unused"]);
    if with_keys == without && !keys[0].ends_with("none") {
        // The command names no key, so there is one set of requests.
        return Vec::new();
    }
    with_keys
}

/// Returns the commands that write and that scripts may run, those with such subcommands included.
fn writing(client: &mut Client) -> BTreeSet<String> {
    let commands = client.call(&["COMMAND"]);
    let mut names = BTreeSet::new();
    for command in commands.elements().unwrap_or_default() {
        let fields = command.elements().unwrap_or_default();
        let name = fields[0].text().unwrap_or_default();
        let subcommands = fields.get(9).and_then(Reply::elements);
        let has_writing = subcommands.unwrap_or_default().iter().any(writes);
        if (writes(command) || has_writing) && !name.starts_with("wasm.") {
            names.insert(name.to_owned());
        }
    }
    names
}

fn writes(command: &Reply) -> bool {
    let fields = command.elements().unwrap_or_default();
    let flags = fields.get(2).and_then(Reply::elements).unwrap_or_default();
    let has = |flag: &str| flags.iter().any(|one| one.text() == Some(flag));
    has("write") && !has("noscript")
}

#[test]
fn a_trap_after_any_command_leaves_everything_as_it_was() {
    for kind in EngineKind::here() {
        let engine = kind.builder().module(&["offload", "offloaded"]).start();
        let (calls, effective) = try_all(&engine, "", &format!("{kind:?}"));
        let mut others = writing(&mut engine.client());
        let all = others.len();
        others.retain(|name| {
            let changes = |one: &String| one.split('|').next() == Some(name);
            !effective.iter().any(changes)
        });
        eprintln!(
            "{kind:?}: {calls} calls that trapped; {} of {all} commands that write had something to undo, and not {others:?}",
            all - others.len()
        );
        assert!(calls > 3_000, "{calls}");
        // The others are refused to functions, or need another state.
        assert!(others.len() * 4 < all, "{kind:?}: {others:?}");
    }
}

#[test]
fn a_trap_after_any_command_leaves_a_cluster_as_it_was() {
    for kind in EngineKind::here() {
        let engine = kind
            .builder()
            .module(&["offload", "offloaded"])
            .arguments(&["--cluster-enabled", "yes"])
            .start();
        let mut client = engine.client();
        let reply = client.call(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        assert_eq!(reply.error(), None);
        until(&mut client, &["CLUSTER", "INFO"], |reply| {
            reply
                .text()
                .is_some_and(|text| text.contains("cluster_state:ok"))
        });
        let (calls, effective) = try_all(&engine, "{t}:", &format!("{kind:?} in a cluster"));
        eprintln!(
            "{kind:?} in a cluster: {calls} calls that trapped, {} commands had something to undo",
            effective.len()
        );
        assert!(
            calls > 3_000 && effective.len() > 60,
            "{calls} {effective:?}"
        );
    }
}
