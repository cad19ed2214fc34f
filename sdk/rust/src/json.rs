//! Values that are passed and stored as JSON.

use alloc::string::ToString;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::argument::{Argument, ArgumentList, Arguments};
use crate::input::parameter::{Parameter, take_one};
use crate::input::{Input, Refusal};
use crate::reply::Reply;
use crate::value::from_value::{FromValue, Mismatch};

/// Any serde type, as JSON: a parameter, a result, or a value in the store.
///
/// ```
/// use ferrite_wasm_sdk::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, Serialize)]
/// struct Order { id: u32, items: Vec<String> }
///
/// #[ferrite_function]
/// pub fn add_item(key: &str, item: String) -> Result<usize, Error> {
///     let Some(Json(mut order)) = ferrite::get::<Json<Order>>(key)? else {
///         return Err(Error::new("NOORDER there is no such order"));
///     };
///     order.items.push(item);
///     let count = order.items.len();
///     ferrite::set(key, Json(order))?;
///     Ok(count)
/// }
///
/// let store = mock::Store::new();
/// store.set("order:1", r#"{"id":1,"items":[]}"#);
/// assert_eq!(add_item("order:1", "tea".into()), Ok(1));
/// assert_eq!(store.get("order:1").unwrap(), br#"{"id":1,"items":["tea"]}"#);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(
    /// The value.
    pub T,
);

impl<T: DeserializeOwned> FromValue for Json<T> {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|error| Mismatch::new(["JSON (", &error.to_string(), ")"].concat(), bytes))
    }
}

impl<'a, T: DeserializeOwned> Parameter<'a> for Json<T> {
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        take_one(input)
    }
}

impl<T: Serialize> Argument for Json<T> {
    /// # Panics
    ///
    /// Panics if the value has no JSON form, such as a map whose keys are not strings.
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => use_bytes(&bytes),
            Err(error) => panic!("the value has no JSON form: {error}"),
        }
    }
}

impl<T: Serialize> Arguments for Json<T> {
    fn append_to(&self, list: &mut ArgumentList) {
        self.with_bytes(|bytes| list.item(bytes));
    }
}

impl<T: Serialize> Reply for Json<T> {
    fn reply(&self) {
        self.with_bytes(<[u8]>::reply);
    }
}
