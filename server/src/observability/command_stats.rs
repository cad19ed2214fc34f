//! Counts the requests of each command, their time and their errors, for `INFO commandstats` and
//! `INFO errorstats`.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;

/// Most different codes of errors that are counted; functions can make up any number of them. Further
/// ones are counted together.
const CODES_MAX: usize = 128;

/// Longest code that is counted by its own name, in bytes.
const CODE_BYTES_MAX: usize = 32;

/// Code under which all others are counted.
const OTHER_CODES: &str = "OTHER";

/// Counters of every command, by its number in the table of commands.
#[derive(Debug, Default)]
pub(crate) struct CommandStats {
    /// Made when the names are known.
    commands: OnceLock<Box<[CommandCounters]>>,
    errors: Mutex<BTreeMap<Box<str>, u64>>,
}

/// Counters of one command.
#[derive(Debug, Default)]
struct CommandCounters {
    name: &'static str,
    calls: AtomicU64,
    failed: AtomicU64,
    rejected: AtomicU64,
    nanos: AtomicU64,
}

/// The counters of one command at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandFigures {
    /// Requests that ran.
    pub(crate) calls: u64,
    /// Those of them that replied an error.
    pub(crate) failed: u64,
    /// Requests that were refused before they ran.
    pub(crate) rejected: u64,
    /// Time that the requests took, without waits.
    pub(crate) time: Duration,
}

impl CommandStats {
    /// Begins to count the requests of commands with these names, in the order of their numbers.
    pub(crate) fn start(&self, names: impl Iterator<Item = &'static str>) {
        let commands = names.map(|name| CommandCounters {
            name,
            ..CommandCounters::default()
        });
        // A server that is started again on the same state goes on counting.
        let _ = self.commands.set(commands.collect());
    }

    fn counters(&self, command: u16) -> Option<&CommandCounters> {
        self.commands.get()?.get(usize::from(command))
    }

    /// Adds the counts of a batch of requests that took `time`, waits excluded.
    pub(crate) fn add(&self, batch: &BatchCounts, time: Duration) {
        let requests: u64 = batch.runs.iter().map(|run| u64::from(run.calls)).sum();
        for run in &batch.runs {
            let Some(counters) = self.counters(run.command) else {
                continue;
            };
            let calls = u64::from(run.calls);
            counters.calls.fetch_add(calls, Ordering::Relaxed);
            let share = time.as_nanos() * u128::from(calls) / u128::from(requests.max(1));
            let share = u64::try_from(share).unwrap_or(u64::MAX);
            counters.nanos.fetch_add(share, Ordering::Relaxed);
        }
    }

    /// Counts a request that replied an error. `command` is its number, if there is such a command;
    /// `reply` is the error as sent.
    #[cold]
    pub(crate) fn add_error(&self, command: Option<u16>, reply: &[u8]) {
        let code = code_of(reply);
        let refused = matches!(code, "NOAUTH" | "NOPERM" | "EXECABORT")
            || reply.starts_with(b"-ERR wrong number of arguments");
        if let Some(counters) = command.and_then(|at| self.counters(at)) {
            let counter = if refused {
                &counters.rejected
            } else {
                &counters.failed
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let mut errors = self.errors.lock();
        let code = if errors.contains_key(code) || errors.len() < CODES_MAX {
            code
        } else {
            OTHER_CODES
        };
        *errors.entry(code.into()).or_default() += 1;
    }

    /// Returns the names, in lower case, and the counters of all commands that were used.
    pub(crate) fn used(&self) -> Vec<(String, CommandFigures)> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let commands = self.commands.get().into_iter().flatten();
        let mut used: Vec<(String, CommandFigures)> = commands
            .map(|counters| {
                let rejected = load(&counters.rejected);
                let figures = CommandFigures {
                    calls: load(&counters.calls).saturating_sub(rejected),
                    failed: load(&counters.failed),
                    rejected,
                    time: Duration::from_nanos(load(&counters.nanos)),
                };
                (counters.name.to_ascii_lowercase(), figures)
            })
            .filter(|(_, figures)| *figures != CommandFigures::default())
            .collect();
        used.sort_by(|(one, _), (other, _)| one.cmp(other));
        used
    }

    /// Returns the number of errors replied, by their code.
    pub(crate) fn errors(&self) -> Vec<(Box<str>, u64)> {
        let errors = self.errors.lock();
        errors.iter().map(|(code, n)| (code.clone(), *n)).collect()
    }

    /// Sets all counters to zero.
    pub(crate) fn reset(&self) {
        for counters in self.commands.get().into_iter().flatten() {
            let CommandCounters {
                name: _,
                calls,
                failed,
                rejected,
                nanos,
            } = counters;
            for counter in [calls, failed, rejected, nanos] {
                counter.store(0, Ordering::Relaxed);
            }
        }
        self.errors.lock().clear();
    }
}

/// Returns the code of an error reply: its first word, if that looks like one.
fn code_of(reply: &[u8]) -> &str {
    let text = reply.strip_prefix(b"-").unwrap_or(reply);
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .unwrap_or(text.len());
    match std::str::from_utf8(&text[..end]) {
        Ok(code) if (1..=CODE_BYTES_MAX).contains(&code.len()) => code,
        _ => OTHER_CODES,
    }
}

/// The requests of one batch, counted without touching what threads share.
#[derive(Debug, Default)]
pub(crate) struct BatchCounts {
    /// Most batches are made of one or two commands.
    runs: SmallVec<[Run; 4]>,
}

/// The requests of one command.
#[derive(Debug)]
struct Run {
    command: u16,
    calls: u32,
}

impl BatchCounts {
    /// Counts a request of a command.
    #[inline]
    pub(crate) fn add(&mut self, command: u16) {
        // Searched from the end: most requests are of the command before them.
        let known = self.runs.iter_mut().rev();
        match known.into_iter().find(|run| run.command == command) {
            Some(run) => run.calls = run.calls.saturating_add(1),
            None => self.runs.push(Run { command, calls: 1 }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BatchCounts, CODES_MAX, CommandFigures, CommandStats};

    #[test]
    fn a_batch_shares_its_time_by_the_number_of_requests() {
        let stats = CommandStats::default();
        stats.start(["A", "B", "C"].into_iter());
        let mut batch = BatchCounts::default();
        for command in [1, 1, 2, 1] {
            batch.add(command);
        }
        stats.add(&batch, Duration::from_micros(8));
        stats.add_error(Some(1), b"-WRONGTYPE Operation\r\n");
        stats.add_error(Some(2), b"-NOPERM no\r\n");
        stats.add_error(None, b"-ERR unknown command\r\n");
        let used = stats.used();
        let expected = CommandFigures {
            calls: 3,
            failed: 1,
            rejected: 0,
            time: Duration::from_micros(6),
        };
        assert_eq!(used[0], ("b".to_owned(), expected));
        assert_eq!(
            (&*used[1].0, used[1].1.rejected, used[1].1.calls),
            ("c", 1, 0)
        );
        assert_eq!(used.len(), 2);
        let errors: Vec<_> = stats.errors();
        let codes: Vec<&str> = errors.iter().map(|(code, _)| &**code).collect();
        assert_eq!(codes, ["ERR", "NOPERM", "WRONGTYPE"]);
        stats.reset();
        assert!(stats.errors().is_empty() && stats.used().is_empty());
    }

    #[test]
    fn made_up_codes_do_not_fill_the_memory() {
        let stats = CommandStats::default();
        for number in 0..1000 {
            stats.add_error(None, format!("-E{number} x\r\n").as_bytes());
        }
        stats.add_error(None, b"-\xff\xff\r\n");
        stats.add_error(None, &[b'x'; 1000]);
        let errors = stats.errors();
        assert_eq!(errors.len(), CODES_MAX + 1);
        let sum: u64 = errors.iter().map(|(_, count)| count).sum();
        assert_eq!(sum, 1002);
    }
}
