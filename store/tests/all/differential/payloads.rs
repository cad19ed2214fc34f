//! Values that one server dumps and the other restores are the same in both.

use ferrite_protocol::resp::Protocol;

use super::generate::{Generator, KEYS};
use super::reply::Reply;
use super::{Pair, show};

/// Commands before the values of a round cross over.
const COMMANDS: usize = 120;
const ROUNDS: u64 = 60;

fn words(line: &[&[u8]]) -> Vec<Vec<u8>> {
    line.iter().map(|word| word.to_vec()).collect()
}

fn payload(reply: &Reply) -> Option<&[u8]> {
    match reply {
        Reply::Leaf(b'$', payload) if payload != b"nil" => Some(payload),
        _ => None,
    }
}

impl Pair {
    /// Restores each key's value as `x` from the other server's payload, and compares `x`.
    fn cross_over(&mut self, key: &[u8]) -> Result<(), String> {
        let (ours, theirs) = self.both(&words(&[b"DUMP", key]));
        let (ours, theirs) = match (payload(&ours), payload(&theirs)) {
            (Some(ours), Some(theirs)) => (ours, theirs),
            (None, None) => return Ok(()),
            _ => return Err(format!("only one server has the key {}", show(key))),
        };
        let restore = |payload| words(&[b"RESTORE", b"x", b"0", payload, b"REPLACE"]);
        for (reply, name) in [
            (self.ours.run(&restore(theirs)), "here"),
            (self.valkey.run(&restore(ours)), "in Valkey"),
        ] {
            if reply != b"+OK\r\n" {
                let (reply, key) = (show(&reply), show(key));
                return Err(format!("{key} could not be restored {name}: {reply}"));
            }
        }
        self.compare(b"x")
    }
}

#[test]
fn a_dumped_value_restores_in_the_other_server() {
    let Some(mut pair) = Pair::start(Protocol::Resp2) else {
        return;
    };
    let mut crossed = 0;
    for seed in 0..ROUNDS {
        let mut generator = Generator::new(seed);
        let outcome = (|| {
            pair.begin()?;
            for _ in 0..COMMANDS {
                let argv = generator.command();
                pair.check(&argv)?;
            }
            // Long values, which take other forms.
            let long: Vec<Vec<u8>> = (0..700)
                .map(|n: u32| format!("{}-{}", n, "ab".repeat(n as usize % 60)).into_bytes())
                .collect();
            for (name, key, width) in [("RPUSH", "l", 1), ("SADD", "s", 1), ("HSET", "h", 2)] {
                let mut argv = words(&[name.as_bytes(), key.as_bytes()]);
                argv.extend(long[..(100 + 8 * seed as usize) / width * width].to_vec());
                pair.check(&argv)?;
            }
            let mut argv = words(&[b"ZADD", b"z"]);
            for (score, member) in long[..100 + 8 * seed as usize].iter().enumerate() {
                argv.push((score as f64 / 7.0).to_string().into_bytes());
                argv.push(member.clone());
            }
            pair.check(&argv)?;
            pair.select("0");
            for key in KEYS.iter().chain(&["g", "l", "s", "h", "z"]) {
                crossed += 1;
                pair.cross_over(key.as_bytes())?;
            }
            Ok(())
        })();
        outcome.unwrap_or_else(|difference: String| panic!("seed {seed}: {difference}"));
    }
    assert!(crossed > 0);
}
