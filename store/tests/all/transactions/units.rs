//! `MULTI` and `WATCH` as the store offers them.

use ferrite_protocol::keyspace::{Keyspace as _, Mode, Transaction as _};
use ferrite_protocol::resp::Protocol;
use ferrite_store::DataCommand;

use crate::client::{Client, Encoder, at_once, readable};

/// Requests with their commands; those that the store does not know are left out.
pub(crate) fn known<'a>(requests: &[&'a [&'a [u8]]]) -> Vec<(DataCommand, &'a [&'a [u8]])> {
    let command = |argv: &&'a [&'a [u8]]| Some((DataCommand::find(argv[0])?, *argv));
    requests.iter().filter_map(command).collect()
}

/// Runs commands as one unit; `None` when a watched key has changed.
pub(crate) fn run(client: &mut Client, commands: &[&str]) -> Option<String> {
    let argvs: Vec<Vec<&[u8]>> = commands
        .iter()
        .map(|line| line.split(' ').map(str::as_bytes).collect())
        .collect();
    let requests: Vec<&[&[u8]]> = argvs.iter().map(Vec::as_slice).collect();
    let begun = client
        .store
        .begin_multi(&mut client.session, &known(&requests));
    let mut unit = begun.expect("no exclusive transaction is in the way")?;
    let mut out = Encoder::new(Protocol::Resp2);
    for argv in &requests {
        unit.execute(argv, &mut out);
    }
    unit.finish();
    Some(readable(&out.bytes))
}

#[test]
fn commands_run_together_and_errors_undo_nothing() {
    let mut client = Client::new();
    let replies = run(
        &mut client,
        &[
            "SET a 1",
            "LPUSH a x",
            "INCR a",
            "DBSIZE",
            "BLPOP b 0",
            "NOPE",
        ],
    );
    let replies = replies.expect("nothing was watched");
    assert!(replies.starts_with("+OK -WRONGTYPE"), "{replies}");
    assert!(
        replies.contains(":2 :1 *-1 -ERR unknown command"),
        "{replies}"
    );
    client.expect(&[("GET a", "$1 2")]);
}

#[test]
fn a_changed_watched_key_stops_the_unit_once() {
    let changes = ["SET a 2", "DEL a", "EXPIRE a 100", "FLUSHALL", "SWAPDB 0 1"];
    for change in changes {
        let mut client = Client::new();
        client.run("SET a 1");
        client.store.watch(&mut client.session, &[b"a", b"absent"]);
        client.another().run(change);
        assert!(client.store.watch_failed(&client.session), "{change}");
        assert_eq!(run(&mut client, &["SET done 1"]), None, "{change}");
        assert_eq!(
            run(&mut client, &["SET done 1"]).as_deref(),
            Some("+OK"),
            "{change}"
        );
    }
}

#[test]
fn what_does_not_change_a_key_does_not_stop_the_unit() {
    for harmless in [
        "GET a",
        "SETNX a 2",
        "DEL other",
        "SADD set m",
        "HDEL a2 f",
        "PERSIST a",
    ] {
        let mut client = Client::new();
        client.run("SET a 1");
        client.run("SADD set m");
        client
            .store
            .watch(&mut client.session, &[b"a", b"set", b"absent"]);
        client.another().run(harmless);
        assert_eq!(
            run(&mut client, &["SET done 1"]).as_deref(),
            Some("+OK"),
            "{harmless}"
        );
    }
}

#[test]
fn a_watched_key_that_expires_counts_as_changed_and_one_that_was_expired_does_not() {
    let mut client = Client::new();
    client.run("SET a 1 PX 10");
    client.store.watch(&mut client.session, &[b"a"]);
    client.advance(11);
    assert_eq!(run(&mut client, &["SET done 1"]), None);
    client.run("SET a 1 PX 10");
    client.advance(11);
    client.store.watch(&mut client.session, &[b"a"]);
    assert_eq!(client.another().run("GET a"), "$-1");
    assert_eq!(run(&mut client, &["SET done 1"]).as_deref(), Some("+OK"));
}

#[test]
fn a_unit_waits_for_an_exclusive_transaction_that_it_would_disturb() {
    let mut client = Client::new();
    let mut exclusive = at_once(client.store.begin_exclusive(0, Mode::Write));
    assert_eq!(exclusive.exists(b"a"), Ok(false));
    let set = known(&[&[b"SET", b"a", b"1"]]);
    assert!(client.store.begin_multi(&mut client.session, &set).is_err());
    assert_eq!(
        run(&mut client, &["GET a", "SET b 1"]).as_deref(),
        Some("$-1 +OK")
    );
    drop(exclusive);
    assert_eq!(run(&mut client, &["SET a 1"]).as_deref(), Some("+OK"));
}
