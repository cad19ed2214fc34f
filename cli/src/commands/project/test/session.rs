//! One case's store and runtime, and its commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Result, anyhow, bail};
use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::CallRequest;
use ferrite_runtime::policy::quantity::HumanDuration;
use ferrite_store::{Clock, StoreOptions};

use crate::commands::run::data;
use crate::commands::run::loaded::{Loaded, Session as Running};
use crate::reply;

/// The store's time when a case begins, in milliseconds since 1970.
const START_MILLIS: i64 = 1_700_000_000_000;

/// A store that is empty at first, with the project's function beside it.
pub(super) struct Session<'a> {
    loaded: &'a Loaded,
    running: Running,
    clock: Arc<AtomicI64>,
}

impl<'a> Session<'a> {
    pub(super) fn start(loaded: &'a Loaded) -> Result<Self> {
        let clock = Arc::new(AtomicI64::new(START_MILLIS));
        let options = StoreOptions {
            clock: Clock::Manual(Arc::clone(&clock)),
            ..StoreOptions::default()
        };
        Ok(Self {
            loaded,
            running: loaded.start(&options, |_| Ok(()))?,
            clock,
        })
    }

    /// Runs one command and returns its reply as `redis-cli` prints it. The name of an entry calls it,
    /// and `WAIT` moves the time of expiries on; anything else is a command on the data.
    pub(super) fn run(&self, command: &str) -> Result<String> {
        let words = data::words(command)?;
        let Some((name, rest)) = words.split_first() else {
            bail!("there is no command");
        };
        let mut encoder = Encoder::new(Protocol::Resp2);
        if self.loaded.has_entry(name) {
            let (keys, args) = keys_and_args(rest)?;
            let name = self.running.name_of(Some(name));
            let request = CallRequest::new(&name, &keys, &args);
            self.running.call(&request, &mut encoder);
        } else if name.as_slice() == b"WAIT" {
            self.wait(rest)?;
            return Ok("OK\n".to_owned());
        } else {
            let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            self.running.command(&argv, &mut encoder)?;
        }
        Ok(reply::text::format(&reply::read(encoder.bytes())?))
    }

    fn wait(&self, words: &[Vec<u8>]) -> Result<()> {
        let [time] = words else {
            bail!("WAIT takes a time, such as 60s");
        };
        let HumanDuration(time) = String::from_utf8_lossy(time)
            .parse()
            .map_err(|error| anyhow!("WAIT: {error}"))?;
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let now = self.clock.load(Ordering::Acquire);
        // Past the time: a key lives to the end of the millisecond of its deadline.
        let then = now.saturating_add(millis).saturating_add(1);
        self.clock.store(then, Ordering::Release);
        Ok(())
    }
}

/// A call's keys, or its arguments.
type Words<'a> = Vec<&'a [u8]>;

/// Splits `KEYS … ARGS …`, as `WASM.CALL` reads it.
fn keys_and_args(words: &[Vec<u8>]) -> Result<(Words<'_>, Words<'_>)> {
    let (mut keys, mut args) = (Vec::new(), Vec::new());
    let (mut in_keys, mut in_args) = (false, false);
    let mut seen = (false, false);
    for word in words {
        if word.eq_ignore_ascii_case(b"KEYS") && !seen.0 {
            (in_keys, in_args, seen.0) = (true, false, true);
        } else if word.eq_ignore_ascii_case(b"ARGS") && !seen.1 {
            (in_keys, in_args, seen.1) = (false, true, true);
        } else if in_keys {
            keys.push(word.as_slice());
        } else if in_args {
            args.push(word.as_slice());
        } else {
            return Err(anyhow!(
                "`{}` stands before KEYS and ARGS",
                word.escape_ascii()
            ));
        }
    }
    Ok((keys, args))
}

#[cfg(test)]
mod tests {
    use super::keys_and_args;

    fn split(text: &str) -> Option<(Vec<String>, Vec<String>)> {
        let words: Vec<Vec<u8>> = text.split_whitespace().map(Into::into).collect();
        let texts = |list: Vec<&[u8]>| {
            list.iter()
                .map(|it| it.escape_ascii().to_string())
                .collect()
        };
        let (keys, args) = keys_and_args(&words).ok()?;
        Some((texts(keys), texts(args)))
    }

    #[test]
    fn each_word_divides_once() {
        let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        for (text, keys, args) in [
            ("", &[][..], &[][..]),
            ("KEYS a b args 1", &["a", "b"], &["1"]),
            ("ARGS 1 KEYS a", &["a"], &["1"]),
            ("KEYS a ARGS KEYS ARGS", &["a"], &["KEYS", "ARGS"]),
        ] {
            assert_eq!(split(text), Some((owned(keys), owned(args))), "{text}");
        }
        assert_eq!(split("a KEYS b"), None);
    }
}
