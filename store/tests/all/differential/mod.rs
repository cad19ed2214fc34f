//! The store against Valkey: the same random commands, the same replies, byte for byte.
//!
//! Needs the path of a `valkey-server` binary in `FERRITE_VALKEY_SERVER`; without it the tests say
//! so and pass. `FERRITE_DIFFERENTIAL_ROUNDS` makes them run longer, from the round
//! `FERRITE_DIFFERENTIAL_FIRST` on; `FERRITE_DIFFERENTIAL_SEED` repeats one round and compares all
//! data after each command. `known.rs` lists known differences, `found.txt` has the requests that
//! once differed.

mod events;
mod generate;
mod grammar;
mod known;
mod payloads;
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
/// Earlier commands on the same keys that are shown with a difference.
const HISTORY: usize = 40;
/// Valkey gets this part of a round's commands at once.
const BATCHES: usize = 3;
/// Of this many rounds, keys and fields expire in one.
const ROUNDS_PER_EXPIRY: u64 = 8;
/// Longer than Valkey takes to clear away expired fields.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// Rounds of a plain test run.
const ROUNDS: u64 = 60;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Returns true for a request that is not made, because it does something else in Valkey: there, a key that
/// is called `fields` begins the fields, and `LSET` takes the lower 32 bits of an index.
/// `SPOP` of some members takes random ones, and a negative offset of `LIMIT` depends on the set's size.
fn is_left_out(argv: &[Vec<u8>]) -> bool {
    let name = argv[0].to_ascii_lowercase();
    let number = |at: usize| -> Option<i64> { str::from_utf8(argv.get(at)?).ok()?.parse().ok() };
    match name.as_slice() {
        b"lset" => return number(2).is_some_and(|index| i32::try_from(index).is_err()),
        b"zrangestore" => {
            let limit = argv
                .iter()
                .position(|word| word.eq_ignore_ascii_case(b"limit"));
            let offset = limit.and_then(|at| number(at + 1));
            return offset.is_some_and(i64::is_negative);
        }
        b"spop" => return number(2).is_some_and(|count| (1..1_000).contains(&count)),
        _ => {}
    }
    let has_fields = name.starts_with(b"h")
        && (name.ends_with(b"ex") || name.starts_with(b"hexpire") || name.starts_with(b"hpexpire"));
    has_fields
        && argv
            .get(1)
            .is_some_and(|key| key.eq_ignore_ascii_case(b"fields"))
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
    /// Starts both sides; `None` if there is no Valkey.
    fn start(protocol: Protocol) -> Option<Self> {
        Some(Self {
            valkey: Valkey::start(protocol)?,
            store: Store::in_memory(&StoreOptions::default()),
            session: Session::new(),
            protocol,
            history: Vec::new(),
        })
    }

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
        (parse(&ours), parse(&theirs))
    }

    /// Runs a command on both sides; describes the difference, if there is one.
    fn check(&mut self, argv: &[Vec<u8>]) -> Result<(), String> {
        self.valkey.send(&[argv.to_vec()]);
        self.check_sent(argv)
    }

    /// Does the same as [`Pair::check`] for a command that Valkey has got already.
    fn check_sent(&mut self, argv: &[Vec<u8>]) -> Result<(), String> {
        self.history.push(
            argv.iter()
                .map(|argument| show(argument))
                .collect::<Vec<_>>()
                .join(" "),
        );
        let (ours, theirs) = (self.ours(argv), self.valkey.reply());
        let (ours, theirs) = (parse(&ours), parse(&theirs));
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
        let before = before[before.len().saturating_sub(HISTORY)..].join("\n  ");
        Err(format!(
            "after\n  {before}\nthe command\n  {command}\ngave\n  {ours}\nand not\n  {theirs}"
        ))
    }

    fn round(&mut self, seed: u64, careful: bool) -> Result<(), String> {
        self.valkey.run(&[b"SELECT".to_vec(), b"0".to_vec()]);
        assert!(self.store.select(&mut self.session, b"0").is_ok());
        self.check(&[b"FLUSHALL".to_vec()])?;
        let mut generator = Generator::new(seed);
        for _ in 0..BATCHES {
            let batch: Vec<_> = (0..COMMANDS / BATCHES)
                .map(|_| generator.command())
                .filter(|argv| !is_left_out(argv))
                .collect();
            if careful {
                for argv in &batch {
                    self.check(argv)?;
                    self.check_state()?;
                }
            } else {
                self.valkey.send(&batch);
                for (at, argv) in batch.iter().enumerate() {
                    if let Err(difference) = self.check_sent(argv) {
                        batch[at + 1..]
                            .iter()
                            .for_each(|_| drop(self.valkey.reply()));
                        return Err(difference);
                    }
                }
            }
            // Valkey takes its time to clear away expired fields.
            if seed.is_multiple_of(ROUNDS_PER_EXPIRY) {
                self.expire_some(generate::KEYS[seed as usize / 8 % generate::KEYS.len()])?;
            }
        }
        self.check_state()
    }

    /// Lets a key or a field expire on both sides.
    fn expire_some(&mut self, key: &str) -> Result<(), String> {
        let key = key.as_bytes().to_vec();
        let argv = |name: &str, rest: &[&str]| -> Vec<Vec<u8>> {
            let rest = rest.iter().map(|word| word.as_bytes().to_vec());
            [name.as_bytes().to_vec(), key.clone()]
                .into_iter()
                .chain(rest)
                .collect()
        };
        let field = "m";
        // Another field keeps the hash from expiring as a whole, which Valkey does some time later.
        let kept = argv("HSET", &["keeper", "0"]);
        self.check(&kept)?;
        if self.both(&argv("TYPE", &[])).0 != Reply::Leaf(b'+', b"hash".to_vec()) {
            self.check(&argv("PEXPIRE", &["1"]))?;
            return self.until_equal(&argv("EXISTS", &[]), |reply| reply.bytes() == b"0");
        }
        self.check(&argv("HPEXPIRE", &["1", "FIELDS", "1", field]))?;
        let fields = self.both(&argv("HKEYS", &[])).0.elements().len();
        self.until_equal(&argv("HEXISTS", &[field]), |reply| reply.bytes() == b"0")?;
        // Valkey counts fields that have expired until it has cleared them away.
        self.until_equal(&argv("HLEN", &[]), |reply| {
            let len = std::str::from_utf8(reply.bytes()).map(str::parse::<usize>);
            matches!(len, Ok(Ok(len)) if len <= fields)
        })?;
        self.compare(&key)
    }

    /// Repeats a command until both replies are as wanted, and equal.
    fn until_equal(
        &mut self,
        argv: &[Vec<u8>],
        wanted: impl Fn(&Reply) -> bool,
    ) -> Result<(), String> {
        let started = std::time::Instant::now();
        loop {
            let (ours, theirs) = self.both(argv);
            if wanted(&ours) && ours == theirs {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                let argv: Vec<String> = argv.iter().map(|word| show(word)).collect();
                return Err(format!(
                    "{} is {ours} here and {theirs} there",
                    argv.join(" ")
                ));
            }
            std::thread::yield_now();
        }
    }

    /// Compares the value of a key.
    fn compare(&mut self, key: &[u8]) -> Result<(), String> {
        for read in [
            "TYPE",
            "PEXPIRETIME",
            "HPEXPIRETIME FIELDS 12 m n o p q 1 2 -5 10 a b z",
            "GET",
            "HGETALL",
            "LRANGE 0 -1",
            "SMEMBERS",
            "ZRANGE 0 -1 WITHSCORES",
        ] {
            let mut words = read.split(' ').map(|word| word.as_bytes().to_vec());
            let mut argv: Vec<Vec<u8>> = words.next().into_iter().collect();
            argv.push(key.to_vec());
            argv.extend(words);
            self.check(&argv)?;
        }
        Ok(())
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
                self.compare(key.as_bytes())?;
            }
            for key in ["h1", "h2"] {
                self.check(&words(&format!("PFCOUNT {key}")))?;
            }
        }
        self.valkey.run(&words("SELECT 0"));
        assert!(self.store.select(&mut self.session, b"0").is_ok());
        self.history.truncate(commands);
        Ok(())
    }
}

fn parse(reply: &[u8]) -> Reply {
    Reply::parse(reply).unwrap_or_else(|| panic!("{}", show(reply)))
}

fn show(bytes: &[u8]) -> String {
    format!("'{}'", bytes.escape_ascii())
}

fn rounds(protocol: Protocol) {
    let Some(mut pair) = Pair::start(protocol) else {
        return;
    };
    let careful = setting("FERRITE_DIFFERENTIAL_SEED").is_some();
    let seeds = match setting("FERRITE_DIFFERENTIAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = setting("FERRITE_DIFFERENTIAL_FIRST").unwrap_or(0);
            first..first + setting("FERRITE_DIFFERENTIAL_ROUNDS").unwrap_or(ROUNDS)
        }
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

/// Requests that a long run found, in groups that begin with empty databases.
const FOUND: &str = include_str!("found.txt");

#[test]
fn what_differed_once_is_equal_now() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let Some(mut pair) = Pair::start(protocol) else {
            return;
        };
        for group in FOUND.split("\n\n") {
            pair.history.clear();
            let flush = std::iter::once("FLUSHALL");
            for line in flush.chain(group.lines()) {
                // An empty argument is written as two quotes.
                let argv: Vec<Vec<u8>> = line
                    .split(' ')
                    .map(|word| if word == "\"\"" { "" } else { word })
                    .map(|word| word.as_bytes().to_vec())
                    .collect();
                let outcome = pair.check(&argv).and_then(|()| pair.check_state());
                outcome.unwrap_or_else(|difference| panic!("{difference}"));
            }
        }
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
        if theirs.bytes() == b"ERR Invalid arguments specified for command" {
            // Valkey does not find the one key of `PFMERGE` without sources.
            assert!(name == "pfmerge" && argv.len() == 2, "{line}");
            continue;
        }
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
