//! Edits of long strings and lists against a model, with the data read back from disk in between.

use ferrite_protocol::keyspace::{Keyspace as _, Mode, Transaction as _};
use ferrite_protocol::resp::Protocol;
use ferrite_store::{Durability, Transaction};

use crate::client::{Client, Encoder};
use crate::durability::{open, reopen};

/// A request, and the same change of the model.
type Change<M> = (Vec<Vec<u8>>, Box<dyn Fn(&mut M)>);

fn request(words: &[&dyn ToString]) -> Vec<Vec<u8>> {
    words
        .iter()
        .map(|word| word.to_string().into_bytes())
        .collect()
}

fn list_change(random: &mut fastrand::Rng, list: &[String]) -> Change<Vec<String>> {
    let len = list.len();
    let at = random.usize(..len);
    let new = "x".repeat(random.usize(..40)) + &random.u32(..50).to_string();
    let element = new.clone();
    match random.u32(..12) {
        0..=3 => {
            let pivot = list[at].clone();
            // The first that equals it.
            let at = list.iter().position(|other| *other == pivot).unwrap_or(at);
            let after = random.bool();
            let side = if after { "AFTER" } else { "BEFORE" };
            (
                request(&[&"LINSERT", &"key", &side, &pivot, &new]),
                Box::new(move |list| list.insert(at + usize::from(after), element.clone())),
            )
        }
        4..=5 => {
            let gone = list[at].clone();
            (
                request(&[&"LREM", &"key", &1, &gone]),
                Box::new(move |list| {
                    let at = list.iter().position(|other| *other == gone);
                    at.map(|at| list.remove(at));
                }),
            )
        }
        6 => {
            let gone = list[at].clone();
            (
                request(&[&"LREM", &"key", &0, &gone]),
                Box::new(move |list| list.retain(|other| *other != gone)),
            )
        }
        7 => (
            request(&[&"LSET", &"key", &at, &new]),
            Box::new(move |list| list[at] = element.clone()),
        ),
        8 => (
            request(&[&"LPUSH", &"key", &new]),
            Box::new(move |list| list.insert(0, element.clone())),
        ),
        9 => (
            request(&[&"RPUSH", &"key", &new]),
            Box::new(move |list| list.push(element.clone())),
        ),
        10 if random.u32(..30) == 0 => {
            let (start, stop) = (random.usize(..len / 2), len / 2 + random.usize(..len / 2));
            (
                request(&[&"LTRIM", &"key", &start, &stop]),
                Box::new(move |list| *list = list[start..=stop].to_vec()),
            )
        }
        _ => (
            request(&[&"LPOP", &"key"]),
            Box::new(|list| {
                list.remove(0);
            }),
        ),
    }
}

fn text_change(random: &mut fastrand::Rng, text: &[u8]) -> Change<Vec<u8>> {
    let len = text.len();
    let patch: String = "y".repeat(random.usize(1..3_000));
    let bytes = patch.clone().into_bytes();
    let offset = random.usize(..len + 50);
    let set = move |text: &mut Vec<u8>, at: usize, bytes: &[u8]| {
        text.resize(text.len().max(at + bytes.len()), 0);
        text[at..at + bytes.len()].copy_from_slice(bytes);
    };
    match random.u32(..10) {
        0..=3 => (
            request(&[&"APPEND", &"key", &patch]),
            Box::new(move |text| text.extend_from_slice(&bytes)),
        ),
        4..=5 => (
            request(&[&"SETRANGE", &"key", &offset, &patch]),
            Box::new(move |text| set(text, offset, &bytes)),
        ),
        6..=7 => (
            request(&[&"SETBIT", &"key", &(offset * 8 + 3), &1]),
            Box::new(move |text| {
                let old = text.get(offset).copied().unwrap_or(0);
                set(text, offset, &[old | 0x10]);
            }),
        ),
        8 => {
            let mut words = request(&[&"BITFIELD", &"key"]);
            let (first, second) = (offset / 2, offset);
            for at in [first, second] {
                words.extend(request(&[&"SET", &"u8", &(at * 8), &b'z']));
            }
            (
                words,
                Box::new(move |text| {
                    set(text, first, b"z");
                    set(text, second, b"z");
                }),
            )
        }
        _ => (
            request(&[&"PEXPIRE", &"key", &"100000000"]),
            Box::new(|_| {}),
        ),
    }
}

fn borrowed(argv: &[Vec<u8>]) -> Vec<&[u8]> {
    argv.iter().map(Vec::as_slice).collect()
}

fn run(transaction: &mut Transaction, argv: &[Vec<u8>]) {
    let mut out = Encoder::new(Protocol::Resp2);
    transaction.execute(&borrowed(argv), &|_| true, &mut out);
    assert_ne!(out.bytes.first(), Some(&b'-'), "{:?}", out.bytes);
}

/// Makes random changes as plain commands and in transactions, and compares after each restart.
fn compare<M: Clone + PartialEq>(
    seed: u64,
    first: &[Vec<u8>],
    mut model: M,
    change: impl Fn(&mut fastrand::Rng, &M) -> Change<M>,
    read: impl Fn(&mut Client) -> M,
) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut client = open(directory.path(), Durability::No).expect("an empty directory");
    client.raw(&borrowed(first));
    for round in 0..12 {
        for _ in 0..40 {
            if random.u32(..4) > 0 {
                let (argv, edit) = change(&mut random, &model);
                let reply = client.raw(&borrowed(&argv));
                assert_ne!(reply.first(), Some(&b'-'), "{argv:?}");
                edit(&mut model);
                continue;
            }
            let before = model.clone();
            let mut transaction = client.store.begin(0, Mode::Write);
            for _ in 0..random.u32(1..5) {
                let (argv, edit) = change(&mut random, &model);
                run(&mut transaction, &argv);
                edit(&mut model);
            }
            if random.u32(..4) > 0 {
                let _receipt = transaction.commit().expect("nobody else writes");
            } else {
                model = before;
            }
        }
        if random.u32(..5) == 0 {
            // Another copy, of which changes must be independent.
            client.expect(&[
                ("COPY key other", ":1"),
                ("DEL key", ":1"),
                ("RENAME other key", "+OK"),
            ]);
        }
        assert!(
            read(&mut client) == model,
            "seed {seed}, round {round}, in memory"
        );
        client = reopen(client, directory.path());
        assert!(
            read(&mut client) == model,
            "seed {seed}, round {round}, from disk"
        );
    }
}

#[test]
fn lists_that_are_edited_in_the_middle_come_back_from_disk() {
    for seed in 0..6 {
        let len = if seed % 2 == 0 { 300 } else { 3_000 };
        let model: Vec<String> = (0..len).map(|i| (i % 700).to_string()).collect();
        let mut first = request(&[&"RPUSH", &"key"]);
        first.extend(model.iter().map(|element| element.clone().into_bytes()));
        compare(
            seed,
            &first,
            model,
            |random, list| list_change(random, list),
            |client| {
                let reply = client.raw(&[b"LRANGE", b"key", b"0", b"-1"]);
                let reply = String::from_utf8(reply).expect("text");
                reply
                    .lines()
                    .skip(2)
                    .step_by(2)
                    .map(str::to_owned)
                    .collect()
            },
        );
    }
}

#[test]
fn strings_that_are_edited_come_back_from_disk() {
    for seed in 0..6 {
        let len = [0, 1_000, 4_000, 200_000][seed as usize % 4];
        let model = vec![b'a'; len];
        compare(
            seed,
            &[b"SET".to_vec(), b"key".to_vec(), model.clone()],
            model,
            |random, text| text_change(random, text),
            |client| {
                let reply = client.raw(&[b"GET", b"key"]);
                let start = reply
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
                reply[start..reply.len() - 2].to_vec()
            },
        );
    }
}
