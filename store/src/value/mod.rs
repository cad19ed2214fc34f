//! The values of keys.

pub(crate) mod blob;
pub(crate) mod deadline;
pub(crate) mod fields;
pub(crate) mod hash;
pub(crate) mod hashing;
pub(crate) mod kind;
pub(crate) mod list;
pub(crate) mod steps;
pub(crate) mod text;
pub(crate) mod tree;
pub(crate) mod zset;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::value::deadline::Deadline;
use crate::value::fields::Fields;
use crate::value::list::List;
use crate::value::text::Text;
use crate::value::zset::Zset;

pub(crate) use crate::value::hash::Hash;

/// Set: the fields are the members.
pub(crate) type Set = Fields<()>;

/// The type as written on disk of a string in pages.
pub(crate) const PAGED_TEXT: u8 = 5;

/// A value of any type in 24 bytes. Copies share data; writing to a shared value copies only the
/// changed part.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Text),
    List(Arc<Body<List>>),
    Hash(Arc<Body<Hash>>),
    Set(Arc<Body<Set>>),
    Zset(Arc<Body<Zset>>),
}

/// A collection with its id, under which its elements are on disk.
#[derive(Clone, Debug)]
pub(crate) struct Body<T> {
    /// Unique among all collections that ever existed in this data directory. Changes keep it; an
    /// independent copy gets another.
    pub(crate) id: u64,
    pub(crate) data: T,
}

/// The next collection's id. Opening a data directory raises it above what is stored there.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Draws the id of a new collection.
pub(crate) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

impl<T> Body<T> {
    pub(crate) fn new(data: T) -> Arc<Self> {
        Arc::new(Self {
            id: next_id(),
            data,
        })
    }
}

impl Value {
    /// Name of the type, as `TYPE` answers it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::Zset(_) => "zset",
        }
    }

    pub(crate) fn is_same_type(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Returns true for a collection without elements. A key holds one only while a command runs.
    pub(crate) fn is_empty_collection(&self) -> bool {
        !matches!(self, Self::Text(_)) && self.len() == 0
    }

    /// Returns true if a blocked client can wait for a key to hold such a value.
    pub(crate) fn can_be_awaited(&self) -> bool {
        match self {
            Self::List(_) | Self::Zset(_) => true,
            Self::Text(_) | Self::Hash(_) | Self::Set(_) => false,
        }
    }

    /// The id of a collection or of a string that is on disk in pages; 0 for other strings.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Text(text) => text.id(),
            Self::List(list) => list.id,
            Self::Hash(hash) => hash.id,
            Self::Set(set) => set.id,
            Self::Zset(zset) => zset.id,
        }
    }

    /// The type as written on disk.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Text(text) if text.id() != 0 => PAGED_TEXT,
            Self::Text(_) => 0,
            Self::List(_) => 1,
            Self::Hash(_) => 2,
            Self::Set(_) => 3,
            Self::Zset(_) => 4,
        }
    }

    /// Records on disk that a removal must remove besides the key's own, or more than any bound if
    /// they have to be searched for.
    pub(crate) fn records_len(&self) -> usize {
        match self {
            Self::Text(text) => text.pages().len(),
            Self::List(list) if list.data.log.len > 0 => usize::MAX,
            collection => collection.len(),
        }
    }

    /// Gives the value a new id, under which the caller writes all of it.
    pub(crate) fn write_anew(&mut self) {
        let new = next_id();
        match self {
            Self::Text(text) => text.set_id(new),
            Self::List(list) => {
                let list = Arc::make_mut(list);
                list.id = new;
                list.data.write_anew();
            }
            Self::Hash(hash) => Arc::make_mut(hash).id = new,
            Self::Set(set) => Arc::make_mut(set).id = new,
            Self::Zset(zset) => Arc::make_mut(zset).id = new,
        }
    }

    /// Elements of a collection, 0 for strings.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(_) => 0,
            Self::List(list) => list.data.len(),
            Self::Hash(hash) => hash.data.len(),
            Self::Set(set) => set.data.len(),
            Self::Zset(zset) => zset.data.len(),
        }
    }

    /// The earliest deadline of a field of a hash.
    pub(crate) fn earliest_field_deadline(&self) -> Deadline {
        match self {
            Self::Hash(hash) => hash.data.earliest_deadline(),
            Self::Text(_) | Self::List(_) | Self::Set(_) | Self::Zset(_) => Deadline::NEVER,
        }
    }

    /// Passes the number of bytes of each element to `visit`, or of the whole string; ends with the
    /// first error.
    pub(crate) fn each_part<E>(
        &self,
        mut visit: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        /// Bytes of a score.
        const SCORE_BYTES: usize = 8;
        match self {
            Self::Text(text) => visit(text.len()),
            Self::List(list) => list
                .data
                .iter()
                .try_for_each(|element| visit(element.len())),
            Self::Hash(hash) => {
                let mut pairs = hash.data.iter();
                pairs.try_for_each(|(field, value)| visit(field.len() + value.len()))
            }
            Self::Set(set) => {
                let mut members = set.data.iter();
                members.try_for_each(|(member, ())| visit(member.len()))
            }
            Self::Zset(zset) => {
                let mut members = zset.data.iter();
                members.try_for_each(|(member, _)| visit(member.len() + SCORE_BYTES))
            }
        }
    }

    /// A collection that has this id on disk.
    pub(crate) fn with_id<T>(data: T, id: u64) -> Self
    where
        Arc<Body<T>>: Into<Self>,
    {
        Arc::new(Body { id, data }).into()
    }

    /// Makes new collections have ids from this one on.
    pub(crate) fn raise_ids(from: u64) {
        NEXT_ID.fetch_max(from, Ordering::Relaxed);
    }

    /// The same content as an independent value, with a new id.
    pub(crate) fn separate(&self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.separate()),
            Self::List(list) => {
                let mut list = list.data.clone();
                list.write_anew();
                list.into()
            }
            Self::Hash(hash) => hash.data.clone().into(),
            Self::Set(set) => set.data.clone().into(),
            Self::Zset(zset) => zset.data.clone().into(),
        }
    }

    pub(crate) fn text(bytes: &[u8]) -> Self {
        Self::Text(Text::new(bytes))
    }
}
