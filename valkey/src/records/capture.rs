//! The way of keyspace events into the queue, in the execution unit of the change that caused them.
//!
//! A command of a client causes an event in the midst of its work, where nothing may be written. So what
//! happened is noted, and queued by a job that the server runs after the command, before it sends the
//! unit to replicas and the append-only file. Redis 7.0 has no such jobs; there the event is queued at
//! once, which that version's own tests do in the same places.
//!
//! Commands that a function runs may be undone. Their events are held until the function commits.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrite_protocol::events::{EventSink, EventValue, KeyspaceEvent, in_partition, partition_of};

use crate::api::cluster_nodes;
use crate::api::collection::HeldValue;
use crate::api::command_call::RunError;
use crate::api::context::Context;
use crate::api::ffi;
use crate::api::key::OpenKey;
use crate::api::locked_cell::LockedCell;
use crate::api::string::Borrowed;
use crate::records::known::Name;
use crate::records::noted::Noted;
use crate::records::place::{Place, Queue, is_queue};
use crate::records::queue::{self, Changes};
use crate::records::{arriving, own_slots};

/// Most bytes of a value that is read for an event.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// The part of the runtime that wants events.
static SINK: OnceLock<Arc<dyn EventSink>> = OnceLock::new();

/// Lets the server run [`after_command`] after the present command; returns false if it does not.
type Defer = fn(Context<'_>) -> bool;

/// Not set where the server has no such jobs.
static DEFER: OnceLock<Defer> = OnceLock::new();

/// True while there are triggers. Read for every event of the server.
static SENDING: AtomicBool = AtomicBool::new(false);

/// Events that are queued by a job after the present command.
static NOTED: LockedCell<Noted<Seen>> = LockedCell::new(Noted::new());

/// The last value of a wanted key that went away, until the event about it comes.
static GONE: LockedCell<Option<Gone>> = LockedCell::new(None);

/// The fate of events that commands of a function cause.
static MODE: LockedCell<Mode> = LockedCell::new(Mode::Queue);

/// An event that was seen, with the values of its key.
pub(crate) struct Seen {
    database: u32,
    key: Box<[u8]>,
    name: Box<str>,
    old: Option<HeldValue>,
    new: Option<HeldValue>,
}

struct Gone {
    database: c_int,
    key: Box<[u8]>,
    /// The event that will tell of it.
    event: &'static str,
    value: HeldValue,
}

#[derive(Default)]
enum Mode {
    /// They are queued.
    #[default]
    Queue,
    /// They are held.
    Hold(Vec<Seen>),
    /// They are forgotten: the commands are undone at once.
    Ignore,
}

/// Sets the part of the runtime that wants events.
pub(crate) fn set_sink(sink: Arc<dyn EventSink>) {
    let _ = SINK.set(sink);
}

/// Sets the way to run [`after_command`] after the present command.
pub(crate) fn set_defer(defer: Defer) {
    let _ = DEFER.set(defer);
}

/// Starts or stops passing events on.
pub(crate) fn send(send: bool) {
    SENDING.store(send, Ordering::Relaxed);
}

/// Returns true if events are passed on.
#[inline]
pub(crate) fn is_sending() -> bool {
    SENDING.load(Ordering::Relaxed)
}

/// Runs commands of a function, and returns the events that they caused.
pub(crate) fn hold<R>(context: Context<'_>, run: impl FnOnce() -> R) -> (R, Vec<Seen>) {
    let (result, mode) = in_mode(context, Mode::Hold(Vec::new()), run);
    let seen = match mode {
        Mode::Hold(seen) => seen,
        Mode::Queue | Mode::Ignore => Vec::new(),
    };
    (result, seen)
}

/// Runs commands of a function that are undone at once, or that undo others. They cause no events.
pub(crate) fn ignore<R>(context: Context<'_>, run: impl FnOnce() -> R) -> R {
    in_mode(context, Mode::Ignore, run).0
}

fn in_mode<R>(context: Context<'_>, mode: Mode, run: impl FnOnce() -> R) -> (R, Mode) {
    if !is_sending() {
        return (run(), mode);
    }
    let before = MODE.take(context);
    MODE.set(context, mode);
    let result = run();
    let after = MODE.take(context);
    MODE.set(context, before);
    (result, after)
}

/// Returns true if events of this key are wanted.
fn is_wanted(database: c_int, key: &[u8]) -> bool {
    !is_queue(key)
        && SINK.get().is_some_and(|sink| {
            u32::try_from(database).is_ok_and(|database| sink.wants(database, key))
        })
}

/// Returns true if this server is the one that acts on a change of a key here: a primary that is not
/// loading.
///
/// While a slot moves key by key, its keys arrive at the new node by `restore`, and nothing has happened to them.
/// Other changes there are those of clients that were sent there. While it moves as a whole, there are no clients.
/// Once it has gone, the server removes what is left of it.
fn acts_on(context: Context<'_>, name: &str, key: Borrowed<'_>) -> bool {
    let flags = context.flags();
    if flags & ffi::CTX_PRIMARY == 0 || flags & ffi::CTX_LOADING != 0 {
        return false;
    }
    if flags & ffi::CTX_CLUSTER == 0 {
        return true;
    }
    let key = key.bytes();
    if arriving::has(context, key) {
        return false;
    }
    match name {
        "restore" => !cluster_nodes::is_elsewhere(context, key),
        "del" => {
            !cluster_nodes::is_elsewhere(context, key) || !own_slots::is_anothers(context, key)
        }
        _ => true,
    }
}

/// Takes an event of the server.
pub(crate) fn event(context: Context<'_>, class: c_int, name: &str, key: Borrowed<'_>) {
    if !is_sending() {
        return;
    }
    let database = context.database();
    if !is_wanted(database, key.bytes()) {
        if class == ffi::NOTIFY_EVICTED && is_queue(key.bytes()) {
            tracing::error!(
                "the server evicted the events that wait for triggers, or the requests of the outbox; a maxmemory-policy of noeviction or volatile-… leaves them alone"
            );
        }
        return;
    }
    if !acts_on(context, name, key) {
        return;
    }
    let old = GONE.take(context).filter(|gone| {
        gone.event == name && gone.database == database && *gone.key == *key.bytes()
    });
    let key_gone = matches!(
        name,
        "del" | "expired" | "evicted" | "rename_from" | "move_from"
    );
    let new = if key_gone {
        None
    } else {
        context
            .open_as_it_is(key)
            .and_then(|open| open.held_value(context, VALUE_BYTES_MAX))
    };
    let seen = Seen {
        database: u32::try_from(database).unwrap_or(0),
        key: key.bytes().into(),
        name: name.into(),
        old: Some(old.map_or(HeldValue::UNKNOWN, |gone| gone.value)),
        new,
    };
    // These are not undone, whoever caused them.
    let stays = class == ffi::NOTIFY_EXPIRED || class == ffi::NOTIFY_EVICTED;
    let mode = MODE.take(context);
    let (mode, seen) = match mode {
        Mode::Hold(mut held) if !stays => {
            held.push(seen);
            (Mode::Hold(held), None)
        }
        Mode::Ignore if !stays => (Mode::Ignore, None),
        mode => (mode, Some(seen)),
    };
    MODE.set(context, mode);
    let Some(seen) = seen else { return };
    let Some(defer) = DEFER.get() else {
        queue_events(context, vec![seen], 0);
        return;
    };
    // Without a job, they are left for the next turn.
    if NOTED.with(context, |noted| noted.note(seen)) && defer(context) {
        NOTED.with(context, Noted::promised);
    }
}

/// Queues what was noted, after the command.
pub(crate) fn after_command(context: Context<'_>) {
    let noted = NOTED.with(context, Noted::take);
    queue_events(context, noted, 0);
}

/// Queues events for which the server gave no job after their command: later than the change, but not never. They
/// are lost if this server does not act on events any more.
pub(crate) fn queue_left(context: Context<'_>, is_primary: bool) {
    if !is_sending() || context.is_paused() {
        return;
    }
    let left = NOTED.with(context, Noted::take_left);
    if left.is_empty() {
        return;
    }
    let count = left.len();
    if is_primary {
        tracing::warn!(
            count,
            "the server let the module queue events only after the unit of their changes; a crash in between would have lost them"
        );
        queue_events(context, left, 0);
        return;
    }
    let reason = "STORE the server let the module queue no event after the change, and has become a replica; this event is lost";
    tracing::error!(count, reason, "events could not be queued, and are lost");
    if let Some(sink) = SINK.get() {
        for seen in left {
            sink.refuse(&seen.event(context, 0), reason);
        }
    }
}

/// Takes note of a value that goes away.
pub(crate) fn value_goes(context: Context<'_>, how: u64, key: Borrowed<'_>, open: &OpenKey<'_>) {
    if !is_sending()
        || context.flags() & ffi::CTX_PRIMARY == 0
        || !is_wanted(context.database(), key.bytes())
    {
        return;
    }
    let event = match how {
        ffi::KEY_DELETED => "del",
        ffi::KEY_EXPIRED => "expired",
        ffi::KEY_EVICTED => "evicted",
        ffi::KEY_OVERWRITTEN => "set",
        _ => return,
    };
    let value = open.held_value(context, VALUE_BYTES_MAX);
    // A command that took the last element has emptied it before, and tells of that in an event of its own.
    let gone = value.filter(|value| !value.is_emptied()).map(|value| Gone {
        database: context.database(),
        key: key.bytes().into(),
        event,
        value,
    });
    GONE.set(context, gone);
}

/// Tells the runtime of a request of the outbox.
pub(crate) fn request_kept(name: &[u8], value: &[u8]) {
    if let Some(sink) = SINK.get() {
        sink.record_set(name, value);
    }
}

/// Takes in the events or requests of a part that were queued elsewhere: by an earlier process, or by the
/// server that had the part before. Those that vanished are forgotten: the data was emptied, or the part is
/// another server's by now.
pub(crate) fn take_in(context: Context<'_>, of: Queue, part: u16) {
    take_in_all(context, std::iter::once((of, part)));
}

/// The same for several parts. What vanished is forgotten at once, because it is looked for among all that waits.
pub(crate) fn take_in_all(context: Context<'_>, places: impl Iterator<Item = Place>) {
    let Some(sink) = SINK.get() else { return };
    let mut all_gone: Vec<Name> = Vec::new();
    for (of, part) in places {
        let Changes { came, mut gone } = queue::compare(context, of, part);
        all_gone.append(&mut gone);
        if !came.is_empty() {
            sink.take_in(came);
        }
    }
    if !all_gone.is_empty() {
        sink.forget(&all_gone);
    }
}

impl Seen {
    /// The event as the runtime gets it.
    fn event(&self, context: Context<'_>, depth: u32) -> KeyspaceEvent<'_> {
        KeyspaceEvent {
            database: self.database,
            key: &self.key,
            partition: queue::part_of_key(context, &self.key),
            name: &self.name,
            old: self.old.as_ref().map(as_value),
            new: self.new.as_ref().map(as_value),
            depth,
        }
    }
}

fn as_value(value: &HeldValue) -> &dyn EventValue {
    value
}

/// Queues events, here and on replicas, and hands them to the runtime.
pub(crate) fn queue_events(context: Context<'_>, seen: Vec<Seen>, depth: u32) {
    let Some(sink) = SINK.get() else { return };
    for seen in seen {
        let event = seen.event(context, depth);
        // What was queued elsewhere comes first.
        take_in(context, Queue::Events, event.partition);
        if sink.is_full() {
            sink.refuse(&event, &sink.full_reason());
            continue;
        }
        let mut records = Vec::new();
        sink.record(&event, &mut records);
        let mut queued = Vec::new();
        for (name, value) in records {
            match put_somewhere(context, &name, &value) {
                Ok(name) => queued.push((name, value)),
                Err(error) => {
                    let key = seen.key.escape_ascii();
                    tracing::error!(%key, event = %seen.name, %error, "an event could not be queued, and is lost");
                    let reason = format!("STORE {error}; this event is lost");
                    sink.lose(&(name, value), &reason);
                }
            }
        }
        sink.committed(queued);
    }
}

/// Queues an event in the part of its key or, while that part is on its way to another node, in the next
/// one that takes it. Returns its name there.
fn put_somewhere(context: Context<'_>, name: &[u8], value: &[u8]) -> Result<Box<[u8]>, RunError> {
    match queue::put(context, name, value) {
        Ok(()) => return Ok(name.into()),
        Err(RunError::Elsewhere) => {}
        Err(error) => return Err(error),
    }
    let first = partition_of(name).unwrap_or(0);
    let parts = queue::parts(context);
    for distance in 1..parts {
        let name = in_partition(name, (first + distance) % parts);
        if queue::put(context, &name, value).is_ok() {
            return Ok(name);
        }
    }
    Err(RunError::Elsewhere)
}
