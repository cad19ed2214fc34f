//! Generates calls of the probe: lists of operations on few keys of all types.

use std::fmt;

use fastrand::Rng;

/// A call of the probe.
pub(super) struct Call {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) args: Vec<Vec<u8>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, values) in [("KEYS", &self.keys), ("ARGS", &self.args)] {
            write!(f, "{word}")?;
            for value in values {
                let shown = &value[..value.len().min(40)];
                write!(f, " \"{}\"", shown.escape_ascii())?;
            }
            write!(f, " ")?;
        }
        Ok(())
    }
}

/// Makes calls from a seed.
pub(super) struct Generator {
    rng: Rng,
    args: Vec<Vec<u8>>,
}

/// Numbers at which things change.
const NUMBERS: &[i64] = &[
    0,
    1,
    -1,
    7,
    255,
    65_536,
    i32::MAX as i64,
    i64::MAX,
    i64::MIN,
];

/// Commands for `call`, whose keys begin with `k`. None of their replies depends on time or chance.
const COMMANDS: &[&[&str]] = &[
    &["SET", "k1", "text"],
    &["GET", "k1"],
    &["GET", "k3"],
    &["MGET", "k0", "k1", "k2", "k3"],
    &["LPUSH", "k3", "a", "b"],
    &["LRANGE", "k3", "0", "-1"],
    &["HSET", "k2", "f0", "1"],
    &["HMGET", "k2", "f0", "f1", "f9"],
    &["INCR", "k0"],
    &["INCR", "k1"],
    &["DEL", "k1"],
    &["SCAN", "0", "MATCH", "nothing*"],
    &["TYPE", "k2"],
];

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            args: Vec::new(),
        }
    }

    pub(super) fn call(&mut self) -> Call {
        self.args.clear();
        let keys: Vec<_> = (0..self.rng.usize(..3)).map(|_| self.bytes()).collect();
        if self.rng.u8(..16) == 0 {
            let args = vec![b"fail".to_vec(), b"PROBE has failed".to_vec()];
            return Call { keys, args };
        }
        let operations = self.rng.usize(1..12);
        self.word(operations);
        // Every call writes to the log.
        self.word("host");
        for _ in 1..operations {
            self.value(2);
        }
        Call {
            keys,
            args: self.args.clone(),
        }
    }

    fn word(&mut self, word: impl fmt::Display) {
        self.args.push(word.to_string().into_bytes());
    }

    fn bytes(&mut self) -> Vec<u8> {
        let most = if self.rng.u8(..32) == 0 { 80_000 } else { 24 };
        let len = self.rng.usize(..most);
        (0..len).map(|_| self.rng.u8(..)).collect()
    }

    fn add_bytes(&mut self) {
        let bytes = self.bytes();
        self.args.push(bytes);
    }

    /// A number, a boolean, a counter, a hash, a list: one for each type.
    fn key(&mut self) {
        let key = self.rng.u8(..4);
        self.word(format_args!("k{key}"));
    }

    fn field(&mut self) {
        let field = self.rng.u8(..3);
        self.word(format_args!("f{field}"));
    }

    fn number(&mut self) {
        let number = match self.rng.u8(..3) {
            0 => *self.rng.choice(NUMBERS).expect("there are some"),
            1 => self.rng.i64(-1000..1000),
            _ => self.rng.i64(..),
        };
        self.word(number);
    }

    /// Adds operations that yield one value.
    fn value(&mut self, depth: u32) {
        match self.rng.u8(..22) {
            0 | 1 => {
                self.word("get");
                self.key();
            }
            2 | 3 => {
                self.word("set");
                self.key();
                self.add_bytes();
                let options = self.rng.bool();
                let condition = self.rng.u8(..3);
                let keep = self.rng.bool();
                let ttl = if keep || self.rng.bool() { -1 } else { 900_000 };
                for word in [i64::from(options), condition.into(), keep.into(), ttl] {
                    self.word(word);
                }
            }
            4 => self.several("del", Self::key),
            5 => self.several("exists", Self::key),
            6 | 7 => {
                self.word("incr-by");
                self.key();
                self.number();
            }
            8 => {
                self.word("expire");
                self.key();
                let ms = *self.rng.choice([-1_i64, 800_000]).as_ref().expect("two");
                self.word(ms);
            }
            9 => {
                self.word("ttl");
                self.word("nothing");
            }
            10 => {
                self.word("hget");
                self.key();
                self.field();
            }
            11 | 12 => {
                self.word("hset");
                self.key();
                self.field();
                self.add_bytes();
            }
            13 => {
                self.word("hdel");
                self.key();
                let fields = self.rng.usize(1..4);
                self.word(fields);
                for _ in 0..fields {
                    self.field();
                }
            }
            14..=16 => {
                self.word("call");
                let words = *self.rng.choice(COMMANDS).expect("there are some");
                self.word(words.len());
                for word in words {
                    self.word(word);
                }
            }
            17 if depth > 0 => {
                let elements = self.rng.usize(..4);
                self.word("array");
                self.word(elements);
                for _ in 0..elements {
                    self.value(depth - 1);
                }
            }
            18 if depth > 0 => {
                self.word("mapping");
                self.word(1);
                self.word("simple");
                self.word("name");
                self.value(depth - 1);
            }
            _ => self.plain(),
        }
    }

    fn several(&mut self, operation: &str, one: fn(&mut Self)) {
        self.word(operation);
        let count = self.rng.usize(1..4);
        self.word(count);
        for _ in 0..count {
            one(self);
        }
    }

    fn plain(&mut self) {
        match self.rng.u8(..7) {
            0 => self.word("null"),
            1 => {
                self.word("boolean");
                let truth = self.rng.u8(..2);
                self.word(truth);
            }
            2 => {
                self.word("integer");
                self.number();
            }
            3 => {
                self.word("quarter");
                let quarters = self.rng.i32(..);
                self.word(quarters);
            }
            4 => {
                self.word("bulk");
                self.add_bytes();
            }
            5 => {
                self.word("simple");
                self.word("FINE");
            }
            _ => {
                self.word("error");
                self.word("OOPS this went wrong");
            }
        }
    }
}
