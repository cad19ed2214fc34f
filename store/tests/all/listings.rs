//! Commands on all keys in an overlay, against the same commands in a transaction on the data itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ferrite_protocol::keyspace::{Keyspace as _, Mode};
use ferrite_store::{Listed, Listing, Missing, Transaction};

use crate::client::{Client, START, readable};
use crate::overlay::{commands, empty, lay, said, sorted};
use crate::savepoints::elements;

/// Answers a question as an engine does, by commands.
fn answer(engine: &mut Client, listing: &Listing) -> Listed {
    let boxed = |words: Vec<Vec<u8>>| words.into_iter().map(Vec::into_boxed_slice).collect();
    match listing {
        Listing::Matching(pattern) => Listed::Keys {
            next: 0,
            keys: boxed(elements(&engine.raw(&[b"KEYS", pattern]))),
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
                keys: boxed(found),
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
    let mut keys: BTreeSet<Box<[u8]>> = BTreeSet::new();
    let mut listings = HashMap::new();
    for tries in 1.. {
        let mut overlay = empty().begin_overlay(0, Mode::Write, START, gathers);
        for key in &keys {
            lay(engine, &mut overlay, key, &[]);
        }
        overlay.lay_listings(Arc::new(listings.clone()));
        let replies = lines.iter().map(|line| said(&mut overlay, line)).collect();
        let missing = overlay.missing().to_vec();
        if missing.is_empty() {
            return (replies, overlay, tries);
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
    let keys = [&b"gone"[..], b"there"].map(Box::from).to_vec();
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
