//! Triggers and schedules, as they are saved, replicated and compared between the nodes of a cluster.
//!
//! Each has a stamp: when it was changed, and on which node. The later stamp wins if two nodes differ. One
//! that was removed leaves its stamp, so that no node restores it.
//!
//! A run of a schedule changes its record too, on the node that runs it. Such a note keeps the stamp of what it
//! is a note of, and wins over nothing that was added, replaced or removed after that: a node that has not heard
//! of a removal yet cannot undo it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ferrite_protocol::record::Record;
use serde::{Deserialize, Serialize};

use crate::api::cluster_nodes;
use crate::api::context::Context;
use crate::api::locked_cell::LockedCell;

/// Name of the command that adopts an entry or a definition of another server, its one argument.
pub(crate) const REGISTER: &std::ffi::CStr = c"WASM.REGISTER";

/// The field that an entry of a function does not have.
pub(crate) const FIELD: &str = "automation";

/// Number of removed definitions whose stamps are kept; the oldest stamps are dropped first.
const GONE_MAX: usize = 10_000;

/// Time and node of a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Milliseconds since 1970, by the clock of the node.
    pub(crate) at: u64,
    pub(crate) node: String,
}

impl Stamp {
    /// Stamps a change that is made now: later than the known stamp, even if the clock went back.
    pub(crate) fn after(known: Option<&Self>, node: String) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        });
        let at = known.map_or(now, |known| now.max(known.at.saturating_add(1)));
        Self { at, node }
    }
}

/// A trigger or a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    /// The name of its record.
    #[serde(rename = "automation")]
    pub(crate) name: String,
    /// The record, which is JSON itself; `None` if it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// Time and node of its last change.
    pub(crate) stamp: Stamp,
    /// The stamp with which it was added, if the last change only noted a run of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) added: Option<Stamp>,
}

impl Definition {
    pub(crate) fn to_json(&self) -> Vec<u8> {
        // None of its fields can fail to serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a definition; `None` if this is none.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The change of a known definition, if there is one, to `value`.
    fn changed(known: Option<&Self>, name: String, value: Option<String>, node: String) -> Self {
        let stamp = Stamp::after(known.map(|known| &known.stamp), node);
        let noted = known.filter(|known| {
            let both = known.value.as_deref().zip(value.as_deref());
            both.is_some_and(|(before, after)| is_note_of_run(before, after))
        });
        Self {
            added: noted.map(|known| known.added().clone()),
            name,
            value,
            stamp,
        }
    }

    /// The stamp with which it was added, replaced or removed.
    fn added(&self) -> &Stamp {
        self.added.as_ref().unwrap_or(&self.stamp)
    }

    /// Returns true if it wins over the known one of its name.
    fn is_newer_than(&self, known: &Self) -> bool {
        (self.added(), &self.stamp) > (known.added(), &known.stamp)
    }
}

/// Returns true if a record says of the same schedule what another one does, before or after a run. Each schedule
/// has the time at which it was added, and runs change nothing of a trigger.
fn is_note_of_run(before: &str, after: &str) -> bool {
    #[derive(Deserialize)]
    struct Run {
        added: i64,
        /// A trigger has none.
        runs: u64,
    }
    let read = |record| serde_json::from_str::<Run>(record).ok();
    let (Some(before), Some(after)) = (read(before), read(after)) else {
        return false;
    };
    before.added == after.added && before.runs <= after.runs
}

#[derive(Default)]
struct Table {
    by_name: BTreeMap<String, Definition>,
    /// Changes that the other nodes of the cluster do not know of yet.
    unsent: Vec<Definition>,
}

static TABLE: LockedCell<Option<Box<Table>>> = LockedCell::new(None);

/// True once there is a definition.
static ANY: AtomicBool = AtomicBool::new(false);

/// Returns true if there may be definitions. No lock is needed.
pub(crate) fn are_there() -> bool {
    ANY.load(Ordering::Relaxed)
}

fn with_table<R>(context: Context<'_>, access: impl FnOnce(&mut Table) -> R) -> R {
    TABLE.with(context, |table| access(table.get_or_insert_default()))
}

impl Table {
    fn put(&mut self, definition: Definition) {
        ANY.store(true, Ordering::Relaxed);
        let is_gone = definition.value.is_none();
        self.by_name.insert(definition.name.clone(), definition);
        if !is_gone {
            return;
        }
        let gone = self.by_name.values().filter(|one| one.value.is_none());
        if gone.clone().count() > GONE_MAX
            && let Some(oldest) = gone.min_by_key(|one| one.stamp.clone())
        {
            let name = oldest.name.clone();
            self.by_name.remove(&name);
        }
    }

    fn hash(&self) -> [u8; 32] {
        let stamps: Vec<_> = self
            .by_name
            .values()
            .map(|one| (&one.name, &one.stamp))
            .collect();
        let json = serde_json::to_vec(&stamps).unwrap_or_default();
        *ferrite_cache::Digest::of(&json).as_bytes()
    }
}

/// Changes a definition on this server, and replicates the change.
pub(crate) fn change(context: Context<'_>, name: &[u8], value: Option<&[u8]>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = text(name);
    let node = cluster_nodes::node_id(context);
    let in_cluster = !node.is_empty();
    let definition = with_table(context, |table| {
        let known = table.by_name.get(&name);
        let definition = Definition::changed(known, name, value.map(text), node);
        table.put(definition.clone());
        if in_cluster {
            table.unsent.push(definition.clone());
        }
        definition
    });
    replicate(context, &definition);
}

/// Sends a definition to replicas and the append-only file.
pub(crate) fn replicate(context: Context<'_>, definition: &Definition) {
    let argument = context.string(&definition.to_json());
    context.replicate(REGISTER, &[argument.borrow()]);
}

/// Puts in a definition of another server or of a file.
pub(crate) fn put(context: Context<'_>, definition: Definition) {
    with_table(context, |table| table.put(definition));
}

/// Forgets all definitions.
pub(crate) fn clear(context: Context<'_>) {
    TABLE.take(context);
    ANY.store(false, Ordering::Relaxed);
}

/// Takes out the changes that are to be sent to the other nodes of the cluster.
pub(crate) fn take_unsent(context: Context<'_>) -> Vec<Definition> {
    with_table(context, |table| std::mem::take(&mut table.unsent))
}

/// Returns all definitions.
pub(crate) fn all(context: Context<'_>) -> Vec<Definition> {
    with_table(context, |table| table.by_name.values().cloned().collect())
}

/// Returns a hash of all stamps, by which nodes compare their definitions.
pub(crate) fn hash(context: Context<'_>) -> [u8; 32] {
    with_table(context, |table| table.hash())
}

/// Returns true if a definition wins over the known one of its name.
pub(crate) fn is_newer(context: Context<'_>, definition: &Definition) -> bool {
    with_table(context, |table| {
        let known = table.by_name.get(&definition.name);
        known.is_none_or(|known| definition.is_newer_than(known))
    })
}

/// Returns all definitions as JSON; empty if there are none.
pub(crate) fn to_json(context: Context<'_>) -> Vec<u8> {
    with_table(context, |table| {
        if table.by_name.is_empty() {
            return Vec::new();
        }
        let all: Vec<_> = table.by_name.values().collect();
        serde_json::to_vec(&all).unwrap_or_default()
    })
}

/// Returns at most `count` records whose names begin with `prefix` and come after `after`.
pub(crate) fn records(
    context: Context<'_>,
    prefix: &[u8],
    after: &[u8],
    count: usize,
) -> Vec<Record> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (prefix, after) = (text(prefix), text(after));
    let start = if after < prefix {
        Bound::Included(prefix.clone())
    } else {
        Bound::Excluded(after)
    };
    with_table(context, |table| {
        let named = table.by_name.range((start, Bound::Unbounded));
        let named = named.take_while(|(name, _)| name.starts_with(&prefix));
        let records = named.filter_map(|(name, definition)| {
            let value = definition.value.as_ref()?;
            Some((name.as_bytes().into(), value.as_bytes().into()))
        });
        records.take(count).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::{Definition, GONE_MAX, Stamp, Table};
    use crate::damaged;

    fn definition(name: &str, value: Option<&str>, at: u64) -> Definition {
        Definition {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            stamp: Stamp {
                at,
                node: "n".to_owned(),
            },
            added: None,
        }
    }

    #[test]
    fn a_definition_reads_back_and_is_no_entry() {
        for one in [
            definition("trigger/t", Some("{}"), 7),
            definition("t", None, 0),
        ] {
            assert_eq!(Definition::from_json(&one.to_json()), Some(one));
        }
        assert_eq!(Definition::from_json(br#"{"name":"f"}"#), None);
        assert_eq!(Definition::from_json(b""), None);
    }

    /// Definitions as from the bus or a file, cut and changed at every place.
    #[test]
    fn damaged_definitions_are_refused_or_read_back() {
        let json = definition("trigger/t", Some(r#"{"added":1}"#), u64::MAX).to_json();
        let mut table = Table::default();
        let mut read = 0;
        for at in 0..json.len() {
            assert_eq!(Definition::from_json(&json[..at]), None, "{at}");
            for bit in 0..8 {
                let mut changed = json.clone();
                changed[at] ^= 1 << bit;
                if let Some(one) = Definition::from_json(&changed) {
                    assert_eq!(Definition::from_json(&one.to_json()), Some(one.clone()));
                    table.put(one);
                    read += 1;
                }
            }
        }
        for changed in damaged::copies(&json) {
            if let Some(one) = Definition::from_json(&changed) {
                assert_eq!(Definition::from_json(&one.to_json()), Some(one.clone()));
                table.put(one);
                read += 1;
            }
        }
        assert!(read > 0, "a changed name is a name");
        table.hash();
    }

    #[test]
    fn stamps_rise_and_the_hash_tells_them() {
        let first = Stamp::after(None, "a".to_owned());
        let later = Stamp::after(Some(&first), "a".to_owned());
        assert!(later > first, "even within a millisecond");
        let mut table = Table::default();
        let empty = table.hash();
        table.put(definition("t", Some("x"), 1));
        let one = table.hash();
        table.put(definition("t", None, 2));
        assert!(empty != one && one != table.hash());
    }

    #[test]
    fn no_note_of_a_run_undoes_a_removal() {
        let value = |added: u64, runs: u64| Some(format!(r#"{{"added":{added},"runs":{runs}}}"#));
        let change = |known: &Definition, value: Option<String>, node: &str| {
            Definition::changed(Some(known), "schedule/s".to_owned(), value, node.to_owned())
        };
        let added = definition("schedule/s", value(7, 0).as_deref(), 1);
        let removed = change(&added, None, "a");
        // The node that runs it has not heard of the removal, and notes run after run.
        let mut noted = added.clone();
        for runs in 1..4 {
            let next = change(&noted, value(7, runs), "b");
            assert!(next.is_newer_than(&noted) && next.stamp > noted.stamp);
            noted = next;
        }
        noted.stamp.at = removed.stamp.at + 1_000;
        assert!(!noted.is_newer_than(&removed) && removed.is_newer_than(&noted));
        assert_eq!(Definition::from_json(&noted.to_json()), Some(noted.clone()));
        // What was removed can be added again, and the notes of what was there before count no more.
        let again = change(&removed, value(8, 0), "a");
        assert!(again.is_newer_than(&removed) && again.is_newer_than(&noted));
        // One that replaces it wins too, and so does what it was, if it is put back.
        let replaced = change(&noted, value(9, 0), "b");
        assert_eq!(replaced.added, None);
        let back = change(&replaced, noted.value.clone(), "b");
        assert!(replaced.is_newer_than(&noted) && back.is_newer_than(&replaced));
        // Nothing of a trigger is a note of a run.
        let trigger = definition("trigger/t", Some(r#"{"added":7}"#), 1);
        assert_eq!(change(&trigger, trigger.value.clone(), "b").added, None);
    }

    #[test]
    fn stamps_of_removed_ones_are_bounded() {
        let mut table = Table::default();
        table.put(definition("kept", Some("x"), 0));
        for at in 0..GONE_MAX as u64 + 2 {
            table.put(definition(&format!("gone{at}"), None, at + 1));
        }
        assert_eq!(table.by_name.len(), GONE_MAX + 1);
        assert!(table.by_name.contains_key("kept") && !table.by_name.contains_key("gone1"));
    }
}
