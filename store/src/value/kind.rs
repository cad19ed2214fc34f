//! Conversions between values and their types.

use std::sync::Arc;

use super::list::List;
use super::text::Text;
use super::zset::Zset;
use super::{Body, Hash, Set, Value};

/// A type of value that commands read and change in place.
pub(crate) trait Kind: Clone + Default + Into<Value> {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
}

macro_rules! collection_kind {
    ($type:ty, $variant:ident) => {
        impl From<$type> for Value {
            fn from(data: $type) -> Self {
                Self::$variant(Body::new(data))
            }
        }

        impl From<Arc<Body<$type>>> for Value {
            fn from(body: Arc<Body<$type>>) -> Self {
                Self::$variant(body)
            }
        }

        impl Kind for $type {
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
        }
    };
}

collection_kind!(List, List);
collection_kind!(Hash, Hash);
collection_kind!(Set, Set);
collection_kind!(Zset, Zset);

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl Kind for Text {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}
