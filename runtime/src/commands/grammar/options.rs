//! Options in any order: words followed by a value, and words that stand alone.

use crate::policy::quantity::HumanDuration;
use crate::policy::strict_json::nearest;

use crate::commands::error::CommandError;
use crate::commands::spec::Spec;

/// Iterates over the words of a request that are options.
pub(in crate::commands) struct Options<'a> {
    command: &'static str,
    rest: &'a [&'a [u8]],
}

impl<'a> Options<'a> {
    /// Starts at the word `first` of a request.
    pub(in crate::commands) fn new(
        spec: &'static Spec,
        argv: &'a [&'a [u8]],
        first: usize,
    ) -> Self {
        Self {
            command: spec.name,
            rest: argv.get(first..).unwrap_or_default(),
        }
    }

    /// Returns the next option, as written in `known`.
    pub(in crate::commands) fn next(
        &mut self,
        known: &'static [&'static str],
    ) -> Result<Option<&'static str>, CommandError> {
        let Some((word, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        known
            .iter()
            .find(|option| option.as_bytes().eq_ignore_ascii_case(word))
            .map(|option| Some(*option))
            .ok_or_else(|| unknown(self.command, word, known))
    }

    /// Returns all words that were not read yet.
    pub(in crate::commands) const fn rest(&self) -> &'a [&'a [u8]] {
        self.rest
    }

    /// Puts the value after `option` into `slot`.
    pub(in crate::commands) fn value(
        &mut self,
        option: &'static str,
        slot: &mut Option<&'a [u8]>,
    ) -> Result<(), CommandError> {
        let command = self.command;
        let Some((value, rest)) = self.rest.split_first() else {
            return Err(CommandError::NoValue { command, option });
        };
        self.rest = rest;
        if slot.replace(value).is_some() {
            return Err(CommandError::Twice { command, option });
        }
        Ok(())
    }

    /// Records an option without a value.
    pub(in crate::commands) fn flag(
        &self,
        option: &'static str,
        flag: &mut bool,
    ) -> Result<(), CommandError> {
        if std::mem::replace(flag, true) {
            return Err(CommandError::Twice {
                command: self.command,
                option,
            });
        }
        Ok(())
    }
}

#[cold]
pub(in crate::commands) fn unknown(
    command: &'static str,
    word: &[u8],
    known: &'static [&'static str],
) -> CommandError {
    CommandError::Option {
        command,
        option: word.into(),
        nearest: nearest(&String::from_utf8_lossy(word), known.iter().copied()),
        known,
    }
}

/// Parses the value of an option that is a time.
pub(in crate::commands) fn time(
    command: &'static str,
    option: &'static str,
    value: &[u8],
) -> Result<std::time::Duration, CommandError> {
    let HumanDuration(time) =
        String::from_utf8_lossy(value)
            .parse()
            .map_err(|problem| CommandError::Quantity {
                command,
                option,
                problem,
            })?;
    Ok(time)
}
