//! Events and requests in the server's data: hashes with the names of records as their fields.
//!
//! Outside of a cluster there are the hashes `ferrite:events` and `ferrite:outbox`, in the first database. In
//! a cluster there is one of each for each slot, such as `ferrite:events:{tag}`, in that slot; the name of the
//! record tells which. A server that delivers them knows the names of all that it has, so that it need not
//! look for them.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CStr;
use std::ops::Bound;
use std::sync::atomic::{AtomicU16, Ordering};

use ferrite_protocol::events::{in_partition, partition_of};
use ferrite_protocol::record::Record;
use ferrite_protocol::resp::tree::{Token, Tokens};

use crate::api::command_call::{Format, ServerReply};
use crate::api::context::Context;
use crate::api::ffi;
use crate::api::key::ValueKind;
use crate::api::locked_cell::LockedCell;
use crate::records::slot;

/// Begins the names of events that were given up.
pub(crate) const DEAD: &[u8] = b"dead/";

/// A kind of records in hashes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Queue {
    /// Events for triggers.
    Events,
    /// Requests that are sent after the commit of their call.
    Outbox,
}

impl Queue {
    const ALL: [Self; 2] = [Self::Events, Self::Outbox];

    /// Returns the queue that a record of this name is in.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let is_of = |queue: &Self| queue.prefixes().iter().any(|it| name.starts_with(it));
        Self::ALL.into_iter().find(is_of)
    }

    /// Beginnings of the names of records that wait, and of those that were given up.
    const fn prefixes(self) -> [&'static [u8]; 2] {
        match self {
            Self::Events => [b"event/", DEAD],
            Self::Outbox => [b"outbox/", b"outbox-dead/"],
        }
    }

    /// Beginning of the names of its hashes.
    const fn key(self) -> &'static str {
        match self {
            Self::Events => "ferrite:events",
            Self::Outbox => "ferrite:outbox",
        }
    }
}

/// Most records that one command removes.
const NAMES_IN_A_COMMAND: usize = 1000;

/// Error if a record is not where it was.
const MOVED_AWAY: &str = "it was delivered meanwhile, or is on another node by now";

/// Errors for keys whose slot is another node's, or on the way there. Modules get the last one, which does
/// not tell where.
pub(crate) const ELSEWHERE: [&str; 4] = [
    "ASK",
    "MOVED",
    "TRYAGAIN",
    "ERR Attempted to access a non local key",
];

/// The part in which the last record found a place that could not be in its own.
static LAST_PLACE: AtomicU16 = AtomicU16::new(0);

/// Names of the records that are known.
#[derive(Default)]
struct Known {
    names: BTreeSet<Box<[u8]>>,
    /// Number of names in each part of the data.
    counts: HashMap<(Queue, u16), usize>,
}

static KNOWN: LockedCell<Option<Box<Known>>> = LockedCell::new(None);

impl Known {
    fn insert(&mut self, name: &[u8]) {
        if self.names.insert(name.into()) {
            *self.counts.entry(place_of(name)).or_default() += 1;
        }
    }

    fn remove(&mut self, name: &[u8]) {
        if self.names.remove(name)
            && let Some(count) = self.counts.get_mut(&place_of(name))
        {
            *count -= 1;
        }
    }
}

impl Known {
    fn forget(&mut self, gone: (Queue, u16)) {
        self.names.retain(|name| place_of(name) != gone);
        self.counts.remove(&gone);
    }
}

fn with_known<R>(context: Context<'_>, access: impl FnOnce(&mut Known) -> R) -> R {
    KNOWN.with(context, |known| access(known.get_or_insert_default()))
}

/// Returns true if this is the name of a hash of events or requests, which cause no events themselves.
pub(crate) fn is_queue(key: &[u8]) -> bool {
    Queue::ALL
        .iter()
        .any(|queue| key.starts_with(queue.key().as_bytes()))
}

/// Returns true if this server is a node of a cluster.
fn in_cluster(context: Context<'_>) -> bool {
    context.flags() & ffi::CTX_CLUSTER != 0
}

/// Returns the part of the data that an event of this key belongs to.
pub(crate) fn part_of_key(context: Context<'_>, key: &[u8]) -> u16 {
    if in_cluster(context) {
        slot::of(key)
    } else {
        0
    }
}

/// Returns the part of the data that a record is in.
pub(crate) fn part(name: &[u8]) -> u16 {
    partition_of(name).unwrap_or(0)
}

fn place_of(name: &[u8]) -> (Queue, u16) {
    (Queue::of(name).unwrap_or(Queue::Events), part(name))
}

/// Number of parts of the data.
pub(crate) fn parts(context: Context<'_>) -> u16 {
    if in_cluster(context) { slot::SLOTS } else { 1 }
}

fn key_of(context: Context<'_>, (queue, part): (Queue, u16)) -> String {
    let key = queue.key();
    if in_cluster(context) {
        format!("{key}:{{{}}}", slot::tag(part))
    } else {
        key.to_owned()
    }
}

/// Runs a command on the hash of a part. Returns its reply, or its error.
fn run<'a, R>(
    context: Context<'a>,
    command: &CStr,
    place: (Queue, u16),
    words: &[&[u8]],
    format: Format,
    read: impl FnOnce(&ServerReply<'a>) -> R,
) -> Result<R, String> {
    let key = key_of(context, place);
    context.in_database(0, || {
        let argv: Vec<_> = std::iter::once(key.as_bytes())
            .chain(words.iter().copied())
            .map(|word| context.string(word))
            .collect();
        let reply = context
            .call(command, format, &argv)
            .ok_or("the server would not run the command")?;
        match reply.error() {
            Some(error) => Err(String::from_utf8_lossy(error).into_owned()),
            None => Ok(read(&reply)),
        }
    })
}

/// Adds or replaces a record, here and on replicas.
///
/// # Errors
///
/// The server's error.
pub(crate) fn put(context: Context<'_>, name: &[u8], value: &[u8]) -> Result<(), String> {
    let words = [name, value];
    let format = Format::OwnReplicated;
    if let Err(error) = run(context, c"HSET", place_of(name), &words, format, |_| ()) {
        // Keys expire on a node that has lost its cluster, where no command runs.
        if !error.starts_with("CLUSTERDOWN") || !put_directly(context, name, value) {
            return Err(error);
        }
    }
    with_known(context, |known| known.insert(name));
    Ok(())
}

/// Adds or replaces a record without a command.
fn put_directly(context: Context<'_>, name: &[u8], value: &[u8]) -> bool {
    context.in_database(0, || {
        let key = context.string(key_of(context, place_of(name)).as_bytes());
        let Some(mut open) = context.open_to_write(key.borrow()) else {
            return false;
        };
        if !matches!(open.kind(), ValueKind::Hash | ValueKind::Nothing) {
            return false;
        }
        let (name, value) = (context.string(name), context.string(value));
        open.set_field(name.borrow(), Some(value.borrow()));
        drop(open);
        let words = [key.borrow(), name.borrow(), value.borrow()];
        context.replicate(c"HSET", &words);
        true
    })
}

/// Removes records, here and on replicas. Those of parts that are another node's by now are left to it.
pub(crate) fn remove(context: Context<'_>, names: Vec<Box<[u8]>>) {
    let mut by_place: HashMap<(Queue, u16), Vec<Box<[u8]>>> = HashMap::new();
    for name in names {
        with_known(context, |known| known.remove(&name));
        by_place.entry(place_of(&name)).or_default().push(name);
    }
    for (place, names) in by_place {
        for names in names.chunks(NAMES_IN_A_COMMAND) {
            let fields: Vec<&[u8]> = names.iter().map(|name| &**name).collect();
            let format = Format::OwnReplicated;
            if let Err(error) = run(context, c"HDEL", place, &fields, format, |_| ()) {
                tracing::debug!(?place, error, "records were not removed");
            }
        }
    }
}

/// Checks that the record can be changed here, and is there if it `must_exist`.
///
/// # Errors
///
/// It is not.
pub(crate) fn check(context: Context<'_>, name: &[u8], must_exist: bool) -> Result<(), String> {
    let exists = run(
        context,
        c"HEXISTS",
        place_of(name),
        &[name],
        Format::Own,
        |reply| reply.integer() == Some(1),
    )?;
    if must_exist && !exists {
        return Err(MOVED_AWAY.to_owned());
    }
    Ok(())
}

/// Returns true if the record is known to be here.
pub(crate) fn is_known(context: Context<'_>, name: &[u8]) -> bool {
    with_known(context, |known| known.names.contains(name))
}

/// Returns the name by which a new record can be kept here: its own or, if its part is on another node or
/// on the way there, one in a part that is here.
///
/// # Errors
///
/// There is none.
pub(crate) fn place(context: Context<'_>, name: &[u8]) -> Result<Box<[u8]>, String> {
    let error = match check(context, name, false) {
        Ok(()) => return Ok(name.into()),
        Err(error) => error,
    };
    if !ELSEWHERE.iter().any(|code| error.starts_with(code)) {
        return Err(error);
    }
    let parts = parts(context);
    let first = LAST_PLACE.load(Ordering::Relaxed);
    for distance in 0..parts {
        let part = (first + distance) % parts;
        let name = in_partition(name, part);
        if check(context, &name, false).is_ok() {
            LAST_PLACE.store(part, Ordering::Relaxed);
            return Ok(name);
        }
    }
    Err(error)
}

fn get(context: Context<'_>, name: &[u8]) -> Option<Box<[u8]>> {
    let value = run(
        context,
        c"HGET",
        place_of(name),
        &[name],
        Format::Own,
        |reply| reply.bulk().map(Box::from),
    );
    value.ok().flatten()
}

/// Returns at most `count` records whose names begin with `prefix` and come after `after`.
pub(crate) fn records(
    context: Context<'_>,
    prefix: &[u8],
    after: &[u8],
    count: usize,
) -> Vec<Record> {
    let names: Vec<Box<[u8]>> = with_known(context, |known| {
        let start = if after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        let names = known.names.range::<[u8], _>((start, Bound::Unbounded));
        names
            .take_while(|name| name.starts_with(prefix))
            .cloned()
            .collect()
    });
    let found = names
        .into_iter()
        .filter_map(|name| get(context, &name).map(|value| (name, value)));
    found.take(count).collect()
}

/// Forgets what is known, because this server delivers nothing any more.
pub(crate) fn forget(context: Context<'_>) {
    KNOWN.take(context);
}

/// Compares a part with what is known of it, and returns the records that came from elsewhere, in order.
pub(crate) fn compare(context: Context<'_>, of: Queue, part: u16) -> Vec<Record> {
    let wanted = (of, part);
    let len = run(context, c"HLEN", wanted, &[], Format::Own, |reply| {
        reply.integer()
    });
    let known = with_known(context, |known| {
        known.counts.get(&wanted).copied().unwrap_or(0)
    });
    let len = match len {
        Ok(len) => len.unwrap_or(0),
        Err(error) => {
            if error.starts_with("MOVED") && known > 0 {
                // The new owner delivers them. If they come back, they are taken in again.
                with_known(context, |known| known.forget(wanted));
            }
            return Vec::new();
        }
    };
    if usize::try_from(len) == Ok(known) {
        return Vec::new();
    }
    let fields = run(context, c"HKEYS", wanted, &[], Format::Own, |reply| {
        let tokens = Tokens::new(reply.bytes());
        let names = tokens.filter_map(|token| match token {
            Token::Bulk(name) => Some(Box::from(name)),
            _ => None,
        });
        names.collect::<BTreeSet<Box<[u8]>>>()
    });
    let Ok(fields) = fields else {
        return Vec::new();
    };
    let new: Vec<Box<[u8]>> = with_known(context, |known| {
        let ours = known.names.iter().filter(|name| place_of(name) == wanted);
        let gone: Vec<_> = ours
            .filter(|name| !fields.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            known.remove(&name);
        }
        let new = fields.into_iter().filter(|name| {
            Queue::of(name) == Some(of)
                && partition_of(name) == Some(part)
                && !known.names.contains(name)
        });
        let new: Vec<_> = new.collect();
        for name in &new {
            known.insert(name);
        }
        new
    });
    let found = new.into_iter();
    found
        .filter_map(|name| get(context, &name).map(|value| (name, value)))
        .collect()
}
