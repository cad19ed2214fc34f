//! The types that a ferrite function may return, and their replies.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::argument::Decimal;
use crate::error::Error;
use crate::host;
use crate::value::Value;

/// A type that a ferrite function may return.
///
/// | type | reply |
/// |---|---|
/// | integers | an integer; a `u64` beyond `i64` its decimal text |
/// | `bool`, `f32`, `f64` | a boolean, a double (in RESP2 an integer, a string) |
/// | `str`, `String`, bytes, [`Json<T>`](crate::Json) | a string |
/// | `()` | `OK` |
/// | [`Simple`] | a status text |
/// | `Option<T>` | null, or the value |
/// | `Vec<T>`, slices, arrays, tuples | an array |
/// | `BTreeMap`, `HashMap` | a map (in RESP2 a flat array) |
/// | `Result<T, E>` | the value, or an error: `E`'s text, after `ERR` unless it starts with a code
/// |
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a ferrite function",
    note = "results are strings, bytes, numbers, `bool`, `()`, `Option`, `Vec`, tuples, maps, `Result`, `Value` or `Json<T>`"
)]
pub trait Reply {
    /// Replies the value.
    fn reply(&self);

    /// Replies a list of this type: bytes are a string, other items an array.
    #[doc(hidden)]
    fn reply_list(items: &[Self])
    where
        Self: Sized,
    {
        host::reply_array(items.len());
        for item in items {
            item.reply();
        }
    }
}

/// A status text, such as `PONG`, in place of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simple<T>(
    /// The text; line ends in it become blanks.
    pub T,
);

impl<T: AsRef<str>> Reply for Simple<T> {
    fn reply(&self) {
        host::reply_simple(self.0.as_ref().as_bytes());
    }
}

impl Reply for () {
    fn reply(&self) {
        host::reply_simple(b"OK");
    }
}

impl Reply for bool {
    fn reply(&self) {
        host::reply_bool(*self);
    }
}

impl Reply for f64 {
    fn reply(&self) {
        host::reply_double(*self);
    }
}

impl Reply for f32 {
    fn reply(&self) {
        host::reply_double((*self).into());
    }
}

macro_rules! integers {
    ($($ty:ident)*) => {$(
        impl Reply for $ty {
            fn reply(&self) {
                host::reply_int(*self as i64);
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 isize u16 u32);

impl Reply for u8 {
    fn reply(&self) {
        host::reply_int((*self).into());
    }

    fn reply_list(items: &[Self]) {
        host::reply_bulk(items);
    }
}

impl Reply for u64 {
    fn reply(&self) {
        match i64::try_from(*self) {
            Ok(number) => host::reply_int(number),
            Err(_) => host::reply_bulk(Decimal::of_unsigned(*self).bytes()),
        }
    }
}

impl Reply for usize {
    fn reply(&self) {
        (*self as u64).reply();
    }
}

impl Reply for str {
    fn reply(&self) {
        host::reply_bulk(self.as_bytes());
    }
}

impl Reply for String {
    fn reply(&self) {
        self.as_str().reply();
    }
}

impl<T: Reply> Reply for [T] {
    fn reply(&self) {
        T::reply_list(self);
    }
}

impl<T: Reply, const N: usize> Reply for [T; N] {
    fn reply(&self) {
        T::reply_list(self);
    }
}

impl<T: Reply> Reply for Vec<T> {
    fn reply(&self) {
        T::reply_list(self);
    }
}

impl<T: Reply + ?Sized> Reply for &T {
    fn reply(&self) {
        (**self).reply();
    }
}

impl<T: Reply + ?Sized> Reply for Box<T> {
    fn reply(&self) {
        (**self).reply();
    }
}

impl<T: Reply + alloc::borrow::ToOwned + ?Sized> Reply for Cow<'_, T> {
    fn reply(&self) {
        (**self).reply();
    }
}

impl<T: Reply> Reply for Option<T> {
    fn reply(&self) {
        match self {
            Some(value) => value.reply(),
            None => host::reply_null(),
        }
    }
}

impl<T: Reply, E: fmt::Display> Reply for Result<T, E> {
    fn reply(&self) {
        match self {
            Ok(value) => value.reply(),
            Err(error) => Error::new(error.to_string()).reply(),
        }
    }
}

impl Reply for Error {
    fn reply(&self) {
        host::reply_error(self.text().as_bytes());
    }
}

impl<K: Reply, V: Reply> Reply for BTreeMap<K, V> {
    fn reply(&self) {
        host::reply_map(self.len());
        for (key, value) in self {
            key.reply();
            value.reply();
        }
    }
}

#[cfg(feature = "std")]
impl<K: Reply, V: Reply, S> Reply for std::collections::HashMap<K, V, S> {
    fn reply(&self) {
        host::reply_map(self.len());
        for (key, value) in self {
            key.reply();
            value.reply();
        }
    }
}

impl Reply for Value {
    fn reply(&self) {
        match self {
            Self::Null => host::reply_null(),
            Self::Bool(truth) => truth.reply(),
            Self::Int(number) => number.reply(),
            Self::Double(number) => number.reply(),
            Self::Bulk(bytes) => bytes.reply(),
            Self::Simple(text) => host::reply_simple(text.as_bytes()),
            Self::Error(text) => host::reply_error(text.as_bytes()),
            Self::Array(items) => items.reply(),
            Self::Map(pairs) => {
                host::reply_map(pairs.len());
                for (key, value) in pairs {
                    key.reply();
                    value.reply();
                }
            }
        }
    }
}

macro_rules! tuples {
    ($($len:literal: $($item:ident)*;)*) => {$(
        impl<$($item: Reply),*> Reply for ($($item,)*) {
            #[allow(non_snake_case, reason = "one name serves for the type and its value")]
            fn reply(&self) {
                let ($($item,)*) = self;
                host::reply_array($len);
                $($item.reply();)*
            }
        }
    )*};
}

tuples! {
    1: A;
    2: A B;
    3: A B C;
    4: A B C D;
    5: A B C D E;
    6: A B C D E F;
}
