//! Every command with its worst arguments: what it charges, against what it does.
//!
//! The table has to name each command of the store, so a new one cannot be forgotten. Its steps are
//! counted where values are read and changed, beside what the command charges.

use std::cell::Cell;
use std::collections::BTreeSet;

use ferrite_protocol::budget::{self, Bounds, Budget, Exceeded};
use ferrite_protocol::keyspace::{Keyspace as _, Mode, Transaction as _};
use ferrite_protocol::resp::{Encoder, Protocol};

use crate::api::session::Session;
use crate::api::store::Store;
use crate::commands::cost_requests::requests;
use crate::commands::table;
use crate::execution::direct::Direct;
use crate::execution::shard_locks::LockedShards;
use crate::execution::view::View as _;
use crate::options::StoreOptions;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::list::List;
use crate::value::steps;
use crate::value::zset::Zset;
use crate::value::{Hash, Set, Value};

/// Elements of the large collections.
const LEN: usize = 8_000;
/// Bytes of the long string.
const TEXT_BYTES: usize = 4 << 20;

fn name(at: usize) -> Vec<u8> {
    format!("element:{at}").into_bytes()
}

/// A member that agrees with the others of its kind for a long way.
fn alike(at: usize) -> Vec<u8> {
    let mut member = vec![b'a'; 300];
    member.extend(at.to_be_bytes());
    member
}

/// Keys of every type with much in them, and many small keys.
fn data() -> Store {
    let store = Store::in_memory(&StoreOptions::default());
    let list = |elements: &mut dyn Iterator<Item = Vec<u8>>| -> List {
        elements.map(|element| Blob::new(&element)).collect()
    };
    let set = |from: usize| {
        let mut set = Set::default();
        for at in from..from + LEN {
            set.insert(&name(at), ());
        }
        set
    };
    let zset = |from: usize| {
        let mut zset = Zset::default();
        for at in from..from + LEN {
            zset.insert(&name(at), at as f64 + 0.1);
        }
        zset
    };
    let mut hash = Hash::default();
    for at in 0..LEN {
        hash.insert(&name(at), Blob::new(&name(at)));
    }
    hash.insert(b"#field", Blob::new(&[b'v'; 20_000]));
    let mut equal = Zset::default();
    for at in 0..2_000 {
        equal.insert(&alike(at), 0.0);
    }
    let mut one = Set::default();
    one.insert(&[b'm'; 200], ());
    let mut wideset = Set::default();
    wideset.insert(&[b'a'; 200], ());
    let mut grown = crate::value::text::Text::default();
    grown.bytes_mut().resize(TEXT_BYTES, b'g');
    let values: [(&str, Value); 17] = [
        ("#text", Value::text(&vec![b'a'; TEXT_BYTES])),
        ("#words", Value::text(&b"ab".repeat(1_000))),
        ("#zeros", Value::text(&vec![0; TEXT_BYTES])),
        ("#grown", grown.into()),
        ("#list", list(&mut (0..LEN).map(name)).into()),
        (
            "#wide",
            list(&mut (0..500).map(|_| vec![b'a'; 20_000])).into(),
        ),
        ("#same", list(&mut (0..LEN).map(|_| b"x".to_vec())).into()),
        ("#set", set(0).into()),
        ("#set2", set(LEN / 2).into()),
        ("#wideset", wideset.into()),
        ("#one", one.into()),
        ("#zset", zset(0).into()),
        ("#zset2", zset(LEN / 2).into()),
        ("#equal", equal.into()),
        ("#hash", hash.into()),
        ("k:x", Value::text(&vec![b'k'; 10_000])),
        ("aaaab", Value::text(b"")),
    ];
    let mut direct = Direct::new(&store.core, LockedShards::all(&store.core), 0);
    for (key, value) in values {
        direct
            .put(key.as_bytes(), value, Deadline::NEVER)
            .expect("all shards are locked");
    }
    for at in 0..LEN {
        direct
            .put(&name(at), Value::text(b"v"), Deadline::NEVER)
            .expect("all shards are locked");
    }
    direct.finish();
    store
}

struct Ran {
    result: Result<(), Exceeded>,
    /// Units that the command charged, and those for its name and arguments.
    charged: u64,
    written: u64,
    steps: u64,
    reply: Vec<u8>,
    transaction: crate::transaction::Transaction,
}

fn run(store: &Store, argv: &[Vec<u8>], bounds: Bounds, must_stop: &dyn Fn() -> bool) -> Ran {
    let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    let mut transaction = store.begin(0, Mode::Write);
    let mut reply = Encoder::new(Protocol::Resp2);
    let budget = Budget::new(bounds, must_stop);
    steps::take();
    let result = transaction.call(&argv, &|_| true, &budget, &mut reply);
    let steps = steps::take();
    let argument_bytes: usize = argv.iter().map(|argument| argument.len()).sum();
    Ran {
        result,
        charged: budget.work()
            + budget::COMMAND
            + 20 * argv.len() as u64
            + budget::bytes(argument_bytes as u64),
        written: budget.written() + argument_bytes as u64,
        steps,
        reply: reply.take(),
        transaction,
    }
}

/// Bytes of all keys and values of two databases.
fn bytes_of(store: &Store) -> u64 {
    let mut bytes = 0;
    let mut direct = Direct::new(&store.core, LockedShards::all(&store.core), 0);
    for database in 0..2 {
        direct.select(database);
        let mut add = |key: &Blob, value: &Value| {
            bytes += key.len() as u64;
            let summed: Result<(), ()> = value.each_part(|len| {
                bytes += len as u64;
                Ok(())
            });
            assert_eq!(summed, Ok(()));
        };
        direct
            .scan(0, usize::MAX, &mut add)
            .expect("all shards are locked");
    }
    bytes
}

const BOUNDS: Bounds = Bounds {
    work_max: 50_000_000,
    written_bytes_max: 10_000,
    reply_bytes_max: 100_000,
};

#[test]
fn the_table_has_every_command_and_no_other() {
    let known: BTreeSet<&str> = table::specs().map(|spec| spec.name).collect();
    let requests = requests();
    let listed: BTreeSet<&str> = requests
        .iter()
        .filter_map(|(line, _)| line.split_whitespace().next())
        .collect();
    assert_eq!(
        listed, known,
        "give each command a request with its worst arguments"
    );
}

#[test]
fn no_command_does_more_than_it_charges_for() {
    let store = data();
    for (line, argv) in requests() {
        let ran = run(&store, &argv, BOUNDS, &|| false);
        assert!(
            ran.steps <= ran.charged,
            "{line}: {} steps for {} units",
            ran.steps,
            ran.charged
        );
        assert!(ran.reply.len() <= BOUNDS.reply_bytes_max + 100, "{line}");
        assert!(
            ran.reply.len() as u64 <= 8 * ran.charged,
            "{line}: {} bytes for {} units",
            ran.reply.len(),
            ran.charged
        );
        assert_eq!(ran.result.is_err(), ran.reply.is_empty(), "{line}");
    }
}

#[test]
fn every_command_soon_notices_that_its_call_is_to_end() {
    /// Steps between two checks: a slice, and one piece of work that is paid at once.
    const STEPS_MAX: u64 = 2 * budget::SLICE;
    let store = data();
    let mut noticed = 0;
    for (line, argv) in requests() {
        let asked = Cell::new(0_u32);
        let must_stop = || {
            asked.set(asked.get() + 1);
            true
        };
        let ran = run(&store, &argv, BOUNDS, &must_stop);
        let stopped = ran.result == Err(Exceeded::Stopped);
        assert_eq!(stopped, asked.get() > 0, "{line}");
        assert!(asked.get() <= 1, "{line}: it went on");
        assert!(ran.steps <= STEPS_MAX, "{line}: {} steps", ran.steps);
        noticed += u32::from(stopped);
    }
    assert!(noticed > 40, "only {noticed} requests were long enough");
}

#[test]
fn no_command_writes_more_than_it_counts() {
    let mut store = data();
    let mut before = bytes_of(&store);
    for (line, argv) in requests() {
        let ran = run(&store, &argv, BOUNDS, &|| false);
        match ran.result {
            Ok(()) => {
                let _receipt = ran.transaction.commit().expect("nobody else writes");
                let after = bytes_of(&store);
                // A score takes eight bytes, however short its text is.
                let scores = 8 * argv.len() as u64;
                assert!(
                    after.saturating_sub(before) <= ran.written + scores,
                    "{line}: {} bytes more, {} counted",
                    after.saturating_sub(before),
                    ran.written
                );
                if after < before {
                    // What is gone would be missed by the next requests.
                    store = data();
                    before = bytes_of(&store);
                } else {
                    let mut out = Encoder::new(Protocol::Resp2);
                    let new: &[&[u8]] = &[b"DEL", b"new"];
                    let _ = store.execute(&mut Session::new(), new, &mut out);
                    before = bytes_of(&store);
                }
            }
            Err(_) => drop(ran.transaction),
        }
    }
}
