//! A function whose keys are restricted learns nothing of other keys.

use ferrite_tests::{Client, encode};

use super::{Host, OPEN, any, load_ops};

/// The status of an access that permissions refuse.
const DENIED: i64 = -16;

const RESTRICTED: &str = r#"{"allowed_keys":["a:*"],"allow_write":true}"#;

fn fill(client: &mut Client) {
    for key in ["a:1", "a:2", "a:3"] {
        assert_eq!(client.call(&["SET", key, "seen"]).error(), None);
    }
    assert_eq!(client.call(&["RPUSH", "a:list", "x"]).error(), None);
    for index in 0..200 {
        let key = format!("b:{index}");
        assert_eq!(client.call(&["SET", &key, "hidden"]).error(), None);
    }
    client.call(&["SELECT", "1"]);
    client.call(&["SET", "a:1", "of another database"]);
    client.call(&["SELECT", "0"]);
}

/// The reply of `SCAN` with the cursor 0 and these keys, sorted.
fn page(keys: &[&str]) -> String {
    let keys = encode(keys);
    format!("*2\r\n$1\r\n0\r\n{}", String::from_utf8_lossy(&keys))
}

/// Sorts the lines of keys in a page, which come in any order.
fn sorted(reply: &str) -> String {
    let mut lines: Vec<&str> = reply.split("\r\n").collect();
    lines.sort_unstable();
    lines.join("\r\n")
}

#[test]
fn commands_on_all_keys_tell_nothing_of_those_that_it_may_not_access() {
    for host in Host::each() {
        let name = host.name();
        let mut client = host.client();
        fill(&mut client);
        load_ops(&mut client, "restricted", RESTRICTED);
        load_ops(&mut client, "open", OPEN);
        for words in [
            &["DBSIZE"][..],
            &["RANDOMKEY"],
            &["FLUSHDB"],
            &["FLUSHALL"],
            &["SWAPDB", "0", "1"],
            &["MOVE", "a:2", "1"],
            &["COPY", "a:1", "a:9", "DB", "1"],
            &["copy", "a:1", "a:1", "replace", "db", "1"],
            &["SORT", "a:list", "BY", "b:*"],
            &["SORT", "a:list", "GET", "b:*"],
        ] {
            let reply = any(&mut client, "restricted", words);
            assert_eq!(reply, Err(DENIED), "{name} {words:?}");
        }
        let dbsize = any(&mut client, "open", &["DBSIZE"]);
        assert_eq!(dbsize.as_deref(), Ok(":204\r\n"), "{name}");
        let copied = any(&mut client, "restricted", &["COPY", "a:1", "a:9"]);
        assert_eq!(copied.as_deref(), Ok(":1\r\n"), "{name}");
        assert_eq!(client.call(&["DEL", "a:9"]).int(), Some(1), "{name}");

        for (words, keys) in [
            (&["SCAN", "0"][..], &["a:1", "a:2", "a:3", "a:list"][..]),
            (
                &["scan", "0", "MATCH", "*", "COUNT", "5"],
                &["a:1", "a:2", "a:3", "a:list"],
            ),
            (&["SCAN", "0", "MATCH", "a:[12]"], &["a:1", "a:2"]),
            (&["SCAN", "0", "TYPE", "list"], &["a:list"]),
            (&["SCAN", "0", "MATCH", "b:*"], &[]),
        ] {
            let reply = any(&mut client, "restricted", words).expect("a reply");
            assert_eq!(sorted(&reply), sorted(&page(keys)), "{name} {words:?}");
        }
        for words in [&["SCAN", "x"][..], &["SCAN", "0", "COUNT", "0"]] {
            let reply = any(&mut client, "restricted", words).expect("a reply");
            assert!(reply.starts_with("-ERR "), "{name} {words:?}: {reply}");
        }
        let keys = any(&mut client, "restricted", &["KEYS", "*1*"]).expect("a reply");
        assert_eq!(keys, "*1\r\n$3\r\na:1\r\n", "{name}");
        many_keys_come_in_pages(&mut client, &name);
    }
}

/// So that a function need not have room for all names.
fn many_keys_come_in_pages(client: &mut Client, name: &str) {
    const KEYS: usize = 2_500;
    let mut expected: Vec<String> = (0..KEYS).map(|index| format!("c:{index}")).collect();
    expected.sort_unstable();
    let pairs = expected.iter().flat_map(|key| [key.as_str(), "seen"]);
    let words: Vec<&str> = std::iter::once("MSET").chain(pairs).collect();
    assert_eq!(client.call(&words).error(), None);
    load_ops(client, "many", r#"{"allowed_keys":["c:*"]}"#);
    let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
    let mut pages = 0;
    loop {
        let words = ["SCAN", &cursor, "COUNT", "100"];
        let reply = any(client, "many", &words).expect("a reply");
        let lines: Vec<&str> = reply.split("\r\n").collect();
        let before = keys.len();
        let found = lines.iter().filter(|line| line.contains(':'));
        keys.extend(found.map(|&key| key.to_owned()));
        pages += 1;
        lines[2].clone_into(&mut cursor);
        if cursor == "0" {
            break;
        }
        assert!(keys.len() >= before + 100, "{name}: {reply}");
        assert_eq!(cursor.len(), 20, "{name}: {reply}");
    }
    keys.sort_unstable();
    assert_eq!(keys, expected, "{name}");
    assert!((2..=KEYS / 100 + 1).contains(&pages), "{name}: {pages}");
}

#[test]
fn the_engines_parser_gets_a_payload_only_if_the_command_is_named() {
    for host in Host::each() {
        let Host::Engine(kind, _) = &host else {
            continue;
        };
        let mut client = host.client();
        load_ops(&mut client, "open", OPEN);
        load_ops(
            &mut client,
            "named",
            r#"{"allow_write":true,"allowed_commands":["RESTORE"]}"#,
        );
        let words = ["RESTORE", "k", "0", "payload"];
        assert_eq!(any(&mut client, "open", &words), Err(DENIED), "{kind:?}");
        let reply = any(&mut client, "named", &words).expect("a reply");
        assert!(reply.starts_with("-ERR DUMP payload"), "{kind:?}: {reply}");
    }
}
