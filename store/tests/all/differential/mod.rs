//! The store against Valkey: the same random commands, the same replies, byte for byte.
//!
//! Needs the path of a `valkey-server` binary in `FERRITE_VALKEY_SERVER`; without it the tests say
//! so and pass. `FERRITE_DIFFERENTIAL_ROUNDS` makes them run longer, `FERRITE_DIFFERENTIAL_SEED`
//! repeats one round and compares all data after each command. `known.rs` lists known differences.

mod generate;
mod grammar;
mod known;
mod reply;
mod valkey;

use ferrite_protocol::keyspace::KeyAccess;
use ferrite_protocol::resp::Protocol;
use ferrite_store::{Session, Store, StoreOptions};

use crate::client::Encoder;
pub(crate) use generate::Generator;
use reply::Reply;
use valkey::Valkey;

/// Commands of one round, which starts with empty databases.
const COMMANDS: usize = 300;
/// Rounds of a plain test run.
const ROUNDS: u64 = 60;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Both sides of the comparison.
struct Pair {
    valkey: Valkey,
    store: Store,
    session: Session,
    protocol: Protocol,
    history: Vec<String>,
}

impl Pair {
    fn ours(&mut self, argv: &[Vec<u8>]) -> Vec<u8> {
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let mut out = Encoder::new(self.protocol);
        match self.store.execute(&mut self.session, &argv, &mut out) {
            ferrite_store::Flow::Done => {}
            ferrite_store::Flow::Blocked(blocked) => blocked.finish(&mut self.session, &mut out),
            ferrite_store::Flow::Retry(_) => panic!("nobody else is there to wait for"),
        }
        out.bytes
    }

    fn both(&mut self, argv: &[Vec<u8>]) -> (Reply, Reply) {
        let ours = self.ours(argv);
        let theirs = self.valkey.run(argv);
        let parse = |bytes: &[u8]| Reply::parse(bytes).unwrap_or_else(|| panic!("{}", show(bytes)));
        (parse(&ours), parse(&theirs))
    }

    /// Runs a command on both sides; describes the difference, if there is one.
    fn check(&mut self, argv: &[Vec<u8>]) -> Result<(), String> {
        self.history.push(
            argv.iter()
                .map(|argument| show(argument))
                .collect::<Vec<_>>()
                .join(" "),
        );
        let (ours, theirs) = self.both(argv);
        if known::equal(argv, &ours, &theirs) {
            return Ok(());
        }
        let command = self.history.pop().unwrap_or_default();
        // Earlier commands on the same keys help to explain the difference.
        let last = self.history.len().saturating_sub(1);
        let about = |(at, line): &(usize, &String)| {
            *at == last
                || argv[1..]
                    .iter()
                    .any(|argument| line.contains(&show(argument)))
        };
        let before: Vec<&str> = self
            .history
            .iter()
            .enumerate()
            .filter(about)
            .map(|(_, line)| line.as_str())
            .collect();
        let before = before[before.len().saturating_sub(12)..].join("\n  ");
        Err(format!(
            "after\n  {before}\nthe command\n  {command}\ngave\n  {ours}\nand not\n  {theirs}"
        ))
    }

    fn round(&mut self, seed: u64, careful: bool) -> Result<(), String> {
        self.valkey.run(&[b"SELECT".to_vec(), b"0".to_vec()]);
        assert!(self.store.select(&mut self.session, b"0").is_ok());
        self.check(&[b"FLUSHALL".to_vec()])?;
        let mut generator = Generator::new(seed);
        for _ in 0..COMMANDS {
            let argv = generator.command();
            self.check(&argv)?;
            if careful {
                self.check_state()?;
            }
        }
        self.check_state()
    }

    /// Compares all data.
    fn check_state(&mut self) -> Result<(), String> {
        let commands = self.history.len();
        let words = |line: &str| {
            line.split(' ')
                .map(|word| word.as_bytes().to_vec())
                .collect()
        };
        for database in ["0", "1"] {
            let select: Vec<Vec<u8>> = words(&format!("SELECT {database}"));
            self.valkey.run(&select);
            assert!(
                self.store
                    .select(&mut self.session, database.as_bytes())
                    .is_ok()
            );
            self.check(&words("DBSIZE"))?;
            self.check(&words("KEYS *"))?;
            for key in generate::KEYS {
                self.check(&words(&format!("TYPE {key}")))?;
                self.check(&words(&format!("PEXPIRETIME {key}")))?;
                for read in [
                    "GET",
                    "HGETALL",
                    "LRANGE 0 -1",
                    "SMEMBERS",
                    "ZRANGE 0 -1 WITHSCORES",
                ] {
                    let mut argv: Vec<Vec<u8>> = words(read);
                    argv.insert(1, key.as_bytes().to_vec());
                    self.check(&argv)?;
                }
            }
        }
        self.valkey.run(&words("SELECT 0"));
        assert!(self.store.select(&mut self.session, b"0").is_ok());
        self.history.truncate(commands);
        Ok(())
    }
}

fn show(bytes: &[u8]) -> String {
    format!("'{}'", bytes.escape_ascii())
}

fn rounds(protocol: Protocol) {
    let Some(valkey) = Valkey::start(protocol) else {
        return;
    };
    let store = Store::in_memory(&StoreOptions::default());
    let mut pair = Pair {
        valkey,
        store,
        session: Session::new(),
        protocol,
        history: Vec::new(),
    };
    let careful = setting("FERRITE_DIFFERENTIAL_SEED").is_some();
    let seeds = match setting("FERRITE_DIFFERENTIAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("FERRITE_DIFFERENTIAL_ROUNDS").unwrap_or(ROUNDS),
    };
    let mut differences = Vec::new();
    for seed in seeds {
        pair.history.clear();
        if let Err(difference) = pair.round(seed, careful) {
            differences.push(format!("seed {seed}: {difference}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// A command that the grammar does not know would never be compared.
#[test]
fn every_command_is_generated() {
    let store = Store::in_memory(&StoreOptions::default());
    let generates = |name: &str| {
        let mut first_words = grammar::templates()
            .iter()
            .filter_map(|parts| parts.first());
        first_words.any(|part| matches!(part, grammar::Part::Word(word) if *word == name))
    };
    for spec in store.commands() {
        assert!(
            generates(&spec.name.to_ascii_uppercase()),
            "grammar.rs has no line for {}",
            spec.name
        );
    }
}

#[test]
fn random_commands_in_resp2() {
    rounds(Protocol::Resp2);
}

#[test]
fn random_commands_in_resp3() {
    rounds(Protocol::Resp3);
}

/// The permission check relies on each command's description of its keys; here Valkey confirms it.
#[test]
fn the_keys_of_requests_are_those_that_valkey_finds() {
    let Some(mut valkey) = Valkey::start(Protocol::Resp2) else {
        return;
    };
    let store = Store::in_memory(&StoreOptions::default());
    let mut seen = std::collections::BTreeSet::new();
    let mut generator = Generator::new(7);
    for _ in 0..20_000 {
        let argv = generator.command();
        let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let Ok(access) = store.access(&words) else {
            continue;
        };
        let name = store.command(words[0]).map_or("", |spec| spec.name);
        // A refused command touches no key, whatever its description says.
        let run = |words: &[&[u8]]| -> bool {
            let mut out = Encoder::new(Protocol::Resp2);
            let _ = store.execute(&mut Session::new(), words, &mut out);
            out.bytes.starts_with(b"-") && !out.bytes.starts_with(b"-ERR no such key")
        };
        run(&[b"FLUSHALL"]);
        if run(&words) {
            continue;
        }
        let mut request = vec![b"COMMAND".to_vec(), b"GETKEYS".to_vec()];
        request.extend(argv.iter().cloned());
        let reply = valkey.run(&request);
        let theirs = Reply::parse(&reply).unwrap_or_else(|| panic!("{}", show(&reply)));
        let line: Vec<String> = argv.iter().map(|argument| show(argument)).collect();
        let line = line.join(" ");
        match access.keys {
            KeyAccess::At(indexes) => {
                seen.insert(name);
                let mut ours: Vec<&[u8]> = indexes.iter().map(|&index| words[index]).collect();
                let mut theirs: Vec<&[u8]> = theirs.elements().iter().map(Reply::bytes).collect();
                ours.sort_unstable();
                theirs.sort_unstable();
                assert_eq!(ours, theirs, "{line}");
            }
            KeyAccess::None | KeyAccess::All | KeyAccess::Listed => {
                assert!(theirs.is_error(), "{line} has keys: {theirs}");
            }
            // Valkey reports only keys that it can determine; here the keys are unknown.
            KeyAccess::Unknown => assert!(name.starts_with("sort"), "{line}"),
        }
    }
    for spec in store.commands() {
        let info = valkey.run(&[
            b"COMMAND".to_vec(),
            b"INFO".to_vec(),
            spec.name.as_bytes().to_vec(),
        ]);
        let info = Reply::parse(&info).unwrap_or_else(|| panic!("{}", show(&info)));
        let [Reply::Node(_, fields)] = info.elements() else {
            panic!("Valkey has no {}: {info}", spec.name);
        };
        let has = |flag: &[u8]| fields[2].elements().iter().any(|one| one.bytes() == flag);
        assert_eq!(spec.is_write(), has(b"write"), "{}", spec.name);
        assert_eq!(
            fields[1].bytes(),
            spec.arity.to_string().as_bytes(),
            "{}",
            spec.name
        );
        // The flags of a key's position say what is done to it: `access` tells or copies its value.
        let accesses = fields[8].elements().iter().any(|position| {
            let mut parts = position.elements().chunks(2);
            parts.any(|part| {
                part[0].bytes() == b"flags"
                    && part[1]
                        .elements()
                        .iter()
                        .any(|flag| flag.bytes() == b"access")
            })
        });
        if spec.is_write() && accesses {
            let minimal = vec![spec.name.as_bytes(); spec.arity.unsigned_abs() as usize];
            let has_form_that_tells = ["set"].contains(&spec.name);
            assert!(
                spec.is_read(&minimal) || has_form_that_tells,
                "{} is said to be blind",
                spec.name
            );
        }
        let keyless = matches!(
            spec.keys,
            ferrite_store::Keys::All | ferrite_store::Keys::Listed | ferrite_store::Keys::None
        );
        assert!(
            keyless || seen.contains(spec.name),
            "no request was made of {}",
            spec.name
        );
    }
}
