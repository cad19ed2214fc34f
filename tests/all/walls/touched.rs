//! Inside Valkey and Redis, a function with few permissions reads and writes only the keys that these allow.
//!
//! Random requests of the server's own commands are run by functions with different permissions. What
//! each request touches is known from the server itself: from `COMMAND GETKEYSANDFLAGS`, from all keys
//! before and after, and from words that only the values of one key have. `FERRITE_FUZZ_INPUTS` sets the
//! number of requests, `FERRITE_FUZZ_SEED` another sequence of them.

#![expect(clippy::print_stderr, reason = "tells how many cases there were")]

use std::collections::{BTreeMap, BTreeSet};

use ferrite_tests::{Client, EngineKind, Reply};

use super::access_control::{is_for_functions, is_refused_to_all};
use super::samples::{self, Sample};
use super::{OPS, request_of};

/// Requests for each server in a plain run.
const INPUTS: u64 = 1_000;

/// Requests between two looks at keys that should not have changed at all.
const FILLED_EVERY: u64 = 200;

/// Types of the keys, which each prefix has one of; there is no key `none`.
const NAMES: [&str; 8] = [
    "string", "number", "list", "hash", "set", "zset", "stream", "none",
];

/// Words that are put in the place of others.
const WORDS: [&str; 20] = [
    "b:string", "b:list", "b:hash", "b:*", "*", "a:string", "BY", "GET", "STORE", "KEYS", "COUNT",
    "MATCH", "DB", "0", "1", "-1", "3", "100000", "#", "",
];

/// All keys, each with a digest of its value and its expiry.
const KEYS: &str = "
    local all = {}
    for _, key in ipairs(redis.call('KEYS', '*')) do
        all[#all + 1] = key
        all[#all + 1] = redis.sha1hex(redis.call('DUMP', key)) .. redis.call('PEXPIRETIME', key)
    end
    return all";

/// The status of an access that permissions refuse, and of a write of what may only read.
const REFUSED: [i64; 2] = [-16, -17];

/// Permissions for keys: patterns of those that are allowed and denied, and the keys that these mean.
struct KeyRule {
    allowed: &'static str,
    denied: &'static str,
    has: fn(&str) -> bool,
}

const KEY_RULES: [KeyRule; 6] = [
    KeyRule {
        allowed: r#"["*"]"#,
        denied: "[]",
        has: |_| true,
    },
    KeyRule {
        allowed: r#"["a:*"]"#,
        denied: "[]",
        has: |key| key.starts_with("a:"),
    },
    KeyRule {
        allowed: r#"["*"]"#,
        denied: r#"["b:*"]"#,
        has: |key| !key.starts_with("b:"),
    },
    KeyRule {
        allowed: r#"["a:s*","b:list"]"#,
        denied: r#"["a:set"]"#,
        has: |key| (key.starts_with("a:s") && key != "a:set") || key == "b:list",
    },
    KeyRule {
        allowed: r#"["?:*"]"#,
        denied: r#"["*:[hl]*","b:*"]"#,
        has: |key| {
            let mut rest = key.chars();
            let shaped = rest.next().is_some() && rest.next() == Some(':');
            let kind = rest.next();
            shaped && !matches!(kind, Some('h' | 'l')) && !key.starts_with("b:")
        },
    },
    KeyRule {
        allowed: "[]",
        denied: "[]",
        has: |_| false,
    },
];

/// A function with its permissions.
struct Function {
    name: String,
    keys: &'static KeyRule,
    write: bool,
    /// The commands that it may run; `None` for all.
    commands: Option<Vec<String>>,
}

impl Function {
    fn load(
        client: &mut Client,
        number: usize,
        samples: &[Sample],
        random: &mut fastrand::Rng,
    ) -> Self {
        let keys = &KEY_RULES[number % KEY_RULES.len()];
        let write = random.u8(..4) > 0;
        let commands: Option<Vec<String>> = (random.u8(..3) == 0).then(|| {
            let some = samples.iter().filter(|_| random.bool());
            some.map(|sample| sample.name[0].clone()).collect()
        });
        let mut permissions = format!(
            r#"{{"allowed_keys":{},"denied_keys":{},"allow_write":{write}"#,
            keys.allowed, keys.denied
        );
        if let Some(commands) = &commands {
            permissions.push_str(&format!(r#","allowed_commands":{commands:?}"#));
        }
        permissions.push('}');
        let name = format!("f{number}");
        let reply = client.call(&["WASM.DEFINE", &name, OPS, "PERMISSIONS", &permissions]);
        assert_eq!(reply.error(), None, "{permissions}");
        Self {
            name,
            keys,
            write,
            commands,
        }
    }

    fn may_run(&self, command: &str) -> bool {
        let is = |name: &String| name.eq_ignore_ascii_case(command);
        self.commands
            .as_ref()
            .is_none_or(|commands| commands.iter().any(is))
    }
}

/// The word that only the values of this key have.
fn secret(key: &str) -> String {
    format!("secret-of-{key}-")
}

/// Writes all keys anew; returns their digests.
fn fill(client: &mut Client) -> BTreeMap<String, String> {
    assert_eq!(client.call(&["FLUSHALL"]).error(), None);
    for prefix in ["a:", "b:"] {
        for line in [
            "SET string SECRET",
            "SET number 7",
            "RPUSH list SECRET n",
            "HSET hash SECRET 1 f SECRET",
            "SADD set SECRET m",
            "ZADD zset 1 SECRET 2 m",
            "XADD stream 1-1 SECRET SECRET",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            let key = format!("{prefix}{}", words[1]);
            let secret = secret(&key);
            let words: Vec<&str> = [words[0], &key]
                .into_iter()
                .chain(words[2..].iter().map(|word| match *word {
                    "SECRET" => &secret,
                    word => word,
                }))
                .collect();
            assert_eq!(client.call(&words).error(), None, "{words:?}");
        }
    }
    digests(client)
}

fn digests(client: &mut Client) -> BTreeMap<String, String> {
    let reply = client.call(&["EVAL", KEYS, "0"]);
    let words = reply.elements().expect("a list");
    let text = |reply: &Reply| reply.text().expect("a text").to_owned();
    let pairs = words.chunks(2);
    pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

/// The keys that the server says a request names, and whether it may write each.
fn touched(client: &mut Client, request: &[String]) -> Vec<(String, bool)> {
    let mut words = vec!["COMMAND", "GETKEYSANDFLAGS"];
    words.extend(request.iter().map(String::as_str));
    let reply = client.call(&words);
    let mut keys = Vec::new();
    for pair in reply.elements().unwrap_or_default() {
        let pair = pair.elements().expect("a key and its flags");
        let key = pair[0].text().expect("a key").to_owned();
        let flags = pair[1].elements().expect("flags");
        let writes = flags
            .iter()
            .any(|flag| matches!(flag.text(), Some("RW" | "OW" | "RM")));
        keys.push((key, writes));
    }
    keys
}

fn request(sample: &Sample, random: &mut fastrand::Rng) -> Vec<String> {
    let keys: Vec<String> = (0..3)
        .map(|_| {
            let prefix = if random.u8(..3) == 0 { "b:" } else { "a:" };
            format!("{prefix}{}", NAMES[random.usize(..NAMES.len())])
        })
        .collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut requests = sample.requests(&keys);
    let mut request = requests.swap_remove(random.usize(..requests.len()));
    let first = sample.name.len();
    while random.u8(..4) == 0 && request.len() > first {
        let at = random.usize(first..request.len());
        let word = WORDS[random.usize(..WORDS.len())].to_owned();
        match random.u8(..3) {
            0 => request.insert(at, word),
            1 => request.push(word),
            _ => request[at] = word,
        }
    }
    request
}

/// Every text of a reply, as one.
fn shown(reply: &Reply) -> String {
    format!("{reply:?}")
}

/// Returns true if a restricted function may not make the request whatever its keys are: it reaches keys
/// that its arguments do not name.
fn reaches_further(request: &[String]) -> bool {
    let has = |word: &str| request.iter().any(|one| one.eq_ignore_ascii_case(word));
    match &*request[0] {
        "sort" | "sort_ro" => has("BY") || has("GET"),
        "copy" => has("DB"),
        "move" | "restore" => true,
        _ => false,
    }
}

#[test]
fn a_function_touches_only_what_its_permissions_allow() {
    let number = |name: &str, otherwise: u64| {
        let text = std::env::var(name).ok();
        text.map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let inputs = number("FERRITE_FUZZ_INPUTS", INPUTS);
    for kind in EngineKind::ends_here() {
        let engine = kind.start();
        let mut client = engine.client();
        let mut random = fastrand::Rng::with_seed(number("FERRITE_FUZZ_SEED", 1));
        let mut samples = samples::of_server(&mut client);
        samples.retain(|sample| {
            let is_ours = sample.name[0].to_ascii_lowercase().starts_with("wasm.");
            !is_ours && is_for_functions(&mut client, sample)
        });
        let functions: Vec<Function> = (0..4 * KEY_RULES.len())
            .map(|number| Function::load(&mut client, number, &samples, &mut random))
            .collect();
        let mut before = fill(&mut client);
        let (mut refused, mut ran, mut changing, mut permitted) = (0_u64, 0_u64, 0_u64, 0_u64);
        // Commands that were refused though they name only keys that are allowed: the server does not tell
        // modules which keys they name.
        let mut needlessly = BTreeSet::new();
        for input in 0..inputs {
            let function = &functions[random.usize(..functions.len())];
            let sample = &samples[random.usize(..samples.len())];
            let request = request(sample, &mut random);
            let words: Vec<&str> = request.iter().map(String::as_str).collect();
            let keys = touched(&mut client, &request);
            let reply = client.call(&request_of(&function.name, &words));
            let after = digests(&mut client);
            let what = format!("{kind:?}, input {input}, {}: {request:?}", function.name);

            let has = function.keys.has;
            let denied = matches!(reply, Reply::Int(status) if REFUSED.contains(&status));
            let names_hidden = keys.iter().any(|(key, _)| !has(key));
            // The estimate that this one may write is no change of the data, and its flags say that it reads.
            let estimates = request[0] == "pfcount";
            let writes = !estimates && keys.iter().any(|(_, writes)| *writes);
            let forbidden =
                names_hidden || (writes && !function.write) || !function.may_run(&request[0]);
            if forbidden {
                assert!(
                    denied || is_refused_to_all(&reply),
                    "{what} names {keys:?}: {reply:?}"
                );
            } else if !keys.is_empty() && function.write && !reaches_further(&request) {
                permitted += 1;
                if denied {
                    needlessly.insert(request[0].clone());
                }
            }
            let text = shown(&reply);
            for key in before.keys().filter(|key| !has(key)) {
                assert!(!text.contains(&secret(key)), "{what} told {key}: {text}");
                let is_own_word = words.iter().any(|word| word.contains(&**key));
                assert!(
                    is_own_word || !text.contains(&**key),
                    "{what} listed {key}: {text}"
                );
            }
            if after != before {
                assert!(function.write && !denied, "{what} wrote: {reply:?}");
                let all = before.keys().chain(after.keys());
                for key in all.filter(|key| before.get(*key) != after.get(*key)) {
                    assert!(has(key), "{what} changed {key}: {reply:?}");
                }
                changing += 1;
                before = fill(&mut client);
            } else if input % FILLED_EVERY == 0 {
                before = fill(&mut client);
            }
            refused += u64::from(denied);
            ran += u64::from(!denied);
        }
        eprintln!(
            "{kind:?}: {inputs} requests, {refused} refused, {ran} run, {changing} changed something; refused for want of their keys: {needlessly:?}"
        );
        assert!(
            permitted * 10 > inputs && needlessly.len() < 6,
            "{needlessly:?}"
        );
        assert!(refused * 5 > inputs && ran * 5 > inputs && changing * 50 > inputs);
    }
}
