//! The store against Valkey: the same random commands, the same replies, byte for byte.
//!
//! Needs the path of a `valkey-server` binary in `FERRITE_VALKEY_SERVER`; without it the tests say
//! so and pass. `FERRITE_DIFFERENTIAL_ROUNDS` makes them run longer, from the round
//! `FERRITE_DIFFERENTIAL_FIRST` on; `FERRITE_DIFFERENTIAL_SEED` repeats one round and compares all
//! data after each command. `FERRITE_DIFFERENTIAL_SERVER` names a `ferrite-server` to compare in place
//! of the store in this process. `known.rs` lists known differences, `found.txt` has the requests that
//! once differed.

mod connection;
mod events;
mod generate;
mod grammar;
mod known;
mod ours;
mod payloads;
mod reply;
mod valkey;

use std::time::{Duration, Instant};

use ferrite_protocol::keyspace::KeyAccess;
use ferrite_protocol::resp::Protocol;
use ferrite_store::{Session, Store, StoreOptions};

use crate::client::Encoder;
pub(crate) use generate::Generator;
use ours::Ours;
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
const PATIENCE: Duration = Duration::from_secs(30);
/// A long run says after this many rounds how far it is.
const ROUNDS_PER_LINE: u64 = 1_000;
/// Rounds of a plain test run.
const ROUNDS: u64 = 60;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Returns true for a request that is not made, because it does something else in Valkey: there, a key that
/// is called `fields` begins the fields, and `LSET` takes the lower 32 bits of an index.
/// `SPOP` of some members takes random ones, and a negative offset of `LIMIT` depends on the set's size.
/// A polygon whose middle is beyond the map is looked for in a cell that was never computed.
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
        b"geosearch" => {
            let polygon = argv
                .iter()
                .position(|word| word.eq_ignore_ascii_case(b"bypolygon"));
            return polygon.is_some_and(|at| is_beyond_the_map(&argv[at + 1..]));
        }
        _ => {}
    }
    let has_fields = name.starts_with(b"h")
        && (name.ends_with(b"ex") || name.starts_with(b"hexpire") || name.starts_with(b"hpexpire"));
    has_fields
        && argv
            .get(1)
            .is_some_and(|key| key.eq_ignore_ascii_case(b"fields"))
}

/// Returns true if the middle of a polygon, given as the number of its corners and their longitudes and latitudes,
/// is farther north or south than a place can be.
fn is_beyond_the_map(polygon: &[Vec<u8>]) -> bool {
    let degrees: Vec<f64> = polygon
        .iter()
        .map_while(|word| str::from_utf8(word).ok()?.parse().ok())
        .collect();
    let Some((corners, degrees)) = degrees.split_first() else {
        return false;
    };
    let (places, _) = degrees.as_chunks::<2>();
    let mut sums = [0.0; 3];
    for [longitude, latitude] in places.iter().take(*corners as usize) {
        let (longitude, latitude) = (longitude.to_radians(), latitude.to_radians());
        sums[0] += latitude.cos() * longitude.cos();
        sums[1] += latitude.cos() * longitude.sin();
        sums[2] += latitude.sin();
    }
    let [x, y, z] = sums;
    z.atan2(x.hypot(y)).to_degrees().abs() > 85.05
}

/// Puts some of the commands between `MULTI` and `EXEC`, or what is refused there beside them.
fn put_into_transactions(batch: &mut Vec<Vec<Vec<u8>>>, random: &mut fastrand::Rng) {
    let mut left = std::mem::take(batch).into_iter().peekable();
    while left.peek().is_some() {
        let plain = random.usize(1..40);
        batch.extend(left.by_ref().take(plain));
        if random.u8(..4) == 0 {
            batch.push(words("WATCH a b"));
            let changes = random.usize(..4);
            batch.extend(left.by_ref().take(changes));
        }
        batch.push(words("MULTI"));
        let queued = random.usize(..10);
        batch.extend(left.by_ref().take(queued));
        match random.u8(..20) {
            0 => batch.push(words("MULTI")),
            1 => batch.push(words("WATCH c")),
            2 => batch.push(words("NOSUCH a")),
            _ => {}
        }
        batch.push(words(if random.u8(..8) == 0 {
            "DISCARD"
        } else {
            "EXEC"
        }));
    }
}

/// Both sides of the comparison.
struct Pair {
    valkey: Valkey,
    ours: Ours,
    history: Vec<String>,
    /// Moment at which the first of the commands was made that the data follows from.
    since: Instant,
    /// Commands that were compared.
    compared: u64,
    /// The commands since `MULTI`; `None` outside of it.
    queued: Option<Vec<Vec<Vec<u8>>>>,
}

impl Pair {
    /// Starts both sides; `None` if there is no Valkey.
    fn start(protocol: Protocol) -> Option<Self> {
        Some(Self {
            valkey: Valkey::start(protocol)?,
            ours: Ours::start(protocol),
            history: Vec::new(),
            since: Instant::now(),
            compared: 0,
            queued: None,
        })
    }

    /// Begins anew, with database 0 and empty databases.
    fn begin(&mut self) -> Result<(), String> {
        self.history.clear();
        if self.queued.take().is_some() {
            // A difference has ended the round before.
            self.both(&[b"DISCARD".to_vec()]);
        }
        self.select("0");
        self.since = Instant::now();
        self.check(&[b"FLUSHALL".to_vec()])
    }

    fn select(&mut self, database: &str) {
        self.both(&words(&format!("SELECT {database}")));
    }

    fn both(&mut self, argv: &[Vec<u8>]) -> (Reply, Reply) {
        let ours = self.ours.run(argv);
        let theirs = self.valkey.run(argv);
        (parse(&ours), parse(&theirs))
    }

    /// Runs a command on both sides; describes the difference, if there is one.
    fn check(&mut self, argv: &[Vec<u8>]) -> Result<(), String> {
        self.send(&[argv.to_vec()]);
        self.check_sent(argv)
    }

    /// Compares two replies to the same command; those of `EXEC` by the commands that were queued.
    fn is_equal(&mut self, argv: &[Vec<u8>], ours: &Reply, theirs: &Reply) -> bool {
        let elapsed = self.since.elapsed();
        if argv[0] == b"EXEC"
            && let Some(queued) = self.queued.take()
        {
            let (ours_each, theirs_each) = (ours.elements(), theirs.elements());
            let each_is_equal = || {
                let mut pairs = ours_each.iter().zip(theirs_each).zip(&queued);
                pairs.all(|((ours, theirs), argv)| known::equal(argv, ours, theirs, elapsed))
            };
            let has_all = ours.shape() == theirs.shape() && ours_each.len() == queued.len();
            return ours == theirs || has_all && each_is_equal();
        }
        match (argv[0].as_slice(), &mut self.queued) {
            (b"MULTI", None) => self.queued = Some(Vec::new()),
            (b"DISCARD", _) => self.queued = None,
            (_, Some(queued)) if theirs.bytes() == b"QUEUED" => queued.push(argv.to_vec()),
            _ => {}
        }
        known::equal(argv, ours, theirs, elapsed)
    }

    fn send(&mut self, commands: &[Vec<Vec<u8>>]) {
        self.valkey.send(commands);
        self.ours.send(commands);
    }

    /// Does the same as [`Pair::check`] for a command that both have got already.
    fn check_sent(&mut self, argv: &[Vec<u8>]) -> Result<(), String> {
        self.history.push(
            argv.iter()
                .map(|argument| show(argument))
                .collect::<Vec<_>>()
                .join(" "),
        );
        let (ours, theirs) = (self.ours.reply(argv), self.valkey.reply());
        let (ours, theirs) = (parse(&ours), parse(&theirs));
        self.compared += 1;
        if self.is_equal(argv, &ours, &theirs) {
            return Ok(());
        }
        let command = self.history.pop().unwrap_or_default();
        // Earlier commands on the same keys help to explain the difference, and those of a transaction.
        let recent = if argv[0] == b"EXEC" { HISTORY } else { 1 };
        let recent = self.history.len().saturating_sub(recent);
        let about = |(at, line): &(usize, &String)| {
            *at >= recent
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
        self.begin()?;
        let mut generator = Generator::new(seed);
        let mut order = fastrand::Rng::with_seed(seed);
        for _ in 0..BATCHES {
            let mut batch: Vec<_> = (0..COMMANDS / BATCHES)
                .map(|_| generator.command())
                .filter(|argv| !is_left_out(argv))
                .collect();
            if self.ours.has_transactions() && !careful {
                put_into_transactions(&mut batch, &mut order);
            }
            if careful {
                for argv in &batch {
                    self.check(argv)?;
                    self.check_state()?;
                }
            } else {
                self.check_all(&batch)?;
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
        let started = Instant::now();
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
        self.check_all(&reads_of(key))
    }

    /// Compares all data.
    fn check_state(&mut self) -> Result<(), String> {
        let commands = self.history.len();
        let mut reads = Vec::new();
        for database in ["1", "0"] {
            reads.push(words(&format!("SELECT {database}")));
            reads.push(words("DBSIZE"));
            reads.push(words("KEYS *"));
            for key in generate::KEYS {
                reads.extend(reads_of(key.as_bytes()));
            }
            for key in ["h1", "h2"] {
                reads.push(words(&format!("PFCOUNT {key}")));
            }
        }
        self.check_all(&reads)?;
        self.history.truncate(commands);
        Ok(())
    }

    /// Runs commands on both sides; describes the first difference, if there is one.
    fn check_all(&mut self, commands: &[Vec<Vec<u8>>]) -> Result<(), String> {
        self.send(commands);
        for (at, argv) in commands.iter().enumerate() {
            if let Err(difference) = self.check_sent(argv) {
                for argv in &commands[at + 1..] {
                    self.valkey.reply();
                    self.ours.reply(argv);
                }
                return Err(difference);
            }
        }
        Ok(())
    }
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// Commands that tell everything about a key.
fn reads_of(key: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let reads = [
        "TYPE",
        "PEXPIRETIME",
        "HPEXPIRETIME FIELDS 12 m n o p q 1 2 -5 10 a b z",
        "GET",
        "HGETALL",
        "LRANGE 0 -1",
        "SMEMBERS",
        "ZRANGE 0 -1 WITHSCORES",
    ];
    let with_key = |read: &str| {
        let mut argv = words(read);
        argv.insert(1, key.to_vec());
        argv
    };
    reads.map(with_key).into()
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
        if let Err(difference) = pair.round(seed, careful) {
            let difference = format!("seed {seed}: {difference}");
            println!("{difference}\n");
            differences.push(difference);
        }
        if seed % ROUNDS_PER_LINE == ROUNDS_PER_LINE - 1 {
            println!("{protocol:?}: {} commands, to seed {seed}", pair.compared);
        }
    }
    println!("{protocol:?}: {} commands were compared", pair.compared);
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
            let begun = pair.begin();
            begun.unwrap_or_else(|difference| panic!("{difference}"));
            for line in group.lines() {
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
