//! Random requests from the grammar, some of them damaged.

use std::sync::LazyLock;

use super::grammar::{self, Part};

/// Few keys, so that commands meet each other's values and the wrong types.
pub(crate) const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Values of each type in each form that Valkey 9.1 writes, in hexadecimal.
const PAYLOADS: &str = include_str!("payloads.txt");

fn payloads() -> &'static [Vec<u8>] {
    static PARSED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        };
        PAYLOADS
            .lines()
            .map(|line| line.as_bytes().chunks(2).map(byte).collect())
            .collect()
    });
    &PARSED
}

const VALUES: [&str; 20] = [
    "",
    "0",
    "1",
    "-1",
    "10",
    "007",
    "3.14",
    "1e3",
    "-0.5",
    "inf",
    "-inf",
    "nan",
    "abc",
    "hello",
    " 1",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999",
    "0x10",
    "a value that is longer than forty-four bytes, which is a limit",
];
const MEMBERS: [&str; 14] = [
    "",
    "m",
    "n",
    "o",
    "p",
    "q",
    "1",
    "2",
    "-5",
    "10",
    "a",
    "b",
    "z",
    "a member that is quite long",
];
const INTEGERS: [&str; 20] = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "-2",
    "-3",
    "5",
    "10",
    "-10",
    "100",
    "abc",
    "1.5",
    "",
    "01",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "4",
    "-100",
];
/// Shortest time to live, in seconds, which no round takes.
const LIFE_MIN: i64 = 1_000;
/// Seconds between two times to live, and the number of those.
const LIFE_APART: i64 = 60;
const LIVES: i64 = 2_000;
/// Milliseconds that are a time to live still; more of them overflow.
const FARTHEST_MILLIS: i64 = 9_223_372_036_854_775;
/// Times that do not expire while a round runs.
const ODD_TIMES: [&str; 9] = [
    "0",
    "-1",
    "abc",
    "1.5",
    "",
    "01",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775",
];
/// Times to wait that are refused.
const ODD_TIMEOUTS: [&str; 10] = [
    "abc",
    "-1",
    "1e400",
    "inf",
    "-inf",
    "nan",
    "",
    "9223372036854775",
    "-0x1",
    "1.5.5",
];
const FLOATS: [&str; 22] = [
    "0",
    "1",
    "-1",
    "1.5",
    "0.1",
    "0.2",
    "-0.1",
    "3.0e2",
    "1e-5",
    "10.50",
    "inf",
    "-inf",
    "+inf",
    "nan",
    "abc",
    "",
    "1e300",
    "-1e300",
    "123456789.123",
    "2.5",
    "1e17",
    "1e-7",
];
const SCORE_BOUNDS: [&str; 14] = [
    "-inf", "+inf", "inf", "0", "1", "(1", "(0.1", "2.5", "(-1", "(inf", "abc", "(", "100", "-100",
];
const LEX_BOUNDS: [&str; 12] = [
    "-",
    "+",
    "[a",
    "(a",
    "[m",
    "(m",
    "[z",
    "(z",
    "[",
    "(",
    "a",
    "[a member",
];
const PATTERNS: [&str; 10] = ["*", "?", "a*", "[a-c]", "[^a]", "*e*", "\\a", "m", "[", ""];

/// Makes a blocking command wait for a moment at most, whatever damage did to its timeout.
fn bound_wait(argv: &mut [Vec<u8>]) {
    let name = argv[0].to_ascii_lowercase();
    let timeout = match name.as_slice() {
        b"blpop" | b"brpop" | b"blmove" | b"brpoplpush" | b"bzpopmin" | b"bzpopmax" => {
            argv.last_mut()
        }
        b"blmpop" | b"bzmpop" => argv.get_mut(1),
        _ => None,
    };
    if let Some(timeout) = timeout {
        let text = String::from_utf8_lossy(timeout).to_lowercase();
        let hexadecimal = text.contains('x') && !text.starts_with('-');
        let waits = text
            .parse()
            .is_ok_and(|seconds: f64| (0.0..1e9).contains(&seconds));
        if waits || hexadecimal {
            *timeout = b"0.001".to_vec();
        }
    }
}

/// A source of requests.
pub(crate) struct Generator {
    random: fastrand::Rng,
    /// Times to live, in seconds, that no request had yet.
    lives: Vec<i64>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            lives: Vec::new(),
        }
    }

    /// A time to live, in seconds, that is far from all others. So the later of two deadlines is
    /// the same in both servers, however long each of them takes, which `GT` and `LT` depend on.
    fn life(&mut self) -> i64 {
        if self.lives.is_empty() {
            let apart = |index| LIFE_MIN + index * LIFE_APART;
            self.lives = (0..LIVES).map(apart).collect();
            self.random.shuffle(&mut self.lives);
        }
        self.lives.pop().unwrap_or(LIFE_MIN)
    }

    /// Lets nothing expire while both servers run a round, whatever damage did to the times, and no
    /// two keys get the same time to live.
    fn bound_expiry(&mut self, argv: &mut [Vec<u8>]) {
        let name = argv[0].to_ascii_lowercase();
        let by_place = |at: usize, names: [&[u8]; 4]| at == 2 && names.contains(&name.as_slice());
        for at in 1..argv.len() {
            let option = |word: &[u8]| argv[at - 1].eq_ignore_ascii_case(word);
            let millis =
                option(b"px") || by_place(at, [b"pexpire", b"psetex", b"hpexpire", b"restore"]);
            let seconds = option(b"ex") || by_place(at, [b"expire", b"setex", b"hexpire", b""]);
            let number = std::str::from_utf8(&argv[at]).ok();
            let number = number.and_then(|text| text.parse::<i64>().ok());
            argv[at] = match number {
                Some(1..1_000) if millis => (self.life() * 1_000).to_string().into_bytes(),
                Some(1..1_000) if seconds => self.life().to_string().into_bytes(),
                Some(FARTHEST_MILLIS) if millis => {
                    let farthest = FARTHEST_MILLIS - self.life() * 1_000;
                    farthest.to_string().into_bytes()
                }
                _ => continue,
            };
        }
    }

    fn pick(&mut self, from: &[&str]) -> Vec<u8> {
        from[self.random.usize(..from.len())].as_bytes().to_vec()
    }

    /// One request.
    pub(crate) fn command(&mut self) -> Vec<Vec<u8>> {
        let templates = grammar::templates();
        let mut argv = Vec::new();
        let template = &templates[self.random.usize(..templates.len())];
        self.expand(template, &mut argv);
        // Orders by bytes mean something only among equal scores.
        let lexical = argv.get(1).is_some_and(|key| key == b"g");
        if self.random.u8(..) < 20 && !lexical {
            self.damage(&mut argv);
        }
        if argv[0].eq_ignore_ascii_case(b"spop") && argv.len() == 2 {
            // Without a count it takes one by chance, and the data would differ from then on.
            argv.push(b"1000".to_vec());
        }
        bound_wait(&mut argv);
        self.bound_expiry(&mut argv);
        argv
    }

    fn expand(&mut self, parts: &[Part], argv: &mut Vec<Vec<u8>>) {
        for part in parts {
            match part {
                Part::Word(word) => argv.push(word.as_bytes().to_vec()),
                Part::Slot(name) => {
                    let argument = self.argument(name);
                    argv.push(argument);
                }
                Part::Optional(parts) => {
                    if self.random.u8(..) < 80 {
                        self.expand(parts, argv);
                    }
                }
                Part::Choice(choices) => {
                    let choice = &choices[self.random.usize(..choices.len())];
                    self.expand(choice, argv);
                }
                Part::Repeated(parts) => {
                    for _ in 0..self.random.usize(1..4) {
                        self.expand(parts, argv);
                    }
                }
                Part::Counted(parts) => {
                    let count = self.random.usize(1..4);
                    argv.push(count.to_string().into_bytes());
                    for _ in 0..count {
                        self.expand(parts, argv);
                    }
                }
            }
        }
    }

    fn argument(&mut self, name: &str) -> Vec<u8> {
        match name {
            "key" => self.pick(&KEYS),
            "value" => self.pick(&VALUES),
            "member" => self.pick(&MEMBERS),
            "int" => self.pick(&INTEGERS),
            // Mostly sensible numbers, so that commands have an effect.
            "small" => match self.random.u8(..10) {
                0 => self.pick(&INTEGERS),
                _ => self.random.i32(-3..6).to_string().into_bytes(),
            },
            "width" => self.pick(&[
                "i1", "u1", "i5", "u8", "i8", "i16", "u32", "i33", "i64", "u63", "u64", "i65",
                "i0", "u", "x8", "i08",
            ]),
            "place" => match self.random.u8(..8) {
                0 => self.pick(&[
                    "-1",
                    "abc",
                    "4294967296",
                    "",
                    "#",
                    "#-1",
                    "#x",
                    "#9223372036854775807",
                ]),
                1..4 => format!("#{}", self.random.i32(0..20)).into_bytes(),
                _ => self.random.i32(0..200).to_string().into_bytes(),
            },
            "bit" => match self.random.u8(..8) {
                0 => self.pick(&["-1", "abc", "4294967296", ""]),
                _ => self.random.i32(0..200).to_string().into_bytes(),
            },
            // Valkey cuts longer ones to 32 bits in LSET.
            "index" => self.random.i32(-6..6).to_string().into_bytes(),
            // Members of this key all have the same score.
            "lexical-key" => b"g".to_vec(),
            "float" => match self.random.u8(..3) {
                0 => self.pick(&FLOATS),
                1 => self.random.i32(-5..20).to_string().into_bytes(),
                _ => format!("{:.2}", self.random.f64() * 10.0).into_bytes(),
            },
            "score" => self.pick(&SCORE_BOUNDS),
            "lex" => self.pick(&LEX_BOUNDS),
            "pattern" => self.pick(&PATTERNS),
            "seconds" => match self.random.u8(..8) {
                0 => self.pick(&ODD_TIMES),
                _ => self.life().to_string().into_bytes(),
            },
            "millis" => match self.random.u8(..8) {
                0 => self.pick(&ODD_TIMES),
                _ => {
                    let millis = self.life() * 1_000 + self.random.i64(0..1_000);
                    millis.to_string().into_bytes()
                }
            },
            // Far in the future, or in the past.
            "at" => match self.random.u8(..6) {
                0 => self.pick(&ODD_TIMES),
                _ => self
                    .random
                    .i64(4_000_000_000..4_000_001_000)
                    .to_string()
                    .into_bytes(),
            },
            "at-millis" => match self.random.u8(..6) {
                0 => self.pick(&ODD_TIMES),
                _ => self
                    .random
                    .i64(4_000_000_000_000..4_000_001_000_000)
                    .to_string()
                    .into_bytes(),
            },
            "lon" => self.degrees(180.0, &["180", "-180", "180.1", "abc", "0"]),
            "lat" => self.degrees(85.0, &["85.05112878", "-85.05112878", "86", "nan", "0"]),
            "distance" => match self.random.u8(..10) {
                0 => self.pick(&["0", "-1", "abc", "1e9", "0.5"]),
                _ => format!("{:.3}", 10_f64.powf(self.random.f64() * 7.5)).into_bytes(),
            },
            "unit" => self.pick(&["m", "km", "KM", "ft", "mi", "m", "km", "yd"]),
            "vertices" => self.pick(&["3", "3", "3", "2", "4", "abc", "-1", "99999999999"]),
            "hll-key" => self.pick(&["h1", "h2"]),
            "payload" => self.payload(),
            "odd-timeout" => self.pick(&ODD_TIMEOUTS),
            "db" => match self.random.u8(..6) {
                0 => self.pick(&["16", "-1", "abc", "2147483648"]),
                _ => self.pick(&["0", "1"]),
            },
            other => panic!("the grammar names an unknown argument, {other}"),
        }
    }

    /// A longitude or latitude: mostly any, now and then one on an edge or beyond.
    fn degrees(&mut self, most: f64, odd: &[&str]) -> Vec<u8> {
        match self.random.u8(..30) {
            0 => self.pick(odd),
            1..10 => format!("{:.6}", self.random.f64() * 20.0).into_bytes(),
            _ => format!("{:.6}", (self.random.f64() * 2.0 - 1.0) * most).into_bytes(),
        }
    }

    /// A value as `DUMP` writes it, now and then with a wrong byte.
    fn payload(&mut self) -> Vec<u8> {
        let payloads = payloads();
        let mut payload = payloads[self.random.usize(..payloads.len())].clone();
        if self.random.u8(..8) == 0 {
            let at = self.random.usize(..payload.len());
            payload[at] ^= 1 << self.random.u8(..8);
        }
        payload
    }

    /// Drops, repeats or replaces an argument.
    fn damage(&mut self, argv: &mut Vec<Vec<u8>>) {
        let at = self.random.usize(..argv.len());
        match self.random.u8(..6) {
            0 if argv.len() > 1 && at > 0 => drop(argv.remove(at)),
            3 if at > 0 => argv.truncate(at),
            4 if at > 0 => argv[at] = self.pick(&INTEGERS),
            1 => argv.push(self.pick(&MEMBERS)),
            2 if at > 0 => argv[at] = self.pick(&VALUES),
            _ => argv[0] = argv[0].to_ascii_lowercase(),
        }
    }
}
