//! Random concurrent transactions, and a check that their history has a serial order.
//!
//! Every transaction appends its own number to lists, reads lists, adds a key of its own and reads
//! the set of such keys. So its reads show which transactions came before it and which after:
//! the writers of the values it saw, and the writers of those it did not see yet. With the order of
//! the lists and of time these edges must not form a circle. That covers lost updates, write skew,
//! torn reads and phantoms.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrite_protocol::keyspace::{Keyspace as _, Mode, Transaction as _};
use ferrite_protocol::resp::Protocol;
use ferrite_store::{Flow, Session, Store, StoreOptions, Transaction};

use crate::client::{Encoder, at_once};
use crate::transactions::units::known;

const THREADS: u64 = 4;
const LISTS: usize = 3;

/// The reads and writes of one committed transaction.
#[derive(Debug, Default)]
struct Done {
    number: usize,
    started: usize,
    ended: usize,
    /// Lists as read, without the transaction's own entries.
    lists: Vec<(usize, Vec<usize>)>,
    appended: Vec<usize>,
    /// The key set as read; `None` if it was not.
    keys: Option<HashSet<usize>>,
    added_key: bool,
}

/// One step of a transaction.
#[derive(Clone, Copy, Debug)]
enum Step {
    Read(usize),
    Append(usize),
    Keys,
    AddKey,
}

/// Something that runs commands: a transaction, a unit or the store itself.
type Execute<'e> = dyn FnMut(&[&[u8]]) -> Vec<u8> + 'e;

fn numbers(reply: &[u8], prefix: &str) -> Option<Vec<usize>> {
    let text = std::str::from_utf8(reply).ok()?;
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    if text.starts_with('-') {
        return None;
    }
    lines[1..]
        .chunks(2)
        .map(|pair| pair[1].strip_prefix(prefix)?.parse().ok())
        .collect()
}

impl Done {
    /// Runs the steps; `None` if the transaction was lost meanwhile.
    fn run(&mut self, steps: &[Step], execute: &mut Execute<'_>) -> Option<()> {
        let own = self.number.to_string();
        for step in steps {
            match step {
                Step::Read(list) => {
                    let reply =
                        execute(&[b"LRANGE", format!("list:{list}").as_bytes(), b"0", b"-1"]);
                    let mut read = numbers(&reply, "")?;
                    read.retain(|number| *number != self.number);
                    self.lists.push((*list, read));
                }
                Step::Append(list) if !self.appended.contains(list) => {
                    let key = format!("list:{list}");
                    numbers(&execute(&[b"RPUSH", key.as_bytes(), own.as_bytes()]), "")?;
                    self.appended.push(*list);
                }
                Step::Append(_) => {}
                Step::Keys => {
                    let found = numbers(&execute(&[b"KEYS", b"new:*"]), "new:")?;
                    self.keys = Some(found.into_iter().filter(|n| *n != self.number).collect());
                }
                Step::AddKey => {
                    let key = format!("new:{own}");
                    let reply = execute(&[b"SET", key.as_bytes(), b""]);
                    if reply.starts_with(b"-") {
                        return None;
                    }
                    self.added_key = true;
                }
            }
            std::thread::yield_now();
        }
        Some(())
    }
}

fn within(transaction: &mut Transaction, argv: &[&[u8]]) -> Vec<u8> {
    let mut out = Encoder::new(Protocol::Resp2);
    transaction.execute(argv, &|_| true, &mut out);
    out.bytes
}

/// Runs the steps in one of several ways, until they are committed.
fn commit(store: &Store, clock: &AtomicUsize, number: usize, steps: &[Step], way: u8) -> Done {
    let started = clock.fetch_add(1, Ordering::SeqCst);
    loop {
        let mut done = Done {
            number,
            started,
            ..Done::default()
        };
        let committed = match way {
            // A unit, as MULTI runs it.
            0 | 1 => {
                let mut session = Session::new();
                // KEYS locks every shard, and a write among the requests makes them
                // wait for exclusive transactions.
                let requests = known(&[&[b"KEYS", b"*"], &[b"FLUSHALL"]]);
                match store.begin_multi(&mut session, &requests) {
                    Ok(Some(mut unit)) => {
                        let ran = done.run(steps, &mut |argv| {
                            let mut out = Encoder::new(Protocol::Resp2);
                            unit.execute(argv, &mut out);
                            out.bytes
                        });
                        unit.finish();
                        ran.is_some()
                    }
                    Ok(None) => false,
                    Err(retry) => {
                        retry.wait();
                        false
                    }
                }
            }
            // A plain command; `KEYS` outside a transaction is no view of one moment.
            2 | 3 if matches!(steps, [step] if !matches!(step, Step::Keys)) => {
                let mut session = Session::new();
                let mut waited = false;
                let ran = done.run(steps, &mut |argv| loop {
                    let mut out = Encoder::new(Protocol::Resp2);
                    match store.execute(&mut session, argv, &mut out) {
                        Flow::Done => return out.bytes,
                        Flow::Retry(retry) => retry.wait(),
                        Flow::Blocked(_) => waited = true,
                    }
                });
                assert!(!waited);
                ran.is_some()
            }
            4 => {
                // Other exclusive transactions must wait for this one.
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                let begun =
                    std::pin::pin!(store.begin_exclusive(0, Mode::Write)).poll(&mut context);
                match begun {
                    std::task::Poll::Ready(mut transaction) => {
                        let ran = done.run(steps, &mut |argv| within(&mut transaction, argv));
                        assert!(ran.is_some(), "an exclusive transaction was lost");
                        assert!(
                            transaction.commit().is_ok(),
                            "an exclusive transaction conflicted"
                        );
                        true
                    }
                    std::task::Poll::Pending => {
                        std::thread::yield_now();
                        false
                    }
                }
            }
            _ => {
                let writes = |step: &Step| matches!(step, Step::Append(_) | Step::AddKey);
                let mode = if steps.iter().any(writes) {
                    Mode::Write
                } else {
                    Mode::Read
                };
                let mut transaction = store.begin(0, mode);
                done.run(steps, &mut |argv| within(&mut transaction, argv))
                    .is_some()
                    && transaction.commit().is_ok()
            }
        };
        if committed {
            done.ended = clock.fetch_add(1, Ordering::SeqCst);
            return done;
        }
    }
}

fn steps(random: &mut fastrand::Rng) -> Vec<Step> {
    (0..random.usize(1..5))
        .map(|_| match random.u8(..12) {
            0..5 => Step::Read(random.usize(..LISTS)),
            5..9 => Step::Append(random.usize(..LISTS)),
            9 => Step::Keys,
            _ => Step::AddKey,
        })
        .collect()
}

/// The order that the reads and writes require.
struct Graph {
    after: HashMap<usize, HashSet<usize>>,
}

impl Graph {
    /// The edges of a history, given the final content of the lists.
    fn new(history: &[Done], lists: &[Vec<usize>]) -> Self {
        let mut graph = Self {
            after: HashMap::new(),
        };
        for list in lists {
            list.windows(2)
                .for_each(|pair| graph.edge(pair[0], pair[1]));
        }
        let creators: Vec<usize> = history
            .iter()
            .filter(|done| done.added_key)
            .map(|done| done.number)
            .collect();
        for done in history {
            for (list, read) in &done.lists {
                let all: Vec<usize> = lists[*list]
                    .iter()
                    .copied()
                    .filter(|number| *number != done.number)
                    .collect();
                assert!(
                    all.starts_with(read),
                    "{done:?} read what was never there: {all:?}"
                );
                if let Some(last) = read.last() {
                    graph.edge(*last, done.number);
                }
                if let Some(next) = all.get(read.len()) {
                    graph.edge(done.number, *next);
                }
            }
            for creator in done.keys.iter().flat_map(|_| &creators) {
                if *creator != done.number {
                    match done
                        .keys
                        .as_ref()
                        .is_some_and(|keys| keys.contains(creator))
                    {
                        true => graph.edge(*creator, done.number),
                        false => graph.edge(done.number, *creator),
                    }
                }
            }
            for later in history.iter().filter(|later| later.started > done.ended) {
                graph.edge(done.number, later.number);
            }
        }
        graph
    }

    fn edge(&mut self, before: usize, after: usize) {
        self.after.entry(before).or_default().insert(after);
    }

    /// A transaction on a circle; `None` if there is none. Repeatedly removes transactions without
    /// a predecessor.
    fn circle(&self) -> Option<usize> {
        let mut predecessors: HashMap<usize, usize> = HashMap::new();
        for (before, after) in &self.after {
            predecessors.entry(*before).or_default();
            after
                .iter()
                .for_each(|after| *predecessors.entry(*after).or_default() += 1);
        }
        let mut free: Vec<usize> = predecessors
            .iter()
            .filter(|(_, count)| **count == 0)
            .map(|(n, _)| *n)
            .collect();
        while let Some(number) = free.pop() {
            predecessors.remove(&number);
            for after in self.after.get(&number).into_iter().flatten() {
                let count = predecessors.entry(*after).or_default();
                *count -= 1;
                if *count == 0 {
                    free.push(*after);
                }
            }
        }
        predecessors.into_keys().next()
    }
}

#[test]
fn concurrent_histories_have_a_serial_order() {
    for round in 0..6 {
        let store = Store::in_memory(&StoreOptions::default());
        let clock = AtomicUsize::new(0);
        let next = AtomicUsize::new(1);
        let history: Vec<Done> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (store, clock, next) = (&store, &clock, &next);
                    scope.spawn(move || {
                        let mut random = fastrand::Rng::with_seed(round * THREADS + thread);
                        let mut history = Vec::new();
                        for _ in 0..150 {
                            let number = next.fetch_add(1, Ordering::SeqCst);
                            let steps = steps(&mut random);
                            let way = random.u8(..16);
                            history.push(commit(store, clock, number, &steps, way));
                        }
                        history
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| worker.join().expect("a worker"))
                .collect()
        });
        let mut reader = store.begin(0, Mode::Read);
        let lists: Vec<Vec<usize>> = (0..LISTS)
            .map(|list| {
                let key = format!("list:{list}");
                let reply = within(&mut reader, &[b"LRANGE", key.as_bytes(), b"0", b"-1"]);
                numbers(&reply, "").expect("a list")
            })
            .collect();
        assert_eq!(Graph::new(&history, &lists).circle(), None, "round {round}");
        let appended: usize = history.iter().map(|done| done.appended.len()).sum();
        assert_eq!(lists.iter().map(Vec::len).sum::<usize>(), appended);
    }
}

#[test]
fn the_check_finds_write_skew_and_phantoms() {
    let done = |number: usize| Done {
        number,
        ended: usize::MAX,
        ..Done::default()
    };
    // Both saw the other's list empty.
    let skew = [
        Done {
            lists: vec![(1, vec![])],
            appended: vec![0],
            ..done(1)
        },
        Done {
            lists: vec![(0, vec![])],
            appended: vec![1],
            ..done(2)
        },
    ];
    assert!(Graph::new(&skew, &[vec![1], vec![2]]).circle().is_some());
    // Both added a key that the other did not see.
    let nothing = || Some(HashSet::new());
    let phantom = [
        Done {
            keys: nothing(),
            added_key: true,
            ..done(1)
        },
        Done {
            keys: nothing(),
            added_key: true,
            ..done(2)
        },
    ];
    assert!(Graph::new(&phantom, &[]).circle().is_some());
    let fine = [
        Done {
            keys: nothing(),
            added_key: true,
            ..done(1)
        },
        Done {
            keys: Some([1].into()),
            added_key: true,
            ..done(2)
        },
    ];
    assert!(Graph::new(&fine, &[]).circle().is_none());
}

#[test]
fn the_next_exclusive_transaction_waits_for_the_one_before() {
    let store = Store::in_memory(&StoreOptions::default());
    let first = at_once(store.begin_exclusive(0, Mode::Write));
    let mut second = Box::pin(store.begin_exclusive(0, Mode::Write));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(second.as_mut().poll(&mut context).is_pending());
    drop(first);
    assert!(second.as_mut().poll(&mut context).is_ready());
}
