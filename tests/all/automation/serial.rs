//! Random concurrent transactions whose writes triggers note and may refuse, and a check that they have a
//! serial order.
//!
//! Every transaction appends its own number to lists and reads lists. A trigger notes each append in one log, in
//! the transaction that appends. So the log is the serial order of those that append: what a transaction notes
//! stands together, and what it read is what the log had before. One that only reads fits in between. Another
//! trigger refuses some numbers, of which nothing may stay.

use std::sync::atomic::{AtomicUsize, Ordering};

use ferrite_tests::{Client, Reply, Server, encode};

use super::{NOTE, READ_WRITE, define, ok};

const CLIENTS: u64 = 4;
const TRANSACTIONS: usize = 60;
const LISTS: usize = 3;

/// Refuses lists whose last element ends with a 7.
const REFUSE_SEVENS: &str = r#"(module
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "reply_error" (func $reply_error (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "REFUSED it ends with a seven")
  (func (export "run") (local $length i32)
    (local.set $length (call $arg (i32.const 4) (i32.const 100) (i32.const 60000)))
    (if (i32.eq (i32.load8_u (i32.add (local.get $length) (i32.const 97))) (i32.const 55))
      (then (call $reply_error (i32.const 0) (i32.const 28))))))"#;

/// Runs `RPUSH` with its two arguments, and then reads the list by `LRANGE`, which is the reply.
const PUSH: &str = include_str!("push.wat");

/// A transaction that committed.
#[derive(Debug, Default)]
struct Done {
    number: usize,
    started: usize,
    ended: usize,
    /// Lists as read, without the transaction's own element.
    read: Vec<(usize, Vec<usize>)>,
    /// Lists that it appended to, in this order.
    appended: Vec<usize>,
}

fn is_refused(number: usize) -> bool {
    number % 10 == 7
}

fn elements(reply: &Reply) -> Vec<usize> {
    let texts = reply.elements().expect("a list").iter();
    texts
        .map(|one| {
            one.text()
                .and_then(|text| text.parse().ok())
                .expect("a number")
        })
        .collect()
}

impl Done {
    fn note(&mut self, list: usize, reply: &Reply) {
        let mut read = elements(reply);
        // Its own append comes last, as nobody else's can come between.
        if self.appended.contains(&list) {
            assert_eq!(read.pop(), Some(self.number), "{self:?} {reply:?}");
        }
        self.read.push((list, read));
    }

    /// Appends to a list by one command.
    fn plainly(&mut self, client: &mut Client, list: usize) -> Reply {
        self.appended.push(list);
        client.run(&format!("RPUSH list:{list} {}", self.number))
    }

    /// Appends to a list and reads it, by a function.
    fn by_a_call(&mut self, client: &mut Client, list: usize) -> Reply {
        self.appended.push(list);
        let key = format!("list:{list}");
        let reply = client.call(&["WASM.CALL", "push", "ARGS", &key, &self.number.to_string()]);
        if reply.error().is_none() {
            self.note(list, &reply);
        }
        reply
    }

    /// Appends and reads in one `MULTI`, with a call among its commands.
    fn in_a_unit(&mut self, client: &mut Client, random: &mut fastrand::Rng) -> Reply {
        let number = self.number.to_string();
        let mut sent = encode(&["MULTI"]);
        let steps: Vec<(u8, usize)> = (0..random.usize(1..5))
            .map(|_| (random.u8(..5), random.usize(..LISTS)))
            .collect();
        let mut queued = Vec::new();
        for (kind, list) in steps {
            let key = format!("list:{list}");
            let appends = kind < 3;
            if appends && self.appended.contains(&list) {
                continue;
            }
            if appends {
                self.appended.push(list);
            }
            sent.extend(match kind {
                0 | 1 => encode(&["RPUSH", &key, &number]),
                2 => encode(&["WASM.CALL", "push", "ARGS", &key, &number]),
                _ => encode(&["LRANGE", &key, "0", "-1"]),
            });
            let before = self.appended.contains(&list);
            queued.push((kind, list, before));
        }
        sent.extend(encode(&["EXEC"]));
        client.send(&sent);
        for _ in 0..=queued.len() {
            let reply = client.reply();
            assert!(reply.error().is_none(), "{reply:?}");
        }
        let reply = client.reply();
        let Some(replies) = reply.elements() else {
            return reply;
        };
        assert_eq!(replies.len(), queued.len(), "{reply:?}");
        let appended = std::mem::take(&mut self.appended);
        for ((kind, list, before), reply) in queued.iter().zip(replies) {
            if *before {
                self.appended.push(*list);
            }
            if *kind >= 2 {
                self.note(*list, reply);
            }
        }
        self.appended = appended;
        reply
    }
}

/// Runs one transaction; `None` if it was refused, as it had to be.
fn run(
    client: &mut Client,
    clock: &AtomicUsize,
    number: usize,
    random: &mut fastrand::Rng,
) -> Option<Done> {
    let mut done = Done {
        number,
        started: clock.fetch_add(1, Ordering::SeqCst),
        ..Done::default()
    };
    let list = random.usize(..LISTS);
    let reply = match random.u8(..6) {
        0 | 1 => done.plainly(client, list),
        2 | 3 => done.by_a_call(client, list),
        _ => done.in_a_unit(client, random),
    };
    done.ended = clock.fetch_add(1, Ordering::SeqCst);
    let refused = reply.error().is_some();
    assert_eq!(
        refused,
        is_refused(number) && !done.appended.is_empty(),
        "{done:?}: {reply:?}"
    );
    (!refused).then_some(done)
}

/// The notes of the log: the list, and the number that was appended to it. Each note is about the lists as
/// the notes before leave them.
fn notes(client: &mut Client) -> Vec<(usize, usize)> {
    let log = client.run("LRANGE log 0 -1");
    let mut lists = vec![Vec::new(); LISTS];
    let log = log.elements().expect("a list").iter();
    log.map(|note| {
        let note = note.text().expect("text");
        let mut parts = note.split('|');
        let list = parts.next().and_then(|key| key.strip_prefix("list:"));
        let list: usize = list.and_then(|list| list.parse().ok()).expect("a list");
        let value = |text: &str| {
            let lines: Vec<&str> = text.split_terminator("\r\n").skip(1).collect();
            let numbers = lines
                .chunks(2)
                .map(|pair| pair[1].parse().expect("a number"));
            numbers.collect::<Vec<usize>>()
        };
        let parts: Vec<&str> = parts.collect();
        assert_eq!(value(parts[2]), lists[list], "before {note}");
        let after = value(parts[4]);
        let number = *after.last().expect("an element");
        lists[list].push(number);
        assert_eq!(after, lists[list], "after {note}");
        (list, number)
    })
    .collect()
}

/// Checks that there is a serial order: a place in the log for each transaction, in which it reads what is
/// there, and which is not before that of one that had ended when it began.
fn check(mut history: Vec<Done>, log: &[(usize, usize)]) {
    history.sort_by_key(|done| done.started);
    // The time at which each ended, and the first place behind it.
    let mut placed: Vec<(usize, usize)> = Vec::new();
    for done in &history {
        let own: Vec<usize> = (0..log.len())
            .filter(|&at| log[at].1 == done.number)
            .collect();
        let lists: Vec<usize> = own.iter().map(|&at| log[at].0).collect();
        assert_eq!(lists, done.appended, "{done:?} was noted otherwise");
        assert!(
            own.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "{done:?} is torn: {own:?}"
        );
        let (mut least, mut most) = match own.first() {
            Some(&at) => (at, at),
            None => (0, log.len()),
        };
        for (list, read) in &done.read {
            let all = (0..log.len()).filter(|&at| log[at].0 == *list);
            let others: Vec<usize> = all.filter(|&at| log[at].1 != done.number).collect();
            let seen: Vec<usize> = others
                .iter()
                .take(read.len())
                .map(|&at| log[at].1)
                .collect();
            assert_eq!(seen, *read, "{done:?} read what never was");
            if let Some(last) = read.len().checked_sub(1) {
                least = least.max(others[last] + 1);
            }
            if let Some(&next) = others.get(read.len()) {
                most = most.min(next);
            }
        }
        let earlier = placed.iter().filter(|(ended, _)| *ended < done.started);
        let place = earlier.map(|(_, behind)| *behind).fold(least, usize::max);
        assert!(place <= most, "{done:?} has no place: {place} to {most}");
        placed.push((done.ended, own.last().map_or(place, |last| last + 1)));
    }
}

#[test]
fn transactions_with_triggers_have_a_serial_order() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "note", NOTE);
    define(&mut client, "refuse", REFUSE_SEVENS);
    let push = client.call(&["WASM.DEFINE", "push", PUSH, "PERMISSIONS", READ_WRITE]);
    assert!(push.text().is_some(), "{push:?}");
    for line in [
        "WASM.TRIGGER ADD a note KEYS list:* EVENTS rpush BEFORE",
        "WASM.TRIGGER ADD b refuse KEYS list:* EVENTS rpush BEFORE",
    ] {
        assert_eq!(client.run(line), ok());
    }
    let (clock, next) = (AtomicUsize::new(0), AtomicUsize::new(1));
    let history: Vec<Done> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|seed| {
                let (server, clock, next) = (&server, &clock, &next);
                scope.spawn(move || {
                    let mut client = server.client();
                    let mut random = fastrand::Rng::with_seed(seed);
                    let numbers = (0..TRANSACTIONS).map(|_| next.fetch_add(1, Ordering::SeqCst));
                    numbers
                        .filter_map(|number| run(&mut client, clock, number, &mut random))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let done = workers.into_iter().map(|one| one.join().expect("a client"));
        done.flatten().collect()
    });
    let log = notes(&mut client);
    assert!(log.iter().all(|(_, number)| !is_refused(*number)));
    for list in 0..LISTS {
        let found = elements(&client.run(&format!("LRANGE list:{list} 0 -1")));
        let noted = log.iter().filter(|(of, _)| *of == list);
        let noted: Vec<usize> = noted.map(|(_, number)| *number).collect();
        assert_eq!(found, noted, "list:{list}");
    }
    let appended: usize = history.iter().map(|done| done.appended.len()).sum();
    assert_eq!(log.len(), appended);
    check(history, &log);
}

#[test]
#[should_panic(expected = "has no place")]
fn the_check_finds_a_skew() {
    let done = |number: usize, read: usize| Done {
        number,
        ended: usize::MAX,
        read: vec![(read, Vec::new())],
        appended: vec![1 - read],
        ..Done::default()
    };
    // Each saw the list of the other one empty.
    check(vec![done(1, 1), done(2, 0)], &[(0, 1), (1, 2)]);
}

#[test]
#[should_panic(expected = "has no place")]
fn the_check_finds_a_read_of_the_past() {
    let writes = Done {
        number: 1,
        ended: 1,
        appended: vec![0],
        ..Done::default()
    };
    let reads = Done {
        number: 2,
        started: 2,
        ended: 3,
        read: vec![(0, Vec::new())],
        ..Done::default()
    };
    check(vec![writes, reads], &[(0, 1)]);
}
