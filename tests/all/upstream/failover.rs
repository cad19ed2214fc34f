//! Sums over failovers in the middle of calls: what was acknowledged and replicated is there, and nothing twice.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use ferrite_tests::{Client, Engine, EngineKind, Reply, Server, encode};

use super::sentinel::{before as before_sentinel, group};
use super::{COUNT, cluster, define, on_each};
use crate::engines::{info, until};

/// Clients that call.
const CALLERS: usize = 4;

/// The outcomes of calls.
#[derive(Debug, Default)]
struct Outcomes {
    /// Acknowledged.
    counted: AtomicI64,
    /// Without an answer that says what became of them.
    unknown: AtomicI64,
}

impl Outcomes {
    fn acknowledged(&self) -> i64 {
        self.counted.load(Ordering::SeqCst)
    }

    /// Waits until so many more calls were acknowledged.
    fn wait_for(&self, more: i64) {
        let enough = self.acknowledged() + more;
        while self.acknowledged() < enough {
            std::thread::yield_now();
        }
    }

    /// Checks a sum: each acknowledged call counts once, and the others at most once.
    fn check(&self, kind: EngineKind, sum: i64) {
        let (counted, unknown) = (self.acknowledged(), self.unknown.load(Ordering::SeqCst));
        assert!(
            (counted..=counted + unknown).contains(&sum),
            "{kind:?}: {sum} is not in {counted}..={}",
            counted + unknown
        );
    }
}

/// Counts at a key until `done`.
fn count_on(server: &Server, key: &str, done: &AtomicBool, outcomes: &Outcomes) {
    let connect = || Client::try_connect(server.address()).ok();
    let mut client = connect();
    while !done.load(Ordering::SeqCst) {
        let Some(connected) = client.as_mut() else {
            client = connect();
            continue;
        };
        let call = encode(&["WASM.CALL", "count", "TIMEOUT", "30000", "KEYS", key]);
        let reply = match connected.try_send(&call) {
            Ok(()) => connected.next(),
            Err(_) => None,
        };
        match reply {
            Some(Reply::Int(_)) => drop(outcomes.counted.fetch_add(1, Ordering::SeqCst)),
            Some(Reply::Error(error)) if error.contains("may have taken effect") => {
                outcomes.unknown.fetch_add(1, Ordering::SeqCst);
            }
            Some(Reply::Error(_)) => {}
            // The engine has closed the client's own connection.
            other => {
                assert!(other.is_none(), "{other:?}");
                outcomes.unknown.fetch_add(1, Ordering::SeqCst);
                client = None;
            }
        }
    }
}

/// Calls on all servers while `disturb` runs.
fn while_counting(servers: &[Server], key: &str, disturb: impl FnOnce(&Outcomes)) -> Outcomes {
    let (done, outcomes) = (AtomicBool::new(false), Outcomes::default());
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (done, outcomes) = (&done, &outcomes);
            let server = &servers[caller % servers.len()];
            scope.spawn(move || count_on(server, key, done, outcomes));
        }
        disturb(&outcomes);
        done.store(true, Ordering::SeqCst);
    });
    outcomes
}

/// Kills a primary at a moment at which its replica has everything that it has acknowledged.
fn kill_when_replicated(primary: &mut Engine, replica: &Engine) {
    let mut direct = primary.client();
    let paused = direct.run("CLIENT PAUSE 60000 WRITE");
    assert_eq!(paused.error(), None);
    let mut other = replica.client();
    loop {
        let written = info(&mut direct, "replication", "master_repl_offset");
        if info(&mut other, "replication", "slave_repl_offset") == written {
            break;
        }
    }
    primary.kill();
}

fn is_primary(engine: &Engine) -> bool {
    // It closes its connections when its role changes.
    let Ok(mut client) = Client::try_connect(engine.address()) else {
        return false;
    };
    client.send(&encode(&["ROLE"]));
    let role = client.next();
    let name = role.as_ref().and_then(Reply::elements);
    name.and_then(|parts| parts[0].text()) == Some("master")
}

/// Makes a replica take the place of its primary, which holds writes up until the replica has them all. The
/// engine gives an attempt up that does not succeed within some seconds.
fn take_over(replica: &Engine) {
    const AGAIN: Duration = Duration::from_secs(7);
    let ask = || {
        until(&mut replica.client(), &["CLUSTER", "FAILOVER"], |reply| {
            reply.error().is_none()
        });
        Instant::now()
    };
    let mut asked = ask();
    while !is_primary(replica) {
        if asked.elapsed() > AGAIN {
            asked = ask();
        }
    }
}

#[test]
fn failovers_of_a_cluster_lose_no_acknowledged_call_and_do_none_twice() {
    const ROUNDS: usize = 2;
    on_each(|kind| {
        let mut nodes = cluster::nodes(kind, true);
        let servers = [
            cluster::before(&nodes).start(),
            cluster::before(&nodes).start(),
        ];
        for server in &servers {
            define(&mut server.client(), "count", COUNT);
        }
        let mut primary = cluster::owner(&nodes, "a");
        let mut replica = primary + cluster::PRIMARIES;
        let outcomes = while_counting(&servers, "a", |outcomes| {
            for _ in 0..ROUNDS {
                outcomes.wait_for(40);
                take_over(&nodes[replica]);
                std::mem::swap(&mut primary, &mut replica);
                let link = |engine: &Engine| {
                    info(&mut engine.client(), "replication", "master_link_status")
                };
                while is_primary(&nodes[replica]) || link(&nodes[replica]) != "up" {
                    std::thread::yield_now();
                }
            }
            outcomes.wait_for(40);
            let (before, after) = nodes.split_at_mut(primary.max(replica));
            let (failing, following) = match primary < replica {
                true => (&mut before[primary], &after[0]),
                false => (&mut after[0], &before[replica]),
            };
            kill_when_replicated(failing, following);
            outcomes.wait_for(40);
        });
        outcomes.check(kind, cluster::number(&nodes, "a"));
    });
}

#[test]
fn a_failover_with_sentinels_loses_no_acknowledged_call_and_does_none_twice() {
    on_each(|kind| {
        let (mut primary, replica, sentinel) = group(kind);
        let servers = [
            before_sentinel(&sentinel, "the-primary").start(),
            before_sentinel(&sentinel, "the-primary").start(),
        ];
        for server in &servers {
            define(&mut server.client(), "count", COUNT);
        }
        let outcomes = while_counting(&servers, "k", |outcomes| {
            outcomes.wait_for(40);
            kill_when_replicated(&mut primary, &replica);
            outcomes.wait_for(40);
        });
        let sum = replica.client().run("GET k");
        let sum = sum.text().and_then(|text| text.parse().ok());
        outcomes.check(kind, sum.expect("a number"));
    });
}
