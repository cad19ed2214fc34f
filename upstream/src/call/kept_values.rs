//! Values that calls keep for later calls, of which the engine tells when they change.
//!
//! Every account has a connection of its own in each database, on which the engine remembers the keys that were
//! read (`CLIENT TRACKING`). What it tells may come late, so nothing that is kept is trusted: a commit proves it,
//! and a call that writes nothing reads everything again once it has run, and compares.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ferrite_store::Words;
use parking_lot::Mutex;

use super::snapshot::{Bounds, Fetched, FetchedContent, Snapshot};
use super::wanted::{Wanted, WantedKey};
use crate::account::Account;
use crate::error::UpstreamError;
use crate::metrics::Metrics;
use crate::net::connection::{Change, OnChange};
use crate::pool::{Line, Pool};
use crate::value_cache::{Ticket, ValueCache};

/// Time before its deadline from which on a key is read anew, in milliseconds: the engine's clock is known only to
/// about a round trip.
const DEADLINE_MARGIN: i64 = 1000;

/// Time after which the engine's clock is read anew: it may have been set, or run at another speed.
const CLOCK_AGE_MAX: Duration = Duration::from_secs(60);

/// Beginnings of the errors with which an engine refuses to tell of changes for good. After any other, such as
/// `ERR max number of clients reached`, a later call tries again.
const LASTING_ERRORS: [&str; 5] = [
    "NOPROTO",
    "NOPERM",
    "ERR unknown command",
    "ERR unknown subcommand",
    "ERR Unknown subcommand",
];

/// First byte of a dump from which on the value may be a hash whose fields have deadlines, or a type of other
/// engines.
const DUMP_WITH_DEADLINES: u8 = 22;

/// All that is kept.
#[derive(Debug)]
pub(super) struct KeptValues {
    values: Arc<ValueCache<Fetched>>,
    spaces_max: usize,
    spaces: Mutex<Vec<Arc<Space>>>,
    last_space: AtomicU64,
    /// Accounts that the engine does not tell of changes.
    untold: Mutex<HashSet<Account>>,
}

/// Values that are kept for one account in one database.
#[derive(Debug)]
pub(super) struct Space {
    number: u64,
    account: Account,
    database: u32,
    values: Arc<ValueCache<Fetched>>,
    metrics: Arc<Metrics>,
    pub(super) line: Arc<Line>,
    clock: Mutex<Clock>,
}

/// The engine's time as it was read, and when that was.
#[derive(Debug, Default)]
struct Clock(Option<(i64, Instant)>);

impl Drop for Space {
    fn drop(&mut self) {
        self.values.clear(self.number);
    }
}

impl KeptValues {
    /// With 0 bytes, nothing is kept.
    pub(super) fn new(bytes_max: u64, spaces_max: usize) -> Self {
        Self {
            values: Arc::new(ValueCache::new(bytes_max)),
            spaces_max: match bytes_max {
                0 => 0,
                _ => spaces_max.max(1),
            },
            spaces: Mutex::default(),
            last_space: AtomicU64::new(0),
            untold: Mutex::default(),
        }
    }

    /// Returns the bytes of everything that is kept.
    pub(super) fn bytes(&self) -> u64 {
        self.values.bytes()
    }

    /// Returns the space of an account in a database; `None` if nothing is kept for it.
    pub(super) async fn space(
        &self,
        pool: &Pool,
        metrics: &Arc<Metrics>,
        account: &Account,
        database: u32,
    ) -> Option<Arc<Space>> {
        if self.spaces_max == 0 || self.untold.lock().contains(account) {
            return None;
        }
        let space = self.get_or_add(pool, metrics, account, database)?;
        match space.line.make_open().await {
            Err(UpstreamError::Refused(text)) => {
                if is_lasting(&text) && self.untold.lock().insert(account.clone()) {
                    tracing::info!(?account, error = %text, "the engine does not tell of changes; nothing is kept for other calls");
                }
                None
            }
            // Any other way would fail as well, and says why.
            Ok(()) | Err(_) => Some(space),
        }
    }

    fn get_or_add(
        &self,
        pool: &Pool,
        metrics: &Arc<Metrics>,
        account: &Account,
        database: u32,
    ) -> Option<Arc<Space>> {
        let mut spaces = self.spaces.lock();
        let known = spaces
            .iter()
            .find(|one| one.account == *account && one.database == database);
        if let Some(space) = known {
            return Some(Arc::clone(space));
        }
        if spaces.len() >= self.spaces_max {
            // The oldest that no call uses makes room.
            let unused = spaces
                .iter()
                .position(|space| Arc::strong_count(space) == 1)?;
            spaces.remove(unused);
        }
        let number = self.last_space.fetch_add(1, Ordering::Relaxed);
        let on_change = on_change(number, &self.values, metrics);
        let space = Arc::new(Space {
            number,
            account: account.clone(),
            database,
            values: Arc::clone(&self.values),
            metrics: Arc::clone(metrics),
            line: Arc::new(pool.line_with_changes(account, database, on_change)?),
            clock: Mutex::default(),
        });
        spaces.push(Arc::clone(&space));
        Some(space)
    }
}

/// Returns true if an engine that refuses with this error will never tell of changes.
fn is_lasting(error: &str) -> bool {
    LASTING_ERRORS.iter().any(|start| error.starts_with(start))
}

/// Returns what removes the values of a space that have changed.
fn on_change(space: u64, values: &Arc<ValueCache<Fetched>>, metrics: &Arc<Metrics>) -> OnChange {
    let (values, metrics) = (Arc::clone(values), Arc::clone(metrics));
    Arc::new(move |change| {
        let removed = match change {
            Change::All => values.clear(space),
            Change::Keys(keys) => {
                let removed = keys.iter().filter(|key| values.remove(space, key));
                removed.count()
            }
        };
        metrics.kept_invalidated.add(removed as u64);
    })
}

impl Space {
    /// Returns all that is wanted, if all of it is kept.
    pub(super) fn look_up(&self, wanted: &Wanted, bounds: &Bounds) -> Option<Snapshot> {
        let now = self.clock.lock().at(Instant::now());
        let now = now.filter(|_| self.line.is_open());
        let mut keys = Vec::with_capacity(wanted.keys().len());
        let mut missed = 0;
        for (key, wanted) in wanted.keys() {
            let kept = self.values.get(self.number, key);
            match kept.and_then(|kept| part(kept, wanted, now?)) {
                Some(kept) => keys.push(kept),
                None => missed += 1,
            }
        }
        let snapshot = Snapshot { now, keys };
        if missed > 0 || snapshot.bytes() > bounds.values_bytes_max {
            self.metrics.kept_misses.add(missed);
            return None;
        }
        self.metrics.kept_hits.add(snapshot.keys.len() as u64);
        Some(snapshot)
    }

    /// Awaits what is wanted, before it is fetched.
    pub(super) fn await_wanted(&self, wanted: &Wanted) -> Ticket {
        let keys = wanted.keys().iter().map(|(key, _)| &**key);
        self.values.await_values(self.number, keys)
    }

    /// Keeps what was fetched.
    pub(super) fn keep(&self, ticket: Ticket, fetched: &Snapshot) {
        if let Some(now) = fetched.now {
            self.clock.lock().set(now, Instant::now());
        }
        for fetched in &fetched.keys {
            let _ = self.keep_one(ticket, fetched);
        }
    }

    /// Keeps a key, if it may be kept; returns true if it is.
    fn keep_one(&self, ticket: Ticket, fetched: &Arc<Fetched>) -> bool {
        let key = &fetched.key;
        if !is_keepable(&fetched.content) {
            self.values.remove(self.number, key);
            return false;
        }
        let bytes = fetched.content.bytes() + field_bytes(&fetched.content);
        let fetched = Arc::clone(fetched);
        self.values.fill(self.number, ticket, key, fetched, bytes)
    }

    /// Removes all keys that a call has read.
    pub(super) fn forget(&self, snapshot: &Snapshot) {
        for fetched in &snapshot.keys {
            self.values.remove(self.number, &fetched.key);
        }
    }

    /// Takes up that these commands are about to be committed.
    pub(super) fn begin_commit<'c>(
        &self,
        snapshot: &Snapshot,
        commands: &'c [Words],
    ) -> Committing<'_, 'c> {
        let written = written(snapshot, commands);
        self.remove_written(commands);
        let keys = written.iter().map(|fetched| &*fetched.key);
        let ticket = self.values.await_values(self.number, keys);
        Committing {
            space: self,
            commands,
            ticket,
            written,
            kept: Vec::new(),
        }
    }

    fn remove_written(&self, commands: &[Words]) {
        for words in commands {
            self.values.remove(self.number, &words[1]);
        }
    }
}

impl Clock {
    /// Returns the engine's time at `instant`, in milliseconds; `None` if it was read too long ago.
    fn at(&self, instant: Instant) -> Option<i64> {
        let (time, read) = self.0?;
        let passed = instant.saturating_duration_since(read);
        let millis = i64::try_from(passed.as_millis()).ok()?;
        (passed <= CLOCK_AGE_MAX).then_some(time + millis)
    }

    /// Takes up the engine's time, unless it is already known to be later: a reply that came late shows an
    /// earlier time.
    fn set(&mut self, time: i64, instant: Instant) {
        if self.at(instant).is_none_or(|known| known < time) {
            self.0 = Some((time, instant));
        }
    }
}

/// A commit that is under way. Until it ends, or if it never does because its client has left, nothing is kept of
/// what it writes.
#[derive(Debug)]
pub(super) struct Committing<'s, 'c> {
    space: &'s Space,
    commands: &'c [Words],
    ticket: Ticket,
    /// Keys whose state is known afterwards.
    written: Vec<Arc<Fetched>>,
    /// Those that are kept.
    kept: Vec<Arc<Fetched>>,
}

impl Drop for Committing<'_, '_> {
    fn drop(&mut self) {
        let kept: HashSet<&[u8]> = self.kept.iter().map(|one| &*one.key).collect();
        // Others of this server may have read them before they were written, of which the engine tells nothing.
        for words in self.commands {
            if !kept.contains(words[1].as_slice()) {
                self.space.values.remove(self.space.number, &words[1]);
            }
        }
    }
}

impl Committing<'_, '_> {
    /// Returns true if the engine has to tell of changes of the keys from now on.
    pub(super) fn wants_changes(&self) -> bool {
        !self.written.is_empty()
    }

    /// Keeps what was written, if it was.
    pub(super) fn end(mut self, is_committed: bool) {
        if is_committed {
            self.kept = std::mem::take(&mut self.written);
            let (space, ticket) = (self.space, self.ticket);
            self.kept.retain(|one| space.keep_one(ticket, one));
        }
    }
}

/// Returns true for values that stay as they are until the engine tells otherwise.
fn is_keepable(content: &FetchedContent) -> bool {
    match content {
        FetchedContent::Absent | FetchedContent::Text(_) | FetchedContent::Fields(_) => true,
        FetchedContent::Dump(payload) => payload
            .first()
            .is_some_and(|kind| *kind < DUMP_WITH_DEADLINES),
        // The reason depends on what else was fetched.
        FetchedContent::Opaque { .. } => false,
    }
}

/// Returns the bytes of the names of fields.
fn field_bytes(content: &FetchedContent) -> u64 {
    match content {
        FetchedContent::Fields(fields) => fields
            .iter()
            .map(|(field, _)| field.len() as u64 + 64)
            .sum(),
        _ => 0,
    }
}

/// Returns the part of a kept key that is wanted; `None` if more is wanted, or its deadline is near.
fn part(kept: Arc<Fetched>, wanted: &WantedKey, now: i64) -> Option<Arc<Fetched>> {
    if kept.deadline >= 0 && kept.deadline <= now + DEADLINE_MARGIN {
        return None;
    }
    let FetchedContent::Fields(known) = &kept.content else {
        return Some(kept);
    };
    if wanted.whole {
        return None;
    }
    let names = |(name, _): &(Box<[u8]>, _), field: &[u8]| **name == *field;
    if known.len() == wanted.fields.len()
        && known
            .iter()
            .zip(&wanted.fields)
            .all(|(one, field)| names(one, field))
    {
        return Some(kept);
    }
    let fields = wanted
        .fields
        .iter()
        .map(|field| known.iter().find(|one| names(one, field)).cloned());
    Some(Arc::new(Fetched {
        key: kept.key.clone(),
        deadline: kept.deadline,
        content: FetchedContent::Fields(fields.collect::<Option<_>>()?),
    }))
}

/// Returns the keys whose state after these commands is known from what was read.
fn written(snapshot: &Snapshot, commands: &[Words]) -> Vec<Arc<Fetched>> {
    let mut written: Vec<(&[u8], Option<Fetched>)> = Vec::new();
    for words in commands {
        let key = words[1].as_slice();
        if written.last().map(|(last, _)| *last) != Some(key) {
            // Those of one key follow each other.
            let read = snapshot.keys.iter().find(|fetched| *fetched.key == *key);
            let read = read.filter(|fetched| is_keepable(&fetched.content));
            let read = read.map(|fetched| Fetched {
                key: key.into(),
                deadline: fetched.deadline,
                content: fetched.content.clone(),
            });
            written.push((key, read));
        }
        if let Some((_, state)) = written.last_mut() {
            *state = after(state.take(), key, words);
        }
    }
    written
        .into_iter()
        .filter_map(|(_, state)| state.map(Arc::new))
        .collect()
}

/// Returns the state of a key after one more command; `None` if it is not known.
fn after(state: Option<Fetched>, key: &[u8], words: &Words) -> Option<Fetched> {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    match words.as_slice() {
        [b"SET", _, text] => Some(Fetched {
            key: key.into(),
            deadline: -1,
            content: FetchedContent::Text(text.to_vec()),
        }),
        [b"DEL", _] => Some(Fetched {
            key: key.into(),
            deadline: -2,
            content: FetchedContent::Absent,
        }),
        [b"PERSIST", _] => state.map(|state| Fetched {
            deadline: -1,
            ..state
        }),
        [b"PEXPIREAT", _, millis] => {
            let deadline = std::str::from_utf8(millis).ok()?.parse().ok()?;
            state.map(|state| Fetched { deadline, ..state })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Arc, CLOCK_AGE_MAX, Clock, DEADLINE_MARGIN, Duration, Fetched, FetchedContent, Instant,
        Snapshot, WantedKey, Words, is_lasting, part, written,
    };

    fn fetched(deadline: i64, content: FetchedContent) -> Arc<Fetched> {
        let key = b"key"[..].into();
        Arc::new(Fetched {
            key,
            deadline,
            content,
        })
    }

    fn text(text: &str) -> FetchedContent {
        FetchedContent::Text(text.into())
    }

    fn commands(lines: &[&str]) -> Vec<Words> {
        let words = |line: &&str| {
            line.split(' ')
                .map(|word| word.as_bytes().to_vec())
                .collect()
        };
        lines.iter().map(words).collect()
    }

    #[test]
    fn a_written_key_is_kept_as_far_as_it_is_known() {
        let dump = || FetchedContent::Dump(b"\x01payload".to_vec());
        for (held, lines, expected) in [
            (text("a"), &["SET key b"][..], Some((-1, text("b")))),
            (
                text("a"),
                &["SET key b", "PEXPIREAT key 9"],
                Some((9, text("b"))),
            ),
            (text("a"), &["PERSIST key"], Some((-1, text("a")))),
            (text("a"), &["DEL key"], Some((-2, FetchedContent::Absent))),
            (dump(), &["PEXPIREAT key 9"], Some((9, dump()))),
            (dump(), &["RPUSH key x"], None),
            (dump(), &["DEL key", "SADD key x"], None),
            (dump(), &["RPUSH key x", "PEXPIREAT key 9"], None),
        ] {
            let snapshot = Snapshot {
                now: None,
                keys: vec![fetched(5, held)],
            };
            let kept = written(&snapshot, &commands(lines));
            let expected: Vec<_> = expected
                .map(|(deadline, content)| fetched(deadline, content))
                .into_iter()
                .collect();
            assert_eq!(kept, expected, "{lines:?}");
        }
        // A key that was not read is known once it is set.
        let kept = written(
            &Snapshot::default(),
            &commands(&["SET key b", "PEXPIREAT other 9"]),
        );
        assert_eq!(kept, [fetched(-1, text("b"))]);
    }

    #[test]
    fn no_more_is_given_than_is_known_for_sure() {
        let fields = |names: &[&str]| WantedKey {
            whole: false,
            fields: names.iter().map(|name| name.as_bytes().into()).collect(),
        };
        let known = |names: &[&str]| {
            let pairs = names.iter().map(|name| (name.as_bytes().into(), None));
            fetched(-1, FetchedContent::Fields(pairs.collect()))
        };
        let kept = known(&["a", "b"]);
        for (wanted, expected) in [
            (&["a", "b"][..], Some(known(&["a", "b"]))),
            (&["b"], Some(known(&["b"]))),
            (&[], Some(known(&[]))),
            (&["b", "c"], None),
        ] {
            assert_eq!(
                part(Arc::clone(&kept), &fields(wanted), 0),
                expected,
                "{wanted:?}"
            );
        }
        let whole = WantedKey {
            whole: true,
            fields: Vec::new(),
        };
        assert_eq!(part(kept, &whole, 0), None);
        let dies = fetched(10 * DEADLINE_MARGIN, text("a"));
        let at = |now| part(Arc::clone(&dies), &whole, now).is_some();
        assert!(at(8 * DEADLINE_MARGIN) && !at(9 * DEADLINE_MARGIN) && !at(99 * DEADLINE_MARGIN));
    }

    #[test]
    fn an_engine_that_refuses_once_is_asked_again() {
        for error in [
            "ERR max number of clients reached",
            "ERR Client sent AUTH, but no password is set",
            "LOADING Redis is loading the dataset in memory",
        ] {
            assert!(!is_lasting(error), "{error}");
        }
        for error in [
            "NOPROTO unsupported protocol version",
            "NOPERM User untold has no permissions to run the 'client|tracking' command",
            "ERR unknown command `HELLO`, with args beginning with: `3`",
            "ERR unknown subcommand 'TRACKING'. Try CLIENT HELP.",
            "ERR Unknown subcommand or wrong number of arguments for 'TRACKING'. Try CLIENT HELP.",
        ] {
            assert!(is_lasting(error), "{error}");
        }
    }

    #[test]
    fn the_clock_of_the_engine_does_not_run_backwards() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut clock = Clock::default();
        assert_eq!(clock.at(start), None);
        clock.set(1000, start);
        assert_eq!(clock.at(after(10)), Some(1010));
        // This reply was under way for longer.
        clock.set(1005, after(10));
        assert_eq!(clock.at(after(10)), Some(1010));
        clock.set(1020, after(10));
        assert_eq!(clock.at(after(11)), Some(1021));
        // What was read too long ago says nothing any more.
        let late = after(10) + CLOCK_AGE_MAX;
        assert!(clock.at(late).is_some());
        let later = late + Duration::from_millis(1);
        assert_eq!(clock.at(later), None);
        clock.set(500, later);
        assert_eq!(clock.at(later), Some(500));
    }
}
