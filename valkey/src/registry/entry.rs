//! Entries of functions: what the registry saves and sends beyond the runtime's records.
//!
//! A function that was loaded on a whole cluster has a stamp: when, and on which node. The later
//! stamp wins if two nodes differ. A function that was unloaded everywhere leaves its stamp, so
//! that no node restores it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use ferrite_runtime::error::CallError;
use ferrite_runtime::registry::record::{FunctionName, Record};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::api::context::{Context, log};
use crate::module::Module;
use crate::records::definitions::{self, Definition, Stamp};

/// Number of unloaded functions whose stamps are kept; the oldest stamps are dropped first.
const GONE_MAX: usize = 10_000;

/// A function's name with its record and stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: FunctionName,
    /// `None` if the function was unloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<Record>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stamp: Option<Stamp>,
}

impl Entry {
    pub(crate) fn to_json(&self) -> Vec<u8> {
        // None of its fields can fail to serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

/// Stamps of the cluster's functions, by name. Used under the server's lock only.
static STAMPS: LazyLock<Mutex<BTreeMap<String, Stamp>>> = LazyLock::new(Mutex::default);

/// The entries to save, as JSON. Not behind a lock: the server saves in a forked process, where a
/// lock that another thread held at the fork would never be released.
static SNAPSHOT: LazyLock<ArcSwap<Vec<u8>>> = LazyLock::new(ArcSwap::default);

/// Stamps a function that is changed on the whole cluster now.
pub(crate) fn stamp(name: &[u8], node: String) {
    let name = String::from_utf8_lossy(name).into_owned();
    let mut stamps = STAMPS.lock();
    let stamp = Stamp::after(stamps.get(&name), node);
    stamps.insert(name, stamp);
}

/// Returns true if a function was changed on the whole cluster.
pub(crate) fn is_stamped(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name);
    STAMPS.lock().contains_key(&*name)
}

/// Returns the current entry of a name.
pub(crate) fn entry(module: &Module, name: &[u8]) -> Entry {
    let known = module.runtime.function(name).ok();
    let text = String::from_utf8_lossy(name);
    Entry {
        name: match &known {
            Some(known) => known.record().name.clone(),
            None => FunctionName::parse(name).unwrap_or_else(|_| unnamed()),
        },
        record: known.map(|known| known.record().clone()),
        stamp: STAMPS.lock().get(&*text).cloned(),
    }
}

/// Returns a valid name, in the place of one that no function can have.
fn unnamed() -> FunctionName {
    match FunctionName::parse(b"-") {
        Ok(name) => name,
        Err(_) => unreachable!("it is a name"),
    }
}

/// Returns every entry that the cluster shares.
pub(crate) fn shared(module: &Module) -> Vec<Entry> {
    let names: Vec<String> = STAMPS.lock().keys().cloned().collect();
    names
        .iter()
        .map(|name| entry(module, name.as_bytes()))
        .collect()
}

/// Returns a hash of all stamps, by which nodes compare their shared entries.
pub(crate) fn shared_hash() -> [u8; 32] {
    let stamps = STAMPS.lock();
    let json = serde_json::to_vec(&*stamps).unwrap_or_default();
    *ferrite_cache::Digest::of(&json).as_bytes()
}

/// Returns true if an entry has a later stamp than the known one of its name.
pub(crate) fn is_newer(entry: &Entry) -> bool {
    let stamps = STAMPS.lock();
    entry.stamp.as_ref() > stamps.get(entry.name.as_str())
}

/// Puts an entry into the registry.
pub(crate) fn adopt(module: &Module, entry: Entry) -> Result<(), CallError> {
    let Entry {
        name,
        record,
        stamp,
    } = entry;
    match record {
        Some(record) => module.runtime.adopt(record)?,
        None => {
            // It may be unloaded already.
            let _ = module.runtime.adopt_removal(name.as_bytes());
        }
    }
    let mut stamps = STAMPS.lock();
    match stamp {
        Some(stamp) => stamps.insert(name.as_str().to_owned(), stamp),
        None => stamps.remove(name.as_str()),
    };
    Ok(())
}

/// Updates the entries that are saved with the server's data.
pub(crate) fn update_snapshot(module: &Module) {
    let functions = module.runtime.functions();
    let mut entries: Vec<Entry> = functions
        .iter()
        .map(|known| entry(module, known.record().name.as_bytes()))
        .collect();
    let mut gone: Vec<Entry> = shared(module)
        .into_iter()
        .filter(|entry| entry.record.is_none())
        .collect();
    if gone.len() > GONE_MAX {
        gone.sort_by(|one, other| other.stamp.cmp(&one.stamp));
        let mut stamps = STAMPS.lock();
        for old in gone.drain(GONE_MAX..) {
            stamps.remove(old.name.as_str());
        }
    }
    entries.append(&mut gone);
    let json = if entries.is_empty() {
        Vec::new()
    } else {
        serde_json::to_vec(&entries).unwrap_or_default()
    };
    SNAPSHOT.store(Arc::new(json));
}

/// Returns the entries to save, as JSON; empty if there are none.
pub(crate) fn snapshot() -> Arc<Vec<u8>> {
    SNAPSHOT.load_full()
}

/// Replaces all entries, triggers and schedules by those of a file.
pub(crate) fn replace(module: &Module, context: Context<'_>, json: &[u8]) {
    let values: Vec<serde_json::Value> = serde_json::from_slice(json).unwrap_or_else(|error| {
        let text = format!("ferrite: the functions in this file cannot be read: {error}");
        log(c"warning", &text);
        Vec::new()
    });
    let mut records = Vec::new();
    let mut stamps = BTreeMap::new();
    module.runtime.forget_automation();
    definitions::clear(context);
    for value in values {
        if value.get(definitions::FIELD).is_some() {
            let adopted = serde_json::from_value::<Definition>(value)
                .map_err(|error| error.to_string())
                .and_then(|definition| adopt_definition(module, context, definition));
            if let Err(error) = adopted {
                warn_left_out(&error);
            }
            continue;
        }
        match serde_json::from_value::<Entry>(value) {
            Ok(entry) => {
                if let Some(stamp) = entry.stamp {
                    stamps.insert(entry.name.as_str().to_owned(), stamp);
                }
                records.extend(entry.record);
            }
            Err(error) => warn_left_out(&error),
        }
    }
    match module.runtime.adopt_all(records) {
        Ok(wrong) => wrong.iter().for_each(|error| warn_left_out(error)),
        Err(error) => log(c"warning", &format!("ferrite: {error}")),
    }
    *STAMPS.lock() = stamps;
    update_snapshot(module);
}

/// Takes in a trigger or a schedule of another server or of a file.
pub(crate) fn adopt_definition(
    module: &Module,
    context: Context<'_>,
    definition: Definition,
) -> Result<(), String> {
    let Definition { name, value, .. } = &definition;
    let value = value.as_deref().map(str::as_bytes);
    let adopted = module.runtime.adopt_automation(name.as_bytes(), value);
    adopted.map_err(|error| error.to_string())?;
    definitions::put(context, definition);
    Ok(())
}

fn warn_left_out(error: &dyn std::fmt::Display) {
    let text =
        format!("ferrite: a function, trigger or schedule in this file is left out: {error}");
    log(c"warning", &text);
}

#[cfg(test)]
mod tests {
    use super::{Entry, STAMPS, Stamp, is_newer, stamp};
    use crate::damaged;

    #[test]
    fn an_entry_reads_back() {
        for json in [
            r#"{"name":"f"}"#,
            r#"{"name":"f","stamp":{"at":7,"node":"abc"}}"#,
        ] {
            let entry = Entry::from_json(json.as_bytes()).expect("it is one");
            assert_eq!(entry.to_json(), json.as_bytes());
        }
        assert!(Entry::from_json(br#"{"name":"f","code":"AA"}"#).is_err());
    }

    /// Entries as from the bus or a file, or out of a file, cut and changed at every place.
    #[test]
    fn damaged_entries_are_refused_or_read_back() {
        let json = br#"{"name":"f","stamp":{"at":18446744073709551615,"node":"abc"}}"#;
        let mut read = 0;
        for at in 0..json.len() {
            let cut = &json[..at];
            assert!(Entry::from_json(cut).is_err());
            for bit in 0..8 {
                let mut changed = json.to_vec();
                changed[at] ^= 1 << bit;
                if let Ok(entry) = Entry::from_json(&changed) {
                    read += 1;
                    let again = Entry::from_json(&entry.to_json());
                    assert_eq!(
                        again.map(|again| again.to_json()).ok(),
                        Some(entry.to_json())
                    );
                }
            }
        }
        assert!(read > 0, "a changed name is a name");
        let mut read = 0;
        for changed in damaged::copies(json) {
            if let Ok(entry) = Entry::from_json(&changed) {
                read += 1;
                let again = Entry::from_json(&entry.to_json());
                assert_eq!(
                    again.map(|again| again.to_json()).ok(),
                    Some(entry.to_json()),
                    "{}",
                    changed.escape_ascii()
                );
            }
        }
        assert!(read > 0, "some changes leave an entry");
    }

    #[test]
    fn the_later_stamp_wins() {
        stamp(b"wins", "b".to_owned());
        let known = STAMPS.lock()["wins"].clone();
        let entry = |stamp| Entry {
            name: ferrite_runtime::registry::record::FunctionName::parse(b"wins").expect("a name"),
            record: None,
            stamp,
        };
        let at = |at, node: &str| {
            let node = node.to_owned();
            Some(Stamp { at, node })
        };
        assert!(!is_newer(&entry(None)));
        assert!(!is_newer(&entry(Some(known.clone()))));
        assert!(is_newer(&entry(at(known.at, "c"))) && !is_newer(&entry(at(known.at, "a"))));
        assert!(is_newer(&entry(at(known.at + 1, "a"))));
        stamp(b"wins", "a".to_owned());
        assert!(STAMPS.lock()["wins"] > known, "even within a millisecond");
    }
}
