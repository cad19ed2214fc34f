//! Reads the data back when a store is opened.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::damage::chain;
use super::damage::mark::Mark;
use super::damage::seal;
use super::disk::{Disk, versioned};
use super::encode::Spaces;
use super::garbage::Garbage;
use super::pending::{LogError, Pending};
use super::queue::Queue;
use super::read_ahead::each_record;
use super::record::{self, Described, HASH, LIST, LIST_EDIT, SET, SPACES, ZSET};
use super::writer::{self, Writer};
use super::{DiskOptions, OpenError};
use crate::keyspace::effect::FIELD_DEADLINE;
use crate::keyspace::entries::Entry;
use crate::keyspace::records::Records;
use crate::keyspace::shard::{DATABASES, Shard, shard_of};
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::hashing::hash;
use crate::value::list::List;
use crate::value::text::{PAGE_LEN, Text};
use crate::value::zset::Zset;
use crate::value::{Hash, PAGED_TEXT, Set, Value};

/// Collections by their id.
type Collections = HashMap<u64, Value, foldhash::fast::RandomState>;

/// The version of all data read from the disk: the first commit of the process.
const LOADED: u64 = 1;

/// An open data directory.
pub(crate) struct Opened {
    pub(crate) shards: Vec<Shard>,
    pub(crate) records: Records,
    pub(crate) queue: Arc<Queue>,
    pub(crate) writer: writer::Handle,
}

/// Opens a data directory, reads all of it, and starts writing to it.
///
/// The engine panics at some damage to its files; that is reported as damage, too.
pub(crate) fn open(options: DiskOptions) -> Result<Opened, OpenError> {
    let path = versioned(&options.directory);
    catch_unwind(AssertUnwindSafe(|| read(options))).unwrap_or_else(|_| {
        Err(OpenError::Damaged {
            path,
            what: "the engine cannot read its files; the lines above say where it gave up".into(),
        })
    })
}

fn read(options: DiskOptions) -> Result<Opened, OpenError> {
    let directory = &options.directory;
    let unusable = |source| OpenError::Directory {
        path: directory.clone(),
        source,
    };
    std::fs::create_dir_all(directory).map_err(unusable)?;
    if let Some(file) = seal::open(directory).map_err(unusable)? {
        return Err(OpenError::Damaged {
            path: versioned(directory),
            what: format!("its file {file} has changed since the store was closed"),
        });
    }
    let disk = Disk::open(directory)?;
    let mark = Mark::open(directory).map_err(unusable)?;
    let mut reader = Reader {
        directory,
        disk: &disk,
        garbage: Garbage::default(),
    };
    let commit = reader.commit()?;
    let synced = mark.read().map_err(unusable)?;
    if commit < synced {
        return Err(reader.damaged(format!(
            "it ends at commit {commit}, and commit {synced} had been synced"
        )));
    }
    let gap = chain::first_gap(&disk, &versioned(directory)).map_err(unusable)?;
    if let Some(gap) = gap {
        return Err(reader.damaged(gap.to_string()));
    }
    reader.empty_log(commit)?;
    let spaces = reader.spaces()?;
    let collections = reader.collections()?;
    let (shards, records) = reader.keys(&spaces, collections)?;
    disk.raise_format().map_err(|error| reader.engine(error))?;
    let garbage = reader.garbage;
    let queue = Arc::new(Queue::new(&options, commit));
    let writer = Writer::new(
        Arc::clone(&queue),
        options,
        disk,
        mark,
        spaces,
        garbage,
        commit,
    );
    Ok(Opened {
        shards,
        records,
        queue,
        writer: writer.start(),
    })
}

struct Reader<'o> {
    directory: &'o Path,
    disk: &'o Disk,
    garbage: Garbage,
}

impl Reader<'_> {
    fn damaged(&self, what: impl Into<String>) -> OpenError {
        OpenError::Damaged {
            path: versioned(self.directory),
            what: what.into(),
        }
    }

    fn engine(&self, source: fjall::Error) -> OpenError {
        OpenError::Engine {
            path: versioned(self.directory),
            source: Box::new(source),
        }
    }

    fn commit(&self) -> Result<u64, OpenError> {
        self.disk
            .commit()
            .map_err(|error| self.engine(error))?
            .ok_or_else(|| self.damaged("the number of the last commit cannot be read"))
    }

    /// Brings the changes of the log into the maps.
    fn empty_log(&self, commit: u64) -> Result<(), OpenError> {
        let engine = |error| self.engine(error);
        let mut pending = Pending::read(self.disk).map_err(|error| match error {
            LogError::Engine(error) => engine(error),
            damaged => self.damaged(damaged.to_string()),
        })?;
        if pending.is_empty() {
            return Ok(());
        }
        let batch = pending.settle(self.disk, commit);
        batch
            .durability(Some(fjall::PersistMode::Buffer))
            .commit()
            .map_err(engine)
    }

    fn spaces(&self) -> Result<Spaces, OpenError> {
        match self
            .disk
            .meta
            .get(SPACES)
            .map_err(|error| self.engine(error))?
        {
            None => Ok(Spaces::default()),
            Some(bytes) => Spaces::parse(&bytes)
                .ok_or_else(|| self.damaged("the list of databases cannot be read")),
        }
    }

    /// All collections by their id. The elements of each are adjacent on disk.
    fn collections(&mut self) -> Result<Collections, OpenError> {
        let mut collections = HashMap::default();
        let mut building: Option<(u64, Building)> = None;
        let engine = |error| self.engine(error);
        each_record(&self.disk.elements, engine, |key, value| {
            let parsed = key.split_at_checked(9).and_then(|(prefix, rest)| {
                let id = u64::from_be_bytes(std::array::from_fn(|at| prefix[at]));
                let (name, value) = record::name(rest, value)?;
                Some((id, prefix[8], name, value))
            });
            let Some((id, kind, name, value)) = parsed else {
                return Err(self.damaged("an element's key cannot be read"));
            };
            if building.as_ref().is_none_or(|(current, _)| *current != id) {
                if let Some((id, done)) = building.take() {
                    collections.insert(id, done.finish(id));
                }
                let Some(started) = Building::new(kind) else {
                    return Err(
                        self.damaged(format!("collection {id} has the unknown type {kind}"))
                    );
                };
                building = Some((id, started));
            }
            let added = building
                .as_mut()
                .is_some_and(|(_, building)| building.add(kind, name, value));
            if !added {
                let name = name.escape_ascii();
                return Err(self.damaged(format!(
                    "element \"{name}\" of collection {id} cannot be read"
                )));
            }
            Ok(())
        })?;
        if let Some((id, done)) = building {
            collections.insert(id, done.finish(id));
        }
        if let Some(last) = collections.keys().max() {
            Value::raise_ids(last + 1);
        }
        Ok(collections)
    }

    fn keys(
        &mut self,
        spaces: &Spaces,
        mut collections: Collections,
    ) -> Result<(Vec<Shard>, Records), OpenError> {
        let mut shards: Vec<Shard> = (0..crate::keyspace::shard::SHARDS)
            .map(|_| Shard::default())
            .collect();
        let mut records = Records::default();
        let mut unknown_space = None;
        let mut garbage = Garbage::default();
        let reader = &*self;
        let engine = |error| reader.engine(error);
        each_record(&reader.disk.keys, engine, |key, value| {
            let parsed = key.split_first_chunk().and_then(|(space, rest)| {
                let (name, description) = record::name(rest, value)?;
                let (described, deadline) = record::parse_description(description)?;
                Some((u32::from_be_bytes(*space), name, described, deadline))
            });
            let Some((space, name, described, deadline)) = parsed else {
                let key = key.escape_ascii();
                return Err(reader.damaged(format!("the record of key \"{key}\" cannot be read")));
            };
            if space == record::RECORDS {
                let Described::Text(Value::Text(value)) = described else {
                    let name = name.escape_ascii();
                    return Err(reader.damaged(format!("record \"{name}\" is not a string")));
                };
                records.insert(name, Blob::new(value.as_slice()));
                return Ok(());
            }
            let Some(database) = spaces.of.iter().position(|other| *other == space) else {
                // The database was flushed, and a crash came before its data was removed.
                if unknown_space != Some(space) {
                    unknown_space = Some(space);
                    garbage.space(space);
                }
                if let Described::Collection { id, .. } = described {
                    collections.remove(&id);
                }
                return Ok(());
            };
            let value = match described {
                Described::Text(value) => value,
                Described::Collection { kind, id } => {
                    let found = collections.remove(&id);
                    match found.filter(|value| value.kind() == kind) {
                        Some(value) => value,
                        None => {
                            let name = name.escape_ascii();
                            return Err(reader
                                .damaged(format!("the elements of key \"{name}\" are missing")));
                        }
                    }
                }
            };
            let hash = hash(name);
            let shard = &mut shards[shard_of(hash)];
            shard.tables[database].insert(
                hash,
                Entry {
                    key: Blob::new(name),
                    value,
                    deadline,
                    version: LOADED,
                },
            );
            Ok(())
        })?;
        self.garbage.append(garbage);
        for shard in &mut shards {
            shard.modified_at = LOADED;
            shard.membership_at = [LOADED; DATABASES];
        }
        // Their keys were removed, and a crash came before the elements were.
        collections
            .into_keys()
            .for_each(|id| self.garbage.collection(id));
        Ok((shards, records))
    }
}

/// A collection while its elements are read.
enum Building {
    List {
        elements: Vec<Blob>,
        first: i64,
    },
    /// All elements of a list, and the edits so far.
    EditedList(List),
    Text(Vec<u8>),
    Hash(Hash),
    Set(Set),
    Zset(Zset),
}

impl Building {
    fn new(kind: u8) -> Option<Self> {
        match kind {
            LIST => Some(Self::List {
                elements: Vec::new(),
                first: 0,
            }),
            HASH => Some(Self::Hash(Hash::default())),
            SET => Some(Self::Set(Set::default())),
            ZSET => Some(Self::Zset(Zset::default())),
            PAGED_TEXT => Some(Self::Text(Vec::new())),
            _ => None,
        }
    }

    /// Adds an element; returns false if it does not belong to the collection.
    fn add(&mut self, kind: u8, name: &[u8], value: &[u8]) -> bool {
        if let (Self::List { elements, first }, LIST_EDIT) = (&mut *self, kind) {
            *self = Self::EditedList(list(std::mem::take(elements), *first));
        }
        match (self, kind) {
            (Self::List { elements, first }, LIST) => {
                let Some(position) = record::parse_position(name) else {
                    return false;
                };
                if elements.is_empty() {
                    *first = position;
                }
                elements.push(Blob::new(value));
                // No position may be missing.
                position.wrapping_sub(*first) == elements.len() as i64 - 1
            }
            (Self::EditedList(list), LIST_EDIT) => {
                // No edit may be missing.
                name == list.log.len.to_be_bytes()
                    && record::parse_list_edit(value).is_some_and(|edit| list.apply(edit))
            }
            (Self::Text(bytes), PAGED_TEXT) => {
                let at = record::parse_page(name).and_then(|page| page.checked_mul(PAGE_LEN));
                let fits = at == Some(bytes.len()) && (1..=PAGE_LEN).contains(&value.len());
                bytes.extend_from_slice(value);
                fits
            }
            (Self::Hash(hash), HASH) => hash.insert(name, Blob::new(value)),
            (Self::Hash(hash), FIELD_DEADLINE) => match value.try_into().map(i64::from_le_bytes) {
                Ok(millis) if hash.contains(name) => !hash.set_deadline(name, Deadline::at(millis)),
                _ => false,
            },
            (Self::Set(set), SET) => set.insert(name, ()) && value.is_empty(),
            (Self::Zset(zset), ZSET) => match value.try_into().map(f64::from_le_bytes) {
                Ok(score) if !score.is_nan() => zset.insert(name, score).is_none(),
                _ => false,
            },
            _ => false,
        }
    }

    fn finish(self, id: u64) -> Value {
        match self {
            Self::List { elements, first } => Value::with_id(list(elements, first), id),
            Self::EditedList(list) => Value::with_id(list, id),
            Self::Text(bytes) => Value::Text(Text::paged(id, bytes)),
            Self::Hash(hash) => Value::with_id(hash, id),
            Self::Set(set) => Value::with_id(set, id),
            Self::Zset(zset) => Value::with_id(zset, id),
        }
    }
}

fn list(elements: Vec<Blob>, first: i64) -> List {
    let mut list: List = elements.into_iter().collect();
    list.first = first;
    list
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Disk, Garbage, OpenError, Reader};
    use crate::api::session::Session;
    use crate::api::store::{Flow, Store};
    use crate::durable::DiskOptions;
    use crate::keyspace::table::Table;
    use crate::options::StoreOptions;
    use ferrite_protocol::resp::Encoder;

    /// Inputs in a plain run; `FERRITE_FUZZ_INPUTS` sets another number.
    const INPUTS: u32 = 3_000;

    /// One of each kind of record.
    const DATA: [&str; 12] = [
        "SET text value",
        "SET mortal value PX 100000",
        "HSET hash f v g w",
        "HPEXPIRE hash 100000 FIELDS 1 f",
        "SADD set m n o",
        "ZADD zset 1.5 m -2 n",
        "RPUSH list a b c d",
        "LINSERT list BEFORE b x",
        "LSET list 0 y",
        "SETRANGE pages 9999 x",
        "SELECT 3",
        "SET other 7",
    ];

    fn read_all(reader: &mut Reader<'_>) -> Result<usize, OpenError> {
        reader.commit()?;
        let spaces = reader.spaces()?;
        let collections = reader.collections()?;
        let (shards, _) = reader.keys(&spaces, collections)?;
        let tables = shards.iter().flat_map(|shard| &shard.tables);
        Ok(tables.map(Table::len).sum())
    }

    /// Records that anybody may have written, with right checksums: they are read, or told as damage.
    #[test]
    fn damaged_records_are_told_or_read_without_a_panic() {
        let inputs = std::env::var("FERRITE_FUZZ_INPUTS").map_or(INPUTS, |text| {
            text.parse().expect("FERRITE_FUZZ_INPUTS is a number")
        });
        let folder = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&StoreOptions::default(), DiskOptions::new(folder.path()))
            .expect("an empty directory");
        let mut session = Session::new();
        for line in DATA {
            let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let flow = store.execute(&mut session, &argv, &mut Encoder::default());
            assert!(matches!(flow, Flow::Done), "{line}");
        }
        store.close(Duration::from_secs(10)).expect("it is written");
        drop(store);
        let disk = Disk::open(folder.path()).expect("the same directory");
        let maps = [&disk.keys, &disk.elements, &disk.meta];
        let records: Vec<(usize, Vec<u8>, Vec<u8>)> = maps
            .iter()
            .enumerate()
            .flat_map(|(at, map)| {
                map.iter().map(move |record| {
                    let (key, value) = record.into_inner().expect("it is read");
                    (at, key.to_vec(), value.to_vec())
                })
            })
            .collect();
        assert!(records.len() > 15, "{}", records.len());
        let mut reader = Reader {
            directory: folder.path(),
            disk: &disk,
            garbage: Garbage::default(),
        };
        let whole = read_all(&mut reader).expect("it is not damaged yet");
        let mut random = fastrand::Rng::with_seed(5);
        let (mut told, mut read) = (0, 0);
        for _ in 0..inputs {
            let (map, key, value) = &records[random.usize(..records.len())];
            let (mut new_key, mut new_value) = (key.clone(), value.clone());
            for _ in 0..random.u32(1..3) {
                let part = if random.bool() {
                    &mut new_key
                } else {
                    &mut new_value
                };
                let at = random.usize(..=part.len());
                match random.u8(..5) {
                    0 if at < part.len() => part[at] = random.u8(..),
                    1 if at < part.len() => part[at] ^= 1 << random.u8(..8),
                    2 => part.truncate(at),
                    3 => part.insert(at, random.u8(..)),
                    _ => part.extend((0..random.usize(..9)).map(|_| random.u8(..))),
                }
            }
            if new_key.is_empty() {
                continue;
            }
            maps[*map].remove(&**key).expect("removed");
            let before = maps[*map].get(&*new_key).expect("read");
            maps[*map].insert(&*new_key, &*new_value).expect("written");
            match read_all(&mut reader) {
                Ok(_) => read += 1,
                Err(OpenError::Damaged { .. }) => told += 1,
                Err(other) => panic!("{other}"),
            }
            match before {
                Some(before) => maps[*map].insert(&*new_key, before).expect("written"),
                None => maps[*map].remove(&*new_key).expect("removed"),
            }
            maps[*map].insert(&**key, &**value).expect("written");
        }
        assert_eq!(read_all(&mut reader).ok(), Some(whole));
        assert!(told > inputs / 10 && read > inputs / 10, "{told} {read}");
    }
}
