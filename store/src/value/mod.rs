//! What a key can hold.

pub(crate) mod fields;
pub(crate) mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::blob::Blob;
use crate::value::fields::Fields;
use crate::value::text::Text;

/// Hash: field to value.
pub(crate) type Hash = Fields<Blob>;

/// A value of any type in 24 bytes. Copies share; whoever writes to a shared value copies what it
/// changes.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Text),
    Hash(Arc<Body<Hash>>),
}

/// A collection with the name under which the disk knows its elements.
#[derive(Clone, Debug)]
pub(crate) struct Body<T> {
    /// Unique among all collections there ever were in this data directory. It stays the same
    /// while the collection is changed or renamed; a copy that lives on its own gets another.
    pub(crate) id: u64,
    pub(crate) data: T,
}

/// The next collection's id. Opening a data directory raises it above what is stored there.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl<T> Body<T> {
    pub(crate) fn new(data: T) -> Arc<Self> {
        Arc::new(Self { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), data })
    }
}

impl Value {
    /// The type's name as `TYPE` tells it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Hash(_) => "hash",
        }
    }

    /// Whether this is a collection without elements, which a key never holds for long.
    pub(crate) fn is_empty_collection(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Hash(hash) => hash.data.len() == 0,
        }
    }

    /// Whether a blocked client can be waiting for a key to hold such a value.
    pub(crate) fn can_be_awaited(&self) -> bool {
        match self {
            Self::Text(_) | Self::Hash(_) => false,
        }
    }

    /// The name on disk of a collection's elements, 0 for strings.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Text(_) => 0,
            Self::Hash(hash) => hash.id,
        }
    }

    /// The same content as a value of its own.
    pub(crate) fn separate(&self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text.clone()),
            Self::Hash(hash) => Self::Hash(Body::new(hash.data.clone())),
        }
    }

    pub(crate) fn text(bytes: &[u8]) -> Self {
        Self::Text(Text::new(bytes))
    }
}

/// A type of value that commands read and change in place.
pub(crate) trait Kind: Sized {
    fn empty() -> Value;
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// The name on disk of a collection's elements; texts have none.
    fn id(value: &Value) -> u64;
}

macro_rules! collection_kind {
    ($type:ty, $variant:ident) => {
        impl Kind for $type {
            fn empty() -> Value {
                Value::$variant(Body::new(<$type>::default()))
            }

            fn of(value: &Value) -> Option<&Self> {
                match value {
                    Value::$variant(body) => Some(&body.data),
                    _ => None,
                }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$variant(body) => Some(&mut Arc::make_mut(body).data),
                    _ => None,
                }
            }

            fn id(value: &Value) -> u64 {
                match value {
                    Value::$variant(body) => body.id,
                    _ => 0,
                }
            }
        }
    };
}

collection_kind!(Hash, Hash);

impl Kind for Text {
    fn empty() -> Value {
        Value::Text(Self::default())
    }

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Text(text) => Some(text),
            Value::Hash(_) => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Text(text) => Some(text),
            Value::Hash(_) => None,
        }
    }

    fn id(_: &Value) -> u64 {
        0
    }
}
