//! Converts Rust values to the bytes that the store keeps and that commands take.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// A value that the store can keep as a string: text, bytes, a number or a boolean (`1` or `0`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written as one value",
    note = "strings, bytes, numbers, `bool` and `Json<T>` can"
)]
pub trait Argument {
    /// Hands the value's bytes to `use_bytes`.
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R;
}

/// A command's arguments: one value, a tuple of values of any types, a list, pairs, or a tuple
/// of all of these, as in `("board", &pairs[..], 3)`. `None` is no argument at all.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of a command",
    note = "use a tuple of strings, bytes, numbers and slices of them"
)]
pub trait Arguments {
    /// Appends the arguments to a list.
    fn append_to(&self, list: &mut ArgumentList);

    /// Appends a slice of this type: bytes are one argument, other items one each.
    #[doc(hidden)]
    fn append_slice_to(items: &[Self], list: &mut ArgumentList)
    where
        Self: Sized,
    {
        for item in items {
            item.append_to(list);
        }
    }
}

/// Room for the longest head of a RESP array, `*2147483647\r\n`.
const HEAD_BYTES_MAX: usize = 16;

/// The arguments of a command, as the RESP array that the host takes.
pub struct ArgumentList {
    /// Room for the head, then the items. The head is written last, when the count is known.
    bytes: Vec<u8>,
    count: i64,
}

impl ArgumentList {
    pub(crate) fn new() -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.resize(HEAD_BYTES_MAX, 0);
        Self { bytes, count: 0 }
    }

    /// Appends one argument.
    pub fn item(&mut self, item: &[u8]) {
        self.count += 1;
        // Most arguments are short, and bytes of a fixed number are copied without a call.
        match item.len() {
            len @ 0..=9 => {
                let head = [b'$', b'0' + len as u8, b'\r', b'\n'];
                self.bytes.extend_from_slice(&head);
            }
            len @ 10..=99 => {
                let (tens, units) = (b'0' + (len / 10) as u8, b'0' + (len % 10) as u8);
                let head = [b'$', tens, units, b'\r', b'\n'];
                self.bytes.extend_from_slice(&head);
            }
            len => {
                self.bytes.push(b'$');
                let len = Decimal::of(len as i64);
                self.bytes.extend_from_slice(len.bytes());
                self.bytes.extend_from_slice(b"\r\n");
            }
        }
        self.bytes.extend_from_slice(item);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Writes the head and returns the whole array.
    pub(crate) fn finish(&mut self) -> &[u8] {
        let count = Decimal::of(self.count);
        let digits = count.bytes();
        let start = HEAD_BYTES_MAX - digits.len() - 3;
        self.bytes[start] = b'*';
        self.bytes[start + 1..HEAD_BYTES_MAX - 2].copy_from_slice(digits);
        self.bytes[HEAD_BYTES_MAX - 2..HEAD_BYTES_MAX].copy_from_slice(b"\r\n");
        &self.bytes[start..]
    }
}

/// The decimal text of an integer, made without `core::fmt`, which would add much code to a guest.
pub(crate) struct Decimal {
    /// Twenty digits hold every `u64`; one byte more, the sign.
    digits: [u8; 21],
    start: usize,
}

impl Decimal {
    pub(crate) fn of(number: i64) -> Self {
        let mut decimal = Self::of_unsigned(number.unsigned_abs());
        if number < 0 {
            decimal.start -= 1;
            decimal.digits[decimal.start] = b'-';
        }
        decimal
    }

    pub(crate) fn of_unsigned(mut number: u64) -> Self {
        let mut digits = [0; 21];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { digits, start };
            }
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }

    /// The same as text, which takes longer.
    pub(crate) fn text(&self) -> &str {
        // The digits are ASCII, so this cannot fail.
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

impl Argument for str {
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        use_bytes(self.as_bytes())
    }
}

impl Argument for [u8] {
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        use_bytes(self)
    }
}

impl<const N: usize> Argument for [u8; N] {
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        use_bytes(self)
    }
}

impl Argument for String {
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        use_bytes(self.as_bytes())
    }
}

impl Argument for Vec<u8> {
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        use_bytes(self)
    }
}

impl<T: Argument + ToOwned + ?Sized> Argument for Cow<'_, T> {
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        self.as_ref().with_bytes(use_bytes)
    }
}

impl<T: Argument + ?Sized> Argument for &T {
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        (**self).with_bytes(use_bytes)
    }
}

impl Argument for bool {
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        use_bytes(if *self { b"1" } else { b"0" })
    }
}

macro_rules! integers {
    ($make:ident as $wide:ident: $($ty:ident)*) => {$(
        impl Argument for $ty {
            fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
                use_bytes(Decimal::$make(*self as $wide).bytes())
            }
        }
    )*};
}

integers!(of as i64: i8 i16 i32 i64 isize);
integers!(of_unsigned as u64: u8 u16 u32 u64 usize);

/// Numbers outside this range are written with an exponent, because they would take too many
/// digits.
const PLAIN: core::ops::Range<f64> = 1e-5..1e17;

impl Argument for f64 {
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        let text = if *self == 0.0 || !self.is_finite() || PLAIN.contains(&self.abs()) {
            self.to_string()
        } else {
            alloc::format!("{self:e}")
        };
        use_bytes(text.as_bytes())
    }
}

impl Argument for f32 {
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        use_bytes(self.to_string().as_bytes())
    }
}

macro_rules! single {
    ($($ty:ty)*) => {$(
        impl Arguments for $ty {
            fn append_to(&self, list: &mut ArgumentList) {
                self.with_bytes(|bytes| list.item(bytes));
            }
        }
    )*};
}

single!(str String bool f32 f64 i8 i16 i32 i64 isize u16 u32 u64 usize);

impl Arguments for u8 {
    fn append_to(&self, list: &mut ArgumentList) {
        self.with_bytes(|bytes| list.item(bytes));
    }

    fn append_slice_to(items: &[Self], list: &mut ArgumentList) {
        list.item(items);
    }
}

impl<T: Arguments> Arguments for [T] {
    fn append_to(&self, list: &mut ArgumentList) {
        T::append_slice_to(self, list);
    }
}

impl<T: Arguments, const N: usize> Arguments for [T; N] {
    fn append_to(&self, list: &mut ArgumentList) {
        T::append_slice_to(self, list);
    }
}

impl<T: Arguments> Arguments for Vec<T> {
    fn append_to(&self, list: &mut ArgumentList) {
        T::append_slice_to(self, list);
    }
}

impl<T: Arguments> Arguments for Option<T> {
    fn append_to(&self, list: &mut ArgumentList) {
        if let Some(arguments) = self {
            arguments.append_to(list);
        }
    }
}

impl<T: Arguments + ToOwned + ?Sized> Arguments for Cow<'_, T> {
    fn append_to(&self, list: &mut ArgumentList) {
        self.as_ref().append_to(list);
    }
}

impl<T: Arguments + ?Sized> Arguments for &T {
    fn append_to(&self, list: &mut ArgumentList) {
        (**self).append_to(list);
    }
}

impl Arguments for () {
    fn append_to(&self, _: &mut ArgumentList) {}
}

macro_rules! tuples {
    ($($($item:ident)*;)*) => {$(
        impl<$($item: Arguments),*> Arguments for ($($item,)*) {
            #[allow(non_snake_case, reason = "one name serves for the type and its value")]
            fn append_to(&self, list: &mut ArgumentList) {
                let ($($item,)*) = self;
                $($item.append_to(list);)*
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
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
}

#[cfg(test)]
mod tests {
    use super::{Argument, ArgumentList, Arguments, Decimal};
    use alloc::string::String;
    use alloc::vec;

    fn encoded(arguments: impl Arguments) -> String {
        let mut list = ArgumentList::new();
        arguments.append_to(&mut list);
        String::from_utf8_lossy(list.finish()).into_owned()
    }

    fn text(value: impl Argument) -> String {
        value.with_bytes(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    #[test]
    fn a_tuple_of_anything_becomes_a_flat_list() {
        assert_eq!(encoded(()), "*0\r\n");
        assert_eq!(
            encoded(("k", 7, &[("a", 1), ("b", 2)][..], None::<i64>)),
            "*6\r\n$1\r\nk\r\n$1\r\n7\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n"
        );
        assert_eq!(encoded(vec![b"x".to_vec()]), "*1\r\n$1\r\nx\r\n");
        assert_eq!(encoded(b"bytes"), "*1\r\n$5\r\nbytes\r\n");
    }

    #[test]
    fn integers_are_written_to_both_ends() {
        assert_eq!(Decimal::of(i64::MIN).text(), "-9223372036854775808");
        assert_eq!(
            Decimal::of_unsigned(u64::MAX).text(),
            "18446744073709551615"
        );
        assert_eq!(Decimal::of(0).text(), "0");
        assert_eq!(text(-5i8), "-5");
    }

    #[test]
    fn floats_are_short_and_read_back_the_same() {
        for number in [0.0, -0.5, 0.1, 1e16, 1e300, 5e-324, f64::MAX, 123_456.789] {
            let text = text(number);
            assert!(text.len() < 26, "{text}");
            assert_eq!(text.parse::<f64>(), Ok(number), "{text}");
        }
    }
}
