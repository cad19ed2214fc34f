//! The events of commands are those of Valkey, in the same order.

use std::sync::{Arc, Mutex};

use ferrite_protocol::resp::Protocol;
use ferrite_store::{KeyEvent, Observer};

use super::generate::Generator;
use super::ours::Ours;
use super::reply::Reply;
use super::{HISTORY, Pair, show, words};

const COMMANDS: usize = 200;
const ROUNDS: u64 = 40;
/// The channel of the message that marks the end of a command's events.
const MARK: &[u8] = b"mark";

/// Collects events as lines: database, event, key.
#[derive(Default)]
struct Collector(Mutex<Vec<String>>);

fn line(database: &str, name: &str, key: &[u8]) -> String {
    format!("{database} {name} {}", show(key))
}

impl Observer for Collector {
    fn observe(&self, event: KeyEvent<'_>) {
        let line = line(&event.database.to_string(), event.name, event.key);
        self.0.lock().expect("no test panics here").push(line);
    }
}

/// The events that Valkey has told a client of since the last mark.
fn told(listener: &mut super::connection::Connection) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let message = listener.reply();
        let message = Reply::parse(&message).unwrap_or_else(|| panic!("{}", show(&message)));
        let [_, .., channel, payload] = message.elements() else {
            panic!("{message} is no message");
        };
        if channel.bytes() == MARK {
            return lines;
        }
        let channel = String::from_utf8_lossy(channel.bytes()).into_owned();
        let (database, name) = channel
            .strip_prefix("__keyevent@")
            .and_then(|rest| rest.split_once("__:"))
            .unwrap_or_else(|| panic!("{channel} is no channel of events"));
        lines.push(line(database, name, payload.bytes()));
    }
}

#[test]
fn events_have_the_names_and_the_order_of_valkey() {
    let Some(mut pair) = Pair::start(Protocol::Resp2) else {
        return;
    };
    let Ours::Embedded(embedded) = &pair.ours else {
        println!("skipped: FERRITE_DIFFERENTIAL_SERVER names a server");
        return;
    };
    let collector = Arc::new(Collector::default());
    embedded
        .store
        .set_observer(Arc::clone(&collector) as Arc<dyn Observer>);
    embedded.store.report_events(true);
    pair.valkey
        .run(&words("CONFIG SET notify-keyspace-events EA"));
    let mut listener = pair.valkey.connect();
    listener.send(&[words("PSUBSCRIBE __keyevent@*"), words("SUBSCRIBE mark")]);
    listener.reply();
    listener.reply();
    let mut differences = Vec::new();
    let mut compared = 0;
    for seed in 0..ROUNDS {
        pair.both(&words("FLUSHALL"));
        let mut generator = Generator::new(seed);
        let mut history: Vec<String> = Vec::new();
        for _ in 0..COMMANDS {
            let argv = generator.command();
            let name = argv[0].to_ascii_lowercase();
            // What these take away is left to chance.
            if [&b"spop"[..], b"randomkey"].contains(&name.as_slice()) {
                continue;
            }
            pair.both(&argv);
            let mark: [&[u8]; 3] = [b"PUBLISH", MARK, b""];
            pair.valkey.run(&mark.map(<[u8]>::to_vec));
            let theirs = told(&mut listener);
            let ours = std::mem::take(&mut *collector.0.lock().expect("no test panics here"));
            compared += theirs.len();
            // Valkey tells of `LTRIM` that trims nothing, and not of `BITFIELD` that only overflows.
            let nothing_done = match name.as_slice() {
                b"ltrim" => ours.is_empty() && theirs.len() == 1,
                b"bitfield" => theirs.is_empty() && ours.len() == 1,
                _ => false,
            };
            let line: Vec<String> = argv.iter().map(|word| show(word)).collect();
            history.push(line.join(" "));
            if ours != theirs && !nothing_done {
                let key = argv.get(1).map_or(String::new(), |key| show(key));
                let about = history.iter().filter(|line| line.contains(&key));
                let about: Vec<&str> = about.map(String::as_str).collect();
                differences.push(format!(
                    "seed {seed}: {ours:?} and not {theirs:?} by the last of\n  {}",
                    about[about.len().saturating_sub(HISTORY)..].join("\n  ")
                ));
                break;
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(compared > 1_000, "only {compared} events were compared");
}
