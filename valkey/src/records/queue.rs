//! Events and requests in the server's data: hashes with the names of records as their fields.
//!
//! Outside of a cluster there are the hashes `ferrite:events` and `ferrite:outbox`, in the first database. In
//! a cluster there is one of each for each slot, such as `ferrite:events:{tag}`, in that slot; the name of the
//! record tells which. A server that delivers them knows the names of all that it has, so that it need not
//! look for them.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CStr;
use std::sync::atomic::{AtomicU16, Ordering};

use ferrite_protocol::events::in_partition;
use ferrite_protocol::record::Record;
use ferrite_protocol::resp::tree::{Token, Tokens};

use crate::api::command_call::{Format, RunError, ServerReply};
use crate::api::context::Context;
use crate::api::ffi;
use crate::api::key::ValueKind;
use crate::api::locked_cell::LockedCell;
use crate::records::known::{Difference, Known, Name};
use crate::records::place::{Place, Queue, place_of};
use crate::records::slot;

/// Most records that one command removes.
const NAMES_IN_A_COMMAND: usize = 1000;

/// The part in which the last record found a place that could not be in its own.
static LAST_PLACE: AtomicU16 = AtomicU16::new(0);

static KNOWN: LockedCell<Option<Box<Known>>> = LockedCell::new(None);

/// Reason why records cannot be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// A record is not where it was.
    #[error("it was sent, delivered or removed meanwhile, or is on another node by now")]
    Gone,
    /// The server's error.
    #[error(transparent)]
    Server(#[from] RunError),
}

/// Records that came and went without this server.
#[derive(Default)]
pub(crate) struct Changes {
    /// Those that came, in order.
    pub(crate) came: Vec<Record>,
    /// Names of those that went.
    pub(crate) gone: Vec<Name>,
}

fn with_known<R>(context: Context<'_>, access: impl FnOnce(&mut Known) -> R) -> R {
    KNOWN.with(context, |known| access(known.get_or_insert_default()))
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

/// Number of parts of the data.
pub(crate) fn parts(context: Context<'_>) -> u16 {
    if in_cluster(context) { slot::SLOTS } else { 1 }
}

fn key_of(context: Context<'_>, (queue, part): Place) -> String {
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
    place: Place,
    words: &[&[u8]],
    format: Format,
    read: impl FnOnce(&ServerReply<'a>) -> R,
) -> Result<R, RunError> {
    let key = key_of(context, place);
    context.in_database(0, || {
        let argv: Vec<_> = std::iter::once(key.as_bytes())
            .chain(words.iter().copied())
            .map(|word| context.string(word))
            .collect();
        let refused = || RunError::Other("the server would not run the command".into());
        let reply = context.call(command, format, &argv).ok_or_else(refused)?;
        match reply.run_error() {
            Some(error) => Err(error),
            None => Ok(read(&reply)),
        }
    })
}

/// Adds or replaces a record, here and on replicas.
///
/// # Errors
///
/// The server's error.
pub(crate) fn put(context: Context<'_>, name: &[u8], value: &[u8]) -> Result<(), RunError> {
    let words = [name, value];
    let format = Format::OwnReplicated;
    if let Err(error) = run(context, c"HSET", place_of(name), &words, format, |_| ()) {
        // Keys expire on a node that has lost its cluster, where no command runs.
        let is_down = matches!(error, RunError::ClusterDown(_));
        if !is_down || !put_directly(context, name, value) {
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
pub(crate) fn remove(context: Context<'_>, names: Vec<Name>) {
    let mut by_place: HashMap<Place, Vec<Name>> = HashMap::new();
    for name in names {
        with_known(context, |known| known.remove(&name));
        by_place.entry(place_of(&name)).or_default().push(name);
    }
    for (place, names) in by_place {
        for names in names.chunks(NAMES_IN_A_COMMAND) {
            let fields: Vec<&[u8]> = names.iter().map(|name| &**name).collect();
            let format = Format::OwnReplicated;
            if let Err(error) = run(context, c"HDEL", place, &fields, format, |_| ()) {
                tracing::debug!(?place, %error, "records were not removed");
            }
        }
    }
}

fn exists(context: Context<'_>, name: &[u8]) -> Result<bool, RunError> {
    let (place, words) = (place_of(name), [name]);
    run(context, c"HEXISTS", place, &words, Format::Own, |reply| {
        reply.integer() == Some(1)
    })
}

/// Checks that the record is here.
///
/// # Errors
///
/// It is not, or the server cannot say so now.
pub(crate) fn require(context: Context<'_>, name: &[u8]) -> Result<(), RecordError> {
    match exists(context, name) {
        Ok(true) => Ok(()),
        Ok(false) | Err(RunError::Elsewhere) => Err(RecordError::Gone),
        Err(error) => Err(error.into()),
    }
}

/// Checks that a record can be put into its own part.
///
/// # Errors
///
/// It cannot.
pub(crate) fn check(context: Context<'_>, name: &[u8]) -> Result<(), RunError> {
    exists(context, name).map(|_| ())
}

/// Checks that records can be removed from a hash, or are another node's.
///
/// # Errors
///
/// It is not possible now.
pub(crate) fn check_removals(context: Context<'_>, place: Place) -> Result<(), RunError> {
    match run(context, c"HLEN", place, &[], Format::Own, |_| ()) {
        Ok(()) | Err(RunError::Elsewhere) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the name by which a new record can be kept here: its own or, if its part is on another node or
/// on the way there, one in a part that is here.
///
/// # Errors
///
/// There is none.
pub(crate) fn place(context: Context<'_>, name: &[u8]) -> Result<Name, RunError> {
    match check(context, name) {
        Ok(()) => return Ok(name.into()),
        Err(RunError::Elsewhere) => {}
        Err(error) => return Err(error),
    }
    let parts = parts(context);
    let first = LAST_PLACE.load(Ordering::Relaxed);
    for distance in 0..parts {
        let part = (first + distance) % parts;
        let name = in_partition(name, part);
        if check(context, &name).is_ok() {
            LAST_PLACE.store(part, Ordering::Relaxed);
            return Ok(name);
        }
    }
    Err(RunError::Elsewhere)
}

fn get(context: Context<'_>, name: &[u8]) -> Result<Option<Box<[u8]>>, RunError> {
    let (place, words) = (place_of(name), [name]);
    let value = run(context, c"HGET", place, &words, Format::Own, |reply| {
        reply.bulk().map(Box::from)
    });
    match value {
        // Its new owner delivers it.
        Err(RunError::Elsewhere) => Ok(None),
        value => value,
    }
}

/// Returns the value of a record, if it is here. One that is not is not known any more, so that it is taken in
/// if it comes back.
///
/// # Errors
///
/// The server cannot say so now.
pub(crate) fn value(context: Context<'_>, name: &[u8]) -> Result<Option<Box<[u8]>>, RunError> {
    let value = get(context, name)?;
    if value.is_none() {
        with_known(context, |known| known.remove(name));
    }
    Ok(value)
}

/// Returns at most `count` records whose names begin with `prefix` and come after `after`. Reads no more than
/// these.
///
/// # Errors
///
/// One of them cannot be read now.
pub(crate) fn records(
    context: Context<'_>,
    prefix: &[u8],
    after: &[u8],
    count: usize,
) -> Result<Vec<Record>, RunError> {
    let mut found = Vec::new();
    let mut after: Name = after.into();
    loop {
        let missing = count - found.len();
        let names = with_known(context, |known| known.page(prefix, &after, missing));
        let Some(last) = names.last() else {
            return Ok(found);
        };
        after = last.clone();
        for name in names {
            if let Some(value) = get(context, &name)? {
                found.push((name, value));
            }
        }
    }
}

/// Forgets what is known, because this server delivers nothing any more.
pub(crate) fn forget(context: Context<'_>) {
    KNOWN.take(context);
}

/// Compares a part with what is known of it, and returns what came and went without this server.
pub(crate) fn compare(context: Context<'_>, of: Queue, part: u16) -> Changes {
    let place = (of, part);
    let known = with_known(context, |known| known.count(place));
    let len = run(context, c"HLEN", place, &[], Format::Own, |reply| {
        reply.integer().unwrap_or(0)
    });
    let found = match len {
        Ok(len) if usize::try_from(len) == Ok(known) => return Changes::default(),
        Ok(_) => names_in(context, place),
        Err(RunError::Elsewhere) if known == 0 => return Changes::default(),
        // The new owner delivers them. If they come back, they are taken in again.
        Err(RunError::Elsewhere) => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    };
    let Ok(found) = found else {
        // Nobody knows what is there now.
        return Changes::default();
    };
    let Difference { new, gone } = with_known(context, |known| known.compare(place, found));
    let came = read_all(new, |name| get(context, name));
    with_known(context, |known| {
        came.iter().for_each(|(name, _)| known.insert(name));
    });
    Changes { came, gone }
}

/// Returns the names of the records in a hash.
fn names_in(context: Context<'_>, place: Place) -> Result<BTreeSet<Name>, RunError> {
    run(context, c"HKEYS", place, &[], Format::Own, |reply| {
        let names = Tokens::new(reply.bytes()).filter_map(|token| match token {
            Token::Bulk(name) => Some(Box::from(name)),
            _ => None,
        });
        names.collect()
    })
}

/// Reads records. Those that cannot be read now are left out.
fn read_all<E>(
    names: Vec<Name>,
    read: impl Fn(&[u8]) -> Result<Option<Box<[u8]>>, E>,
) -> Vec<Record> {
    let names = names.into_iter();
    names
        .filter_map(|name| Some((read(&name).ok()??, name)))
        .map(|(value, name)| (name, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::read_all;

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let names = ["failed", "absent", "there"].map(|name| name.as_bytes().into());
        let read = |name: &[u8]| match name {
            b"failed" => Err(()),
            b"there" => Ok(Some(b"value"[..].into())),
            _ => Ok(None),
        };
        let there = (b"there"[..].into(), b"value"[..].into());
        assert_eq!(read_all(names.to_vec(), read), [there]);
    }
}
