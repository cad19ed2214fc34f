//! Commands on all keys in an overlay, against the same commands in a transaction on the data itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ferrite_protocol::keyspace::{Keyspace as _, Mode};
use ferrite_store::{Held, Listed, Listing, Missing, Transaction};

use crate::client::{Client, START, readable};
use crate::transactions::overlay::{commands, empty, lay, said, sorted};
use crate::transactions::savepoints::elements;

/// Answers a question as an engine does, by commands.
fn answer(engine: &mut Client, listing: &Listing) -> Listed {
    match listing {
        Listing::Matching(pattern) => Listed::Keys {
            next: 0,
            keys: elements(&engine.raw(&[b"KEYS", pattern]))
                .into_iter()
                .collect(),
        },
        Listing::Page {
            cursor,
            count,
            pattern,
            type_name,
        } => {
            let (cursor, count) = (cursor.to_string(), count.to_string());
            let mut words = vec![
                &b"SCAN"[..],
                cursor.as_bytes(),
                b"COUNT",
                count.as_bytes(),
                b"MATCH",
                pattern.as_deref().unwrap_or(b"*"),
            ];
            if let Some(type_name) = type_name {
                words.extend([b"TYPE", &**type_name]);
            }
            let mut found = elements(&engine.raw(&words));
            let next = String::from_utf8(found.remove(0)).expect("a cursor");
            Listed::Keys {
                next: next.parse().expect("a number"),
                keys: found.into_iter().collect(),
            }
        }
        Listing::Size => {
            let size = readable(&engine.raw(&[b"DBSIZE"]));
            Listed::Number(size.trim_start_matches(':').parse().expect("a number"))
        }
        Listing::Random(_) => {
            let reply = engine.raw(&[b"RANDOMKEY"]);
            let key = (reply != b"$-1\r\n" && reply != b"_\r\n")
                .then(|| elements(&reply).remove(0).into());
            Listed::Random(key)
        }
    }
}

/// Runs lines in overlays until nothing is missing; returns the replies, the overlay and the number of tries.
fn settled(engine: &mut Client, lines: &[&str], gathers: bool) -> (Vec<String>, Transaction, u32) {
    settled_by(engine, gathers, |overlay| {
        lines.iter().map(|line| said(overlay, line)).collect()
    })
}

/// Does the same with anything that runs on a transaction.
fn settled_by<R>(
    engine: &mut Client,
    gathers: bool,
    run: impl Fn(&mut Transaction) -> R,
) -> (R, Transaction, u32) {
    let mut keys: BTreeSet<Box<[u8]>> = BTreeSet::new();
    let mut listings = HashMap::new();
    for tries in 1.. {
        let mut overlay = empty().begin_overlay(0, Mode::Write, START, gathers);
        for key in &keys {
            lay(engine, &mut overlay, key, &[]);
        }
        overlay.lay_listings(Arc::new(listings.clone()));
        let result = run(&mut overlay);
        let missing = overlay.missing().to_vec();
        if missing.is_empty() {
            return (result, overlay, tries);
        }
        for missing in missing {
            match missing {
                Missing::Key(key) => assert!(keys.insert(key), "asked for again"),
                Missing::Listing(listing) => {
                    let listed = answer(engine, &listing);
                    assert_eq!(listings.insert(listing, listed), None, "asked for again");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    unreachable!("it returns")
}

/// Goes through all keys by `SCAN`, and runs lines for each key that is shown, with its name for `@`; returns
/// how often each was shown. Ends early in an overlay that lacks something.
fn sweep(
    transaction: &mut Transaction,
    first: &str,
    options: &str,
    lines: &[&str],
) -> BTreeMap<String, usize> {
    const STEPS_MAX: usize = 1000;
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    if !first.is_empty() {
        said(transaction, first);
    }
    let mut cursor = "0".to_owned();
    for _ in 0..STEPS_MAX {
        let reply = said(transaction, &format!("SCAN {cursor} {options}"));
        if !transaction.missing().is_empty() {
            return shown;
        }
        let is_word = |part: &&str| !part.starts_with(['*', '$']);
        let mut words = reply.split(' ').filter(is_word);
        cursor = words.next().expect("a cursor").to_owned();
        for key in words {
            *shown.entry(key.to_owned()).or_default() += 1;
            for line in lines {
                said(transaction, &line.replace('@', key));
            }
        }
        if cursor == "0" {
            return shown;
        }
    }
    panic!("the scan does not end")
}

#[test]
fn a_scan_that_writes_meets_each_key_once() {
    const KEYS: usize = 120;
    for (lines, grows) in [
        (&["APPEND @ y"][..], false),
        (&["SET @ y"], false),
        (&["DEL @", "SET @ y"], false),
        (&["DEL @"], false),
        (&["PEXPIRE @ 100000"], false),
        (&["SET new:@ y"], true),
        (&["APPEND @ y", "SET new:@ y"], true),
    ] {
        for gathers in [false, true] {
            let (mut engine, mut direct) = (Client::new(), Client::new());
            for client in [&mut engine, &mut direct] {
                for number in 0..KEYS {
                    client.run(&format!("SET key:{number} x"));
                }
            }
            // Each is there during the whole scan, one of them in the call alone.
            let run =
                |transaction: &mut Transaction| sweep(transaction, "SET own x", "COUNT 20", lines);
            let expected = run(&mut direct.store.begin(0, Mode::Write));
            let (shown, _, _) = settled_by(&mut engine, gathers, run);
            for (place, shown) in [("overlay", shown), ("store", expected)] {
                let twice: Vec<_> = shown.iter().filter(|(_, count)| **count != 1).collect();
                assert!(twice.is_empty(), "{place}: {lines:?}: {twice:?}");
                let is_new = |key: &&String| key.starts_with("new:");
                let new = shown.keys().filter(is_new).count();
                assert_eq!(shown.len() - new, KEYS + 1, "{place}: {lines:?}");
                assert!(grows || new == 0, "{place}: {lines:?}: {shown:?}");
            }
        }
    }
}

#[test]
fn a_key_that_changes_its_type_is_shown_by_the_new_one() {
    let mut engine = Client::new();
    for line in ["RPUSH list x", "SET text x", "SADD other x"] {
        engine.run(line);
    }
    let changes = [
        "DEL list",
        "SET list now-text",
        "DEL text",
        "RPUSH text now-list",
    ];
    for (options, shown) in [
        ("TYPE list", "text"),
        ("TYPE string", "list"),
        ("TYPE set", "other"),
    ] {
        let line = format!("SCAN 0 COUNT 1000 {options}");
        let lines: Vec<&str> = changes.into_iter().chain([line.as_str()]).collect();
        let (replies, ..) = settled(&mut engine, &lines, false);
        let last = replies.last().expect("a reply");
        assert_eq!(last.split(' ').next_back(), Some(shown), "{last}");
        assert!(last.contains("*1 "), "{last}");
    }
}

#[test]
fn a_key_whose_value_is_not_here_is_shown_as_the_engine_shows_it() {
    for (kind, count) in [("stream", 1), ("string", 0)] {
        let mut overlay = empty().begin_overlay(0, Mode::Write, START, false);
        let opaque = Held::Opaque("ERR the key holds a value of type stream");
        overlay.lay(b"events", opaque, None).expect("no payload");
        let listing = Listing::Page {
            cursor: 0,
            count: 10,
            pattern: None,
            type_name: Some(kind.as_bytes().into()),
        };
        let keys = ["events"].into_iter().take(count).collect();
        let listed = Listed::Keys { next: 0, keys };
        overlay.lay_listings(Arc::new(HashMap::from([(listing, listed)])));
        assert_eq!(said(&mut overlay, "PEXPIRE events 1000"), ":1");
        let reply = said(&mut overlay, &format!("SCAN 0 TYPE {kind}"));
        assert_eq!(reply.contains("events"), count == 1, "{kind}: {reply}");
    }
}

const SEED: [&str; 6] = [
    "SET a:1 x",
    "SET a:2 x",
    "HSET a:hash f v",
    "RPUSH b:list x",
    "SET b:1 x",
    "SET c x",
];

#[test]
fn all_keys_are_listed_with_the_writes_of_the_call() {
    let all = "SCAN 0 COUNT 1000";
    for lines in [
        &["KEYS *", "KEYS a:*", "DBSIZE", all][..],
        &["SET a:3 y", "KEYS a:*", "DBSIZE", all],
        &["DEL a:1 nothing", "KEYS a:*", "DBSIZE", all],
        &["SET a:1 y", "DEL a:1", "SET a:1 z", "KEYS *", "DBSIZE", all],
        &[
            "DEL b:list",
            "SET b:list now-text",
            "SCAN 0 COUNT 1000 TYPE list",
            "DBSIZE",
        ],
        &[
            "HSET new f v",
            "SCAN 0 COUNT 1000 TYPE hash",
            "SCAN 0 TYPE hash COUNT 1000 MATCH n*",
        ],
        &[
            "RENAME c d",
            "KEYS ?",
            "DBSIZE",
            "SCAN 0 MATCH [cd] COUNT 1000",
        ],
        &[
            "GET nothing",
            "KEYS nothing",
            "SCAN 0 MATCH nothing COUNT 1000",
        ],
        &[
            "KEYS *",
            "SET a:3 y",
            "KEYS *",
            "DEL a:3",
            "KEYS *",
            "DBSIZE",
        ],
        &["SCAN x", "SCAN 0 COUNT 0", "SCAN 0 TYPE other", "KEYS a:*"],
    ] {
        for gathers in [false, true] {
            let (mut engine, mut direct) = (Client::new(), Client::new());
            for client in [&mut engine, &mut direct] {
                SEED.iter().for_each(|line| drop(client.run(line)));
            }
            let mut transaction = direct.store.begin(0, Mode::Write);
            let (replies, _, _) = settled(&mut engine, lines, gathers);
            for (line, reply) in lines.iter().zip(&replies) {
                let expected = said(&mut transaction, line);
                assert_eq!(sorted(reply), sorted(&expected), "{lines:?}: {line}");
            }
        }
    }
}

#[test]
fn a_key_that_is_gone_since_it_was_listed_is_not_shown() {
    let mut engine = Client::new();
    let mut overlay = empty().begin_overlay(0, Mode::Write, START, false);
    lay(&mut engine, &mut overlay, b"gone", &[]);
    let keys = ["gone", "there"].into_iter().collect();
    let listing = Listing::Matching(b"*"[..].into());
    let listed = Listed::Keys { next: 0, keys };
    overlay.lay_listings(Arc::new(HashMap::from([(listing, listed)])));
    assert_eq!(said(&mut overlay, "KEYS *"), "*1 $5 there");
    assert_eq!(commands(overlay), [""; 0]);
}

#[test]
fn a_scan_goes_on_at_the_engines_cursor() {
    let mut engine = Client::new();
    for number in 0..500 {
        engine.run(&format!("SET key:{number} x"));
    }
    let (mut cursor, mut found, mut steps) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        // Each step is a call of its own.
        let line = format!("SCAN {cursor} COUNT 50");
        let (replies, _, tries) = settled(&mut engine, &[&line], false);
        assert_eq!(tries, 2);
        let mut parts = replies[0]
            .split(' ')
            .filter(|part| !part.starts_with(['*', '$']));
        cursor = parts.next().expect("a cursor").to_owned();
        found.extend(parts.map(str::to_owned));
        steps += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 500);
    assert!((5..=20).contains(&steps), "{steps}");
}

#[test]
fn a_random_key_is_one_that_the_call_sees() {
    let mut engine = Client::new();
    engine.run("SET only x");
    let (replies, _, _) = settled(&mut engine, &["RANDOMKEY", "RANDOMKEY"], false);
    assert_eq!(replies, ["$4 only", "$4 only"]);
    let (replies, _, _) = settled(&mut engine, &["DEL only", "RANDOMKEY"], false);
    assert_eq!(replies[1], "_");
    let (replies, _, _) = settled(&mut engine, &["DEL only", "SET new x", "RANDOMKEY"], false);
    assert_eq!(replies[2], "$3 new");
    engine.run("DEL only");
    let (replies, _, _) = settled(&mut engine, &["RANDOMKEY"], false);
    assert_eq!(replies, ["_"]);
}
