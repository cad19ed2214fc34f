//! The types that a parameter of a ferrite function may have.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::input::{Input, Refusal};
use crate::value::Value;
use crate::value::from_value::{FromValue, Mismatch};

/// A type that a parameter of a ferrite function may have.
///
/// | type | takes |
/// |---|---|
/// | `&str`, `String`, `&[u8]`, `Vec<u8>`, `Cow<str>`, integers, floats, `bool`, `Json<T>` | the
/// next key or argument |
/// | `Option<T>` | the next one, if any is left |
/// | tuples | one value for each element |
/// | [`Keys<T>`] | the keys that are left |
/// | `Vec<T>` | all keys and arguments that are left |
/// | `BTreeMap<K, V>`, `HashMap<K, V>` | all that are left, in pairs |
///
/// A type of your own takes its values from the [`Input`]:
///
/// ```
/// use ferrite_wasm_sdk::{Input, Parameter, Refusal};
///
/// struct Window { limit: i64, secs: i64 }
///
/// impl<'a> Parameter<'a> for Window {
///     fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
///         Ok(Self { limit: i64::take(input)?, secs: i64::take(input)? })
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a ferrite function",
    note = "parameters are strings, bytes, numbers, `bool`, `Option`, `Vec`, tuples, maps, `Keys` or `Json<T>`; for another type, implement `Parameter`"
)]
pub trait Parameter<'a>: Sized {
    /// Takes the values that the parameter needs.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`]; the SDK turns it into an error reply that names the parameter.
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal>;

    /// Takes all values that are left as a list: bytes are one value, other items one each.
    #[doc(hidden)]
    fn take_list(input: &mut Input<'a>) -> Result<Vec<Self>, Refusal> {
        let mut list = Vec::with_capacity(input.left());
        while input.left() > 0 {
            list.push(Self::take(input)?);
        }
        Ok(list)
    }
}

/// All keys that are left, for functions that take several keys and then arguments.
///
/// ```
/// use ferrite_wasm_sdk::*;
///
/// #[ferrite_function]
/// pub fn set_all(keys: Keys<&str>, value: &str) -> Result<usize, Error> {
///     for key in &keys {
///         ferrite::set(key, value)?;
///     }
///     Ok(keys.len())
/// }
///
/// let store = mock::Store::new();
/// assert_eq!(store.call(entry!(set_all), ["a", "b"], ["1"]), Value::Int(2));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys<T = String>(
    /// The keys, in order.
    pub Vec<T>,
);

impl<'a, T: Parameter<'a>> Parameter<'a> for Keys<T> {
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        let mut keys = Vec::with_capacity(input.keys_left());
        while input.keys_left() > 0 {
            keys.push(T::take(input)?);
        }
        Ok(Self(keys))
    }
}

impl<T> core::ops::Deref for Keys<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> IntoIterator for Keys<T> {
    type Item = T;
    type IntoIter = alloc::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'k, T> IntoIterator for &'k Keys<T> {
    type Item = &'k T;
    type IntoIter = core::slice::Iter<'k, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Takes one value and reads it as `T`.
pub(crate) fn take_one<'a, T: FromValue>(input: &mut Input<'a>) -> Result<T, Refusal> {
    let bytes = input.value()?;
    T::from_bytes(bytes).map_err(|mismatch| Refusal::mismatch(mismatch, input))
}

macro_rules! single {
    ($($ty:ty)*) => {$(
        impl<'a> Parameter<'a> for $ty {
            fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
                take_one(input)
            }
        }
    )*};
}

single!(String bool f32 f64 i8 i16 i32 i64 isize u16 u32 u64 usize Value);

impl<'a> Parameter<'a> for u8 {
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        take_one(input)
    }

    fn take_list(input: &mut Input<'a>) -> Result<Vec<Self>, Refusal> {
        input.value().map(Into::into)
    }
}

impl<'a> Parameter<'a> for &'a [u8] {
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        input.value()
    }
}

impl<'a> Parameter<'a> for &'a str {
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        let bytes = input.value()?;
        core::str::from_utf8(bytes)
            .map_err(|_| Refusal::mismatch(Mismatch::new("UTF-8 text", bytes), input))
    }
}

impl<'a> Parameter<'a> for Cow<'a, str> {
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        <&str>::take(input).map(Cow::Borrowed)
    }
}

impl<'a> Parameter<'a> for Cow<'a, [u8]> {
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        input.value().map(Cow::Borrowed)
    }
}

impl<'a, T: Parameter<'a>> Parameter<'a> for Option<T> {
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        if input.left() == 0 {
            return Ok(None);
        }
        T::take(input).map(Some)
    }
}

impl<'a, T: Parameter<'a>> Parameter<'a> for Vec<T> {
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        T::take_list(input)
    }
}

impl<'a, K: Parameter<'a> + Ord, V: Parameter<'a>> Parameter<'a> for BTreeMap<K, V> {
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        let mut map = Self::new();
        while input.left() > 0 {
            let key = K::take(input)?;
            map.insert(key, V::take(input)?);
        }
        Ok(map)
    }
}

#[cfg(feature = "std")]
impl<'a, K, V, S> Parameter<'a> for std::collections::HashMap<K, V, S>
where
    K: Parameter<'a> + Eq + core::hash::Hash,
    V: Parameter<'a>,
    S: core::hash::BuildHasher + Default,
{
    fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
        let mut map = Self::default();
        while input.left() > 0 {
            let key = K::take(input)?;
            map.insert(key, V::take(input)?);
        }
        Ok(map)
    }
}

macro_rules! tuples {
    ($($($item:ident)*;)*) => {$(
        impl<'a, $($item: Parameter<'a>),*> Parameter<'a> for ($($item,)*) {
            fn take(input: &mut Input<'a>) -> Result<Self, Refusal> {
                Ok(($($item::take(input)?,)*))
            }
        }
    )*};
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}
