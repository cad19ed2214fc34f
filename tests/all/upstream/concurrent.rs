//! Several servers in front of one engine, at once: the history of all calls has a serial order.
//!
//! Every call reads keys and appends its own number to some of them, so that what it read shows which
//! calls came before it. With the order of the values and of time these edges must not form a circle.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use ferrite_tests::{Client, Engine, EngineKind, Reply, Server};
use rustix::process::Signal;

use super::{COUNT, before, define, engine, on_each};

pub(super) const MARK: &str = include_str!("guests/mark.wat");
pub(super) const KEYS: usize = 3;

/// A call that was answered.
#[derive(Debug)]
pub(super) struct Done {
    number: usize,
    began: usize,
    ended: usize,
    /// Its reads: keys with the numbers of the calls that had written them.
    read: Vec<(usize, Vec<usize>)>,
    wrote: Vec<usize>,
}

pub(super) fn numbers(text: &[u8]) -> Vec<usize> {
    let text = std::str::from_utf8(text).expect("digits and commas");
    let parts = text.split_terminator(',');
    parts.map(|part| part.parse().expect("a number")).collect()
}

/// Runs calls on keys that begin with `prefix` until `enough` of all were answered.
pub(super) fn call_on(
    connect: &dyn Fn() -> Option<Client>,
    prefix: &str,
    seed: u64,
    clock: &AtomicUsize,
    enough: &AtomicBool,
    history: &Mutex<Vec<Done>>,
) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut client = None;
    while !enough.load(Ordering::SeqCst) {
        let Some(connected) = client.as_mut() else {
            client = connect();
            continue;
        };
        let number = clock.fetch_add(1, Ordering::SeqCst);
        let mut keys: Vec<usize> = (0..KEYS).collect();
        random.shuffle(&mut keys);
        keys.truncate(random.usize(1..=KEYS));
        let mut words = vec!["WASM.CALL".to_owned(), "mark".to_owned(), "KEYS".to_owned()];
        words.extend(keys.iter().map(|key| format!("{prefix}{key}")));
        words.extend(["ARGS".to_owned(), number.to_string()]);
        let mut wrote = Vec::new();
        for key in &keys {
            let writes = random.bool();
            words.push(if writes { "w" } else { "r" }.to_owned());
            if writes {
                wrote.push(*key);
            }
        }
        let bytes = ferrite_tests::encode(&words);
        let reply = match connected.try_send(&bytes) {
            Ok(()) => connected.next(),
            Err(_) => None,
        };
        let Some(reply) = reply else {
            client = None;
            continue;
        };
        let Some(values) = reply.elements() else {
            // Refused, or the outcome is unknown; what it wrote shows in the values.
            continue;
        };
        let read = keys.iter().zip(values).map(|(key, value)| {
            let Reply::Bulk(text) = value else {
                panic!("{value:?}")
            };
            (*key, numbers(text))
        });
        let done = Done {
            number,
            began: number,
            ended: clock.fetch_add(1, Ordering::SeqCst),
            read: read.collect(),
            wrote,
        };
        history.lock().expect("no panic").push(done);
    }
}

/// Checks that the history has a serial order that ends with these values.
pub(super) fn check(history: &[Done], last: &[Vec<usize>]) {
    for (key, order) in last.iter().enumerate() {
        let distinct: HashSet<_> = order.iter().collect();
        assert_eq!(
            distinct.len(),
            order.len(),
            "key {key}: a call took effect twice: {order:?}"
        );
    }
    let mut edges: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut add = |from: usize, to: usize| {
        if from != to {
            edges.entry(from).or_default().push(to);
        }
    };
    for order in last {
        for pair in order.windows(2) {
            add(pair[0], pair[1]);
        }
    }
    for done in history {
        for key in &done.wrote {
            assert!(
                last[*key].contains(&done.number),
                "a write of {} is lost",
                done.number
            );
        }
        for (key, read) in &done.read {
            let order = &last[*key];
            assert!(
                order.starts_with(read),
                "{} read what never was: {read:?}",
                done.number
            );
            if let Some(writer) = read.last() {
                add(*writer, done.number);
            }
            if let Some(next) = order.get(read.len()) {
                add(done.number, *next);
            }
        }
    }
    // The order of time, by way of the moments between.
    let mut moments: Vec<(usize, usize, bool)> = history
        .iter()
        .flat_map(|done| {
            [
                (done.began, done.number, true),
                (done.ended, done.number, false),
            ]
        })
        .collect();
    moments.sort_unstable();
    const MOMENT: usize = usize::MAX / 2;
    let mut previous = None;
    for (at, number, begins) in moments {
        if begins {
            if let Some(moment) = previous {
                add(moment, number);
            }
        } else {
            add(number, MOMENT + at);
            if let Some(moment) = previous {
                add(moment, MOMENT + at);
            }
            previous = Some(MOMENT + at);
        }
    }
    let mut incoming: HashMap<usize, usize> = HashMap::new();
    for (from, to) in &edges {
        incoming.entry(*from).or_default();
        for to in to {
            *incoming.entry(*to).or_default() += 1;
        }
    }
    let mut free: Vec<usize> = incoming
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(node, _)| *node)
        .collect();
    let mut ordered = 0;
    while let Some(node) = free.pop() {
        ordered += 1;
        for to in edges.get(&node).into_iter().flatten() {
            let count = incoming.get_mut(to).expect("it has an edge");
            *count -= 1;
            if *count == 0 {
                free.push(*to);
            }
        }
    }
    assert_eq!(
        ordered,
        incoming.len(),
        "the history has a circle: {history:#?}"
    );
}

pub(super) fn last(engine: &Engine) -> Vec<Vec<usize>> {
    let mut direct = engine.client();
    (0..KEYS)
        .map(|key| match direct.run(&format!("GET key:{key}")) {
            Reply::Bulk(text) => numbers(&text),
            _ => Vec::new(),
        })
        .collect()
}

/// Starts servers in front of an engine that all have the function.
fn servers(engine: &Engine, count: usize, name: &str, source: &str) -> Vec<Server> {
    let servers: Vec<Server> = (0..count).map(|_| before(engine).start()).collect();
    for server in &servers {
        define(&mut server.client(), name, source);
    }
    servers
}

#[test]
fn the_calls_of_two_servers_have_a_serial_order() {
    calls_have_a_serial_order(2);
}

#[test]
fn the_calls_of_four_servers_have_a_serial_order() {
    calls_have_a_serial_order(4);
}

fn calls_have_a_serial_order(count: usize) {
    const CALLS: usize = 500;
    on_each(|kind| {
        let engine = engine(kind);
        let servers = servers(&engine, count, "mark", MARK);
        let (clock, enough) = (AtomicUsize::new(1), AtomicBool::new(false));
        let history = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for seed in 0..8_u64 {
                let (clock, enough, history, servers) = (&clock, &enough, &history, &servers);
                scope.spawn(move || {
                    let server = &servers[seed as usize % servers.len()];
                    call_on(
                        &|| Some(server.client()),
                        "key:",
                        seed,
                        clock,
                        enough,
                        history,
                    );
                });
            }
            while history.lock().expect("no panic").len() < CALLS {
                std::thread::yield_now();
            }
            enough.store(true, Ordering::SeqCst);
        });
        check(&history.into_inner().expect("no panic"), &last(&engine));
    });
}

#[test]
fn nothing_is_half_done_or_done_twice_when_servers_are_killed() {
    const KILLS: usize = 6;
    for kind in EngineKind::unmodified_here() {
        let engine = engine(kind);
        let first = before(&engine).start();
        define(&mut first.client(), "mark", MARK);
        let killed = Mutex::new(Some(first));
        let (clock, enough) = (AtomicUsize::new(1), AtomicBool::new(false));
        let history = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for seed in 0..4_u64 {
                let (clock, enough, history, killed) = (&clock, &enough, &history, &killed);
                scope.spawn(move || {
                    let connect = || {
                        let server = killed.lock().expect("no panic");
                        let address = server.as_ref()?.address();
                        drop(server);
                        Client::try_connect(address).ok()
                    };
                    call_on(&connect, "key:", seed, clock, enough, history);
                });
            }
            let mut done = 0;
            for _ in 0..KILLS {
                done += 40;
                while history.lock().expect("no panic").len() < done {
                    std::thread::yield_now();
                }
                let server = killed.lock().expect("no panic").take().expect("it runs");
                server.signal(Signal::KILL);
                drop(server);
                done = history.lock().expect("no panic").len();
                let server = before(&engine).start();
                define(&mut server.client(), "mark", MARK);
                *killed.lock().expect("no panic") = Some(server);
            }
            enough.store(true, Ordering::SeqCst);
        });
        check(&history.into_inner().expect("no panic"), &last(&engine));
    }
}

#[test]
fn nothing_is_half_done_or_done_twice_when_the_engine_is_killed() {
    const KILLS: usize = 3;
    on_each(|kind| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let durable = || {
            let builder = kind.builder().unmodified().dir(dir.path());
            builder.arguments(&["--appendonly", "yes", "--appendfsync", "always"])
        };
        let mut engine = durable().start();
        let port = engine.port();
        let servers = servers(&engine, 2, "mark", MARK);
        let (clock, enough) = (AtomicUsize::new(1), AtomicBool::new(false));
        let history = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for seed in 0..4_u64 {
                let (clock, enough, history, servers) = (&clock, &enough, &history, &servers);
                scope.spawn(move || {
                    let server = &servers[seed as usize % servers.len()];
                    let connect = || Client::try_connect(server.address()).ok();
                    call_on(&connect, "key:", seed, clock, enough, history);
                });
            }
            for _ in 0..KILLS {
                let done = history.lock().expect("no panic").len();
                while history.lock().expect("no panic").len() < done + 40 {
                    std::thread::yield_now();
                }
                engine.kill();
                engine = durable().port(port).start();
            }
            let done = history.lock().expect("no panic").len();
            while history.lock().expect("no panic").len() < done + 40 {
                std::thread::yield_now();
            }
            enough.store(true, Ordering::SeqCst);
        });
        check(&history.into_inner().expect("no panic"), &last(&engine));
    });
}

#[test]
fn connections_that_break_in_the_middle_of_a_commit_do_nothing_twice() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        define(&mut server.client(), "count", COUNT);
        let done = AtomicBool::new(false);
        let (counted, unknown) = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut counted, mut unknown) = (0, 0);
                        let mut client = server.client();
                        for _ in 0..300 {
                            let bytes = ferrite_tests::encode(&["WASM.CALL", "count", "KEYS", "n"]);
                            let reply = match client.try_send(&bytes) {
                                Ok(()) => client.next(),
                                Err(_) => None,
                            };
                            match reply {
                                Some(Reply::Int(_)) => counted += 1,
                                // The last is of a call whose time ended between two breaks.
                                Some(Reply::Error(error))
                                    if error.contains("nothing of the call was kept")
                                        || error.contains("nothing of it was kept") => {}
                                other => {
                                    // The client's own connection to the engine was killed.
                                    assert!(other.is_none(), "{other:?}");
                                    unknown += 1;
                                    client = server.client();
                                }
                            }
                        }
                        (counted, unknown)
                    })
                })
                .collect();
            let killing = scope.spawn(|| {
                let mut direct = engine.client();
                while !done.load(Ordering::SeqCst) {
                    direct.run("CLIENT KILL TYPE normal SKIPME yes");
                    // The connections of calls carry something again.
                    for _ in 0..20 {
                        direct.run("GET n");
                    }
                }
            });
            let sums: Vec<_> = callers.into_iter().map(ScopedJoinHandle::join).collect();
            // First, so that a caller's failure ends the test.
            done.store(true, Ordering::SeqCst);
            killing.join().expect("no failure");
            sums.into_iter().fold((0, 0), |(counted, unknown), sum| {
                let (more, lost) = sum.expect("no failure");
                (counted + more, unknown + lost)
            })
        });
        let total = engine.client().run("GET n");
        let total: i64 = total
            .text()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        // A call whose client lost its connection may have taken effect, each at most once.
        assert!(
            (counted..=counted + unknown).contains(&total),
            "{kind:?}: {total} is not in {counted}..={}",
            counted + unknown
        );
    });
}
