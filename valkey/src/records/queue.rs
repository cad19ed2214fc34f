//! Events in the server's data: hashes with the names of records as their fields.
//!
//! Outside of a cluster there is one hash, `ferrite:events`, in the first database. In a cluster there is
//! one for each slot, `ferrite:events:{tag}`, in that slot; the name of the record tells which. A server
//! that delivers events knows the names of all that it has, so that it need not look for them.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CStr;
use std::ops::Bound;

use ferrite_protocol::events::partition_of;
use ferrite_protocol::record::Record;
use ferrite_protocol::resp::tree::{Token, Tokens};

use crate::api::command_call::{Format, ServerReply};
use crate::api::context::Context;
use crate::api::ffi;
use crate::api::key::ValueKind;
use crate::api::locked_cell::LockedCell;
use crate::records::slot;

/// Begins the names of the hashes.
const KEY: &str = "ferrite:events";

/// Most records that one command removes.
const NAMES_IN_A_COMMAND: usize = 1000;

/// Error if an event is not where it was.
const MOVED_AWAY: &str = "the event was delivered meanwhile, or is on another node by now";

/// Names of the records that are known.
#[derive(Default)]
struct Known {
    names: BTreeSet<Box<[u8]>>,
    /// Number of names in each part of the data.
    counts: HashMap<u16, usize>,
}

static KNOWN: LockedCell<Option<Box<Known>>> = LockedCell::new(None);

impl Known {
    fn insert(&mut self, name: &[u8]) {
        if self.names.insert(name.into()) {
            *self.counts.entry(part(name)).or_default() += 1;
        }
    }

    fn remove(&mut self, name: &[u8]) {
        if self.names.remove(name)
            && let Some(count) = self.counts.get_mut(&part(name))
        {
            *count -= 1;
        }
    }
}

impl Known {
    fn forget(&mut self, part_gone: u16) {
        self.names.retain(|name| part(name) != part_gone);
        self.counts.remove(&part_gone);
    }
}

fn with_known<R>(context: Context<'_>, access: impl FnOnce(&mut Known) -> R) -> R {
    KNOWN.with(context, |known| access(known.get_or_insert_default()))
}

/// Returns true if this is the name of a hash of events, which cause no events themselves.
pub(crate) fn is_queue(key: &[u8]) -> bool {
    key.starts_with(KEY.as_bytes())
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

fn part(name: &[u8]) -> u16 {
    partition_of(name).unwrap_or(0)
}

/// Number of parts of the data.
pub(crate) fn parts(context: Context<'_>) -> u16 {
    if in_cluster(context) { slot::SLOTS } else { 1 }
}

fn key_of(context: Context<'_>, part: u16) -> String {
    if in_cluster(context) {
        format!("{KEY}:{{{}}}", slot::tag(part))
    } else {
        KEY.to_owned()
    }
}

/// Runs a command on the hash of a part. Returns its reply, or its error.
fn run<'a, R>(
    context: Context<'a>,
    command: &CStr,
    part: u16,
    words: &[&[u8]],
    format: Format,
    read: impl FnOnce(&ServerReply<'a>) -> R,
) -> Result<R, String> {
    let key = key_of(context, part);
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
    if let Err(error) = run(context, c"HSET", part(name), &words, format, |_| ()) {
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
        let key = context.string(key_of(context, part(name)).as_bytes());
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
    let mut by_part: HashMap<u16, Vec<Box<[u8]>>> = HashMap::new();
    for name in names {
        with_known(context, |known| known.remove(&name));
        by_part.entry(part(&name)).or_default().push(name);
    }
    for (part, names) in by_part {
        for names in names.chunks(NAMES_IN_A_COMMAND) {
            let fields: Vec<&[u8]> = names.iter().map(|name| &**name).collect();
            let format = Format::OwnReplicated;
            if let Err(error) = run(context, c"HDEL", part, &fields, format, |_| ()) {
                tracing::debug!(part, error, "records of events were not removed");
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
        part(name),
        &[name],
        Format::Own,
        |reply| reply.integer() == Some(1),
    )?;
    if must_exist && !exists {
        return Err(MOVED_AWAY.to_owned());
    }
    Ok(())
}

fn get(context: Context<'_>, name: &[u8]) -> Option<Box<[u8]>> {
    let value = run(
        context,
        c"HGET",
        part(name),
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

/// Forgets what is known, because this server does not deliver events any more.
pub(crate) fn forget(context: Context<'_>) {
    KNOWN.take(context);
}

/// Compares a part with what is known of it, and returns the records that came from elsewhere, in order.
pub(crate) fn compare(context: Context<'_>, part_wanted: u16) -> Vec<Record> {
    let len = run(context, c"HLEN", part_wanted, &[], Format::Own, |reply| {
        reply.integer()
    });
    let known = with_known(context, |known| {
        known.counts.get(&part_wanted).copied().unwrap_or(0)
    });
    let len = match len {
        Ok(len) => len.unwrap_or(0),
        Err(error) => {
            if error.starts_with("MOVED") && known > 0 {
                // The new owner delivers them. If they come back, they are taken in again.
                with_known(context, |known| known.forget(part_wanted));
            }
            return Vec::new();
        }
    };
    if usize::try_from(len) == Ok(known) {
        return Vec::new();
    }
    let fields = run(context, c"HKEYS", part_wanted, &[], Format::Own, |reply| {
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
        let ours = known.names.iter().filter(|name| part(name) == part_wanted);
        let gone: Vec<_> = ours
            .filter(|name| !fields.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            known.remove(&name);
        }
        let new = fields.into_iter().filter(|name| {
            super::is_event(name)
                && partition_of(name) == Some(part_wanted)
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
