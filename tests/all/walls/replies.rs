//! Replies of an engine's commands that are longer than their function may take: they are refused before the
//! engine makes them, as its memory shows.

use ferrite_tests::{Client, Engine, EngineKind, encode};

use super::TYPED;

/// The status of a command whose reply is too long.
const LIMIT: i64 = -20;

/// Memory of the function, which is the longest reply too.
const LIMITS: &str = r#"{"max_memory":4194304,"max_fuel":100000000}"#;

/// Length of a value.
const LONG: usize = 1 << 20;

/// Memory by which the process may grow: what the function takes, some steps of random elements, and the
/// request.
const SLACK_KIB: u64 = 40 << 10;

fn fill(client: &mut Client) {
    let long = "v".repeat(LONG);
    let mut run = |words: &[&str]| {
        let reply = client.call(words);
        assert_eq!(reply.error(), None, "{}", words[0]);
    };
    run(&["SET", "long:1", &long]);
    run(&["HSET", "hash", "field", &long]);
    run(&["SADD", "set", &long]);
    run(&["ZADD", "zset", "1", &long]);
    run(&["HSET", "deep:1", "field", &long]);
    run(&["XADD", "stream", "1-1", "field", &long]);
    for index in 0..200 {
        run(&["RPUSH", "ones", "1", "1", "1", "1", "1"]);
        let last = format!("{index:03}{}", &long[3..]);
        run(&["HSET", "large", &index.to_string(), &last]);
        run(&["RPUSH", "list", &last]);
        run(&["SADD", "members", &last]);
        run(&["ZADD", "ranks", &index.to_string(), &last]);
    }
}

/// The reply, or the status, of a command by the function.
fn run(client: &mut Client, words: &[&str]) -> Result<String, i64> {
    let request: Vec<Vec<u8>> = ["WASM.CALL", "typed.op_any", "ARGS", words[0]]
        .iter()
        .map(|word| word.as_bytes().to_vec())
        .chain([encode(&words[1..])])
        .collect();
    let reply = client.call(&request);
    match reply.int() {
        Some(status) => Err(status),
        None => Ok(reply
            .text()
            .unwrap_or_else(|| panic!("{reply:?}"))
            .to_owned()),
    }
}

/// Sets the most memory that the process has taken up to what it takes now, which is returned, in KiB.
fn forget_peak(engine: &Engine) -> u64 {
    let path = format!("/proc/{}/clear_refs", engine.pid());
    std::fs::write(path, "5").expect("the system forgets the peak");
    engine.memory_kib("VmHWM")
}

#[test]
fn a_reply_that_is_too_long_is_not_made() {
    const MANY: usize = 1_000;
    let repeated = |words: &[&'static str], word, last: &[&'static str]| {
        [words, &vec![word; MANY], last].concat()
    };
    let streams = [
        vec!["XREAD", "STREAMS"],
        vec!["stream"; MANY],
        vec!["0"; MANY],
    ]
    .concat();
    let refused = [
        repeated(&["MGET"], "long:1", &[]),
        repeated(&["HMGET", "hash"], "field", &[]),
        vec!["SRANDMEMBER", "set", "-1000"],
        vec!["HRANDFIELD", "hash", "-1000", "WITHVALUES"],
        vec!["ZRANDMEMBER", "zset", "-1000"],
        vec!["SORT", "ones", "GET", "long:*"],
        vec![
            "SORT_RO",
            "ones",
            "BY",
            "nosort",
            "GET",
            "#",
            "GET",
            "deep:*->field",
        ],
        vec!["SORT", "ones", "GET", "long:*", "STORE", "to"],
        streams,
        vec!["HGETALL", "large"],
        vec!["HVALS", "large"],
        vec!["LRANGE", "list", "0", "-1"],
        vec!["SMEMBERS", "members"],
        vec!["SUNION", "members", "set", "members"],
        vec!["ZRANGE", "ranks", "0", "-1"],
        vec!["ZREVRANGE", "ranks", "0", "-1", "WITHSCORES"],
    ];
    for kind in EngineKind::ends_here() {
        let engine = kind.start();
        let mut client = engine.client();
        fill(&mut client);
        let permissions = r#"{"allow_write":true}"#;
        let define = [
            "WASM.DEFINE",
            "typed",
            TYPED,
            "PERMISSIONS",
            permissions,
            "LIMITS",
            LIMITS,
        ];
        assert_eq!(client.call(&define).error(), None);
        for words in &refused {
            let what = format!("{kind:?} {}", words[..words.len().min(8)].join(" "));
            let before = forget_peak(&engine);
            assert_eq!(run(&mut client, words), Err(LIMIT), "{what}");
            let grown = engine.memory_kib("VmHWM").saturating_sub(before);
            assert!(grown < SLACK_KIB, "{what}: {grown} KiB more");
        }
        assert_eq!(client.run("EXISTS to").int(), Some(0));
        // What is short enough is as it was.
        for (words, expected) in [
            (&["HMGET", "large", "no", "no"][..], "*2\r\n$-1\r\n$-1\r\n"),
            (&["SRANDMEMBER", "no", "-1000"], "*0\r\n"),
            (
                &["SORT", "ones", "LIMIT", "0", "2", "GET", "no*"],
                "*2\r\n$-1\r\n$-1\r\n",
            ),
            (
                &["XREAD", "STREAMS", "stream", "stream", "9", "9"],
                "*-1\r\n",
            ),
            (&["SRANDMEMBER", "ones", "-1000"], "-WRONGTYPE"),
        ] {
            let reply = run(&mut client, words).expect("a reply");
            assert!(reply.starts_with(expected), "{kind:?} {words:?}: {reply}");
        }
        client.call(&["SADD", "small", "a", "b"]);
        let reply = run(&mut client, &["SRANDMEMBER", "small", "-1000"]).expect("a reply");
        assert!(reply.starts_with("*1000\r\n$1\r\n"), "{kind:?}");
        assert_eq!(reply.matches("$1\r\n").count(), 1_000, "{kind:?}");
    }
}
