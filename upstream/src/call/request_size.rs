//! The size of a request, and the engine's limits on it.
//!
//! An engine that does not take a request for its size may close the connection without a word. Whether that
//! was the reason can only be known from its settings.

use ferrite_store::Words;
use redis::Value;

use crate::error::UpstreamError;
use crate::pool::Route;

/// Bytes by which an engine's buffer may hold more than the request that is being read.
const BUFFER_SLACK: u64 = 64 * 1024;

/// The size of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestSize {
    /// Bytes of all words.
    pub(super) bytes: u64,
    /// Bytes of the longest one.
    pub(super) longest: u64,
}

impl RequestSize {
    pub(super) fn add(&mut self, word: &[u8]) {
        self.bytes += word.len() as u64;
        self.longest = self.longest.max(word.len() as u64);
    }

    /// Returns the size of all commands.
    pub(super) fn of(commands: &[Words]) -> Self {
        let mut size = Self::default();
        commands.iter().flatten().for_each(|word| size.add(word));
        size
    }
}

/// The relation of a request to the engine's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is well below them.
    Fits,
    /// The engine never takes it, for this reason.
    TooLarge(Box<str>),
    /// The limits are not known, or the request is close to one.
    Unknown,
}

/// An engine's limits on requests, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EngineLimits {
    /// `proto-max-bulk-len`.
    word: u64,
    /// `client-query-buffer-limit`: what has come of a word and is not read yet.
    buffer: u64,
}

impl EngineLimits {
    /// Asks the server that has a slot.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or refuses the question.
    pub(super) async fn ask(route: &Route<'_>, slot: Option<u16>) -> Result<Self, UpstreamError> {
        Ok(Self {
            word: ask(route, slot, "proto-max-bulk-len").await?,
            buffer: ask(route, slot, "client-query-buffer-limit").await?,
        })
    }

    pub(super) fn fit(&self, size: RequestSize) -> Fit {
        let Self { word, buffer } = *self;
        for (setting, limit) in [
            ("proto-max-bulk-len", word),
            ("client-query-buffer-limit", buffer),
        ] {
            if size.longest > limit {
                let longest = size.longest;
                let reason =
                    format!("one word of it has {longest} bytes, and {setting} is {limit}");
                return Fit::TooLarge(reason.into());
            }
        }
        match size.bytes.saturating_add(BUFFER_SLACK) <= word.min(buffer) {
            true => Fit::Fits,
            false => Fit::Unknown,
        }
    }
}

async fn ask(route: &Route<'_>, slot: Option<u16>, setting: &str) -> Result<u64, UpstreamError> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg(setting);
    let reply = route.send(slot, &command).await?;
    number(&reply).ok_or_else(|| UpstreamError::Garbage {
        address: route.place(),
        reason: "CONFIG GET answered no number".into(),
    })
}

/// Reads the number in the reply to `CONFIG GET` of one setting.
fn number(reply: &Value) -> Option<u64> {
    let digits = match reply {
        Value::Array(parts) => match parts.as_slice() {
            [_, Value::BulkString(digits)] => digits,
            _ => return None,
        },
        // In RESP3.
        Value::Map(pairs) => match pairs.as_slice() {
            [(_, Value::BulkString(digits))] => digits,
            _ => return None,
        },
        _ => return None,
    };
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{EngineLimits, Fit, RequestSize, Value, number};

    #[test]
    fn only_what_the_settings_prove_is_said() {
        const MIB: u64 = 1 << 20;
        let limits = EngineLimits {
            word: 4 * MIB,
            buffer: 2 * MIB,
        };
        let fit = |bytes, longest| limits.fit(RequestSize { bytes, longest });
        assert_eq!(fit(MIB, MIB), Fit::Fits);
        assert_eq!(fit(2 * MIB, MIB), Fit::Unknown, "close to the buffer's");
        assert_eq!(fit(9 * MIB, MIB), Fit::Unknown, "many short words");
        for (longest, setting) in [
            (2 * MIB + 1, "client-query-buffer-limit is 2097152"),
            (5 * MIB, "proto-max-bulk-len is 4194304"),
        ] {
            let Fit::TooLarge(reason) = fit(longest + 9, longest) else {
                panic!("{longest} is taken")
            };
            assert!(reason.contains(setting), "{reason}");
        }
    }

    #[test]
    fn a_setting_that_the_engine_does_not_have_is_no_number() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let known = Value::Array(vec![text("proto-max-bulk-len"), text("1048576")]);
        assert_eq!(number(&known), Some(1 << 20));
        let known = Value::Map(vec![(text("proto-max-bulk-len"), text("7"))]);
        assert_eq!(number(&known), Some(7));
        assert_eq!(number(&Value::Array(Vec::new())), None);
        assert_eq!(number(&Value::Nil), None);
    }
}
