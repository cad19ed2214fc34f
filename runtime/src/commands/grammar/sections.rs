//! `[TIMEOUT ms] [KEYS key …] [ARGS arg …]`, read without copying anything.
//!
//! Everything after `KEYS` is a key, up to the word `ARGS`; everything after `ARGS` is an argument,
//! up to the word `KEYS`; both in any case. After both words, no word is special any more. So any
//! value can follow `KEYS … ARGS`, which makes that order (if necessary without keys) the one for
//! values from outside. For a key that is itself named `ARGS`, use `FCALL`, which counts.

use std::ops::Range;
use std::time::Duration;

use super::options::{time, unknown};
use crate::commands::error::CommandError;
use crate::commands::spec::Spec;

const TIMEOUT: &str = "TIMEOUT";
const KEYS: &str = "KEYS";
const ARGS: &str = "ARGS";

/// The words of a request that are keys and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands) struct Sections {
    pub(in crate::commands) timeout: Option<Duration>,
    pub(in crate::commands) keys: Range<usize>,
    pub(in crate::commands) args: Range<usize>,
}

impl Sections {
    /// Parses the words from `first` on.
    pub(in crate::commands) fn read(
        spec: &'static Spec,
        argv: &[&[u8]],
        first: usize,
    ) -> Result<Self, CommandError> {
        let command = spec.name;
        let mut sections = Self {
            timeout: None,
            keys: 0..0,
            args: 0..0,
        };
        let mut at = first;
        while let Some(&word) = argv.get(at) {
            if is(word, KEYS) {
                (sections.keys, sections.args) = split(argv, at + 1, ARGS);
                break;
            }
            if is(word, ARGS) {
                (sections.args, sections.keys) = split(argv, at + 1, KEYS);
                break;
            }
            if !is(word, TIMEOUT) {
                return Err(unknown(command, word, &[TIMEOUT, KEYS, ARGS]));
            }
            let option = TIMEOUT;
            let Some(value) = argv.get(at + 1) else {
                return Err(CommandError::NoValue { command, option });
            };
            let timeout = time(command, option, value)?;
            if timeout < Duration::from_millis(1) {
                return Err(CommandError::Zero { command, option });
            }
            if sections.timeout.replace(timeout).is_some() {
                return Err(CommandError::Twice { command, option });
            }
            at += 2;
        }
        Ok(sections)
    }
}

/// Returns the words from `start` to the word `other`, and those after it.
fn split(argv: &[&[u8]], start: usize, other: &str) -> (Range<usize>, Range<usize>) {
    let end = argv.len();
    match argv[start..].iter().position(|word| is(word, other)) {
        Some(length) => (start..start + length, start + length + 1..end),
        None => (start..end, end..end),
    }
}

#[inline]
fn is(word: &[u8], keyword: &str) -> bool {
    word.len() == keyword.len() && word.eq_ignore_ascii_case(keyword.as_bytes())
}
