//! A call's keys and arguments, the cursor that fills parameters with them, and the errors for
//! values that do not fit.

pub(crate) mod entry;
pub(crate) mod parameter;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::argument::Decimal;
use crate::error::Error;
use crate::host;
use crate::host::result_buffer::append_long;
use crate::value::from_value::Mismatch;

/// Keys and arguments of up to this many bytes together need no allocation.
const INLINE_BYTES: usize = 256;

/// Up to this many keys and arguments need no allocation for their places.
const INLINE_VALUES: usize = 8;

/// The position of a value in [`Storage`].
#[derive(Clone, Copy, Default)]
struct Place {
    on_heap: bool,
    start: usize,
    len: usize,
}

/// The bytes of a call's keys and arguments: on the stack while they are few and short.
pub(crate) struct Storage {
    inline: [u8; INLINE_BYTES],
    used: usize,
    heap: Vec<u8>,
    inline_places: [Place; INLINE_VALUES],
    heap_places: Vec<Place>,
    keys: usize,
    count: usize,
}

impl Storage {
    /// Fetches all keys and arguments of the call.
    pub(crate) fn fetch() -> Result<Self, Error> {
        let keys = usize::try_from(host::key_count()).unwrap_or_default();
        let arguments = usize::try_from(host::arg_count()).unwrap_or_default();
        let mut storage = Self {
            inline: [0; INLINE_BYTES],
            used: 0,
            heap: Vec::new(),
            inline_places: [Place::default(); INLINE_VALUES],
            heap_places: Vec::new(),
            keys,
            count: keys + arguments,
        };
        if storage.count > INLINE_VALUES {
            storage.heap_places.reserve_exact(storage.count);
        }
        for index in 0..storage.count {
            let place = storage.append(index)?;
            match storage.inline_places.get_mut(index) {
                Some(inline) if storage.count <= INLINE_VALUES => *inline = place,
                _ => storage.heap_places.push(place),
            }
        }
        Ok(storage)
    }

    fn append(&mut self, index: usize) -> Result<Place, Error> {
        let room = &mut self.inline[self.used..];
        let answer = match index.checked_sub(self.keys) {
            None => host::key(index as i32, room),
            Some(index) => host::arg(index as i32, room),
        };
        let Ok(len) = usize::try_from(answer) else {
            return Err(Error::of_status(answer.into(), "input", b""));
        };
        if len <= room.len() {
            let start = self.used;
            self.used += len;
            return Ok(Place {
                on_heap: false,
                start,
                len,
            });
        }
        let start = self.heap.len();
        append_long(&mut self.heap, room, len)
            .map_err(|code| Error::of_status(code, "input", b""))?;
        Ok(Place {
            on_heap: true,
            start,
            len,
        })
    }

    fn places(&self) -> &[Place] {
        if self.count <= INLINE_VALUES {
            &self.inline_places[..self.count]
        } else {
            &self.heap_places
        }
    }
}

/// An annotated function, callable with keys and arguments. The macro writes it.
pub struct Entry {
    /// The name under which it is called.
    pub name: &'static str,
    /// Name and parameters as in the source code, for error replies.
    pub signature: &'static str,
    /// The parameters, in order.
    pub parameters: &'static [Description],
    /// Fills the parameters, calls the function and replies its result.
    pub call: fn(&mut Input<'_>) -> Result<(), Error>,
}

/// The description of a parameter for error replies.
pub struct Description {
    /// Its name.
    pub name: &'static str,
    /// Its type as in the source code.
    pub type_text: &'static str,
}

/// A call's keys and arguments, in order, with a cursor. A [`Parameter`](crate::Parameter) takes
/// its values from it.
pub struct Input<'a> {
    entry: &'static Entry,
    storage: &'a Storage,
    next: usize,
    /// Index of the parameter that is being filled.
    pub(crate) parameter: usize,
}

/// The position of a value among the keys or the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    is_key: bool,
    /// Counted from 1, as in scripts.
    number: usize,
}

/// Reason why a parameter could not be filled: no value is left, or it does not fit the type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Option<Box<(Mismatch, Position)>>);

impl Refusal {
    /// No key or argument is left for the parameter.
    #[must_use]
    pub const fn missing() -> Self {
        Self(None)
    }

    /// The value that was taken last does not fit the type.
    #[cold]
    #[must_use]
    pub fn mismatch(mismatch: Mismatch, input: &Input<'_>) -> Self {
        Self(Some(Box::new((mismatch, input.last()))))
    }
}

impl<'a> Input<'a> {
    pub(crate) fn new(entry: &'static Entry, storage: &'a Storage) -> Self {
        Self {
            entry,
            storage,
            next: 0,
            parameter: 0,
        }
    }

    /// Takes the next key or, after the keys, the next argument.
    ///
    /// # Errors
    ///
    /// Fails with [`Refusal::missing`] if none is left.
    pub fn value(&mut self) -> Result<&'a [u8], Refusal> {
        let Some(place) = self.storage.places().get(self.next) else {
            return Err(Refusal::missing());
        };
        self.next += 1;
        let bytes = if place.on_heap {
            &self.storage.heap[..]
        } else {
            &self.storage.inline[..]
        };
        // Every place lies within its bytes, so the default is never used.
        let bytes = bytes.get(place.start..place.start + place.len);
        Ok(bytes.unwrap_or_default())
    }

    /// Returns the number of keys and arguments that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.storage.count - self.next
    }

    /// Returns the number of keys that are left.
    #[must_use]
    pub fn keys_left(&self) -> usize {
        self.storage.keys.saturating_sub(self.next)
    }

    /// Returns the position of the value that was taken last.
    #[must_use]
    pub fn last(&self) -> Position {
        self.position(self.next.saturating_sub(1))
    }

    fn position(&self, index: usize) -> Position {
        match index.checked_sub(self.storage.keys) {
            None => Position {
                is_key: true,
                number: index + 1,
            },
            Some(index) => Position {
                is_key: false,
                number: index + 1,
            },
        }
    }

    /// Makes the error reply for a refused value, with the parameter's name, type and position.
    #[cold]
    pub(crate) fn error(&self, refusal: &Refusal) -> Error {
        let (name, type_text) = self
            .entry
            .parameters
            .get(self.parameter)
            .map_or(("", ""), |it| (it.name, it.type_text));
        Error::of_reply(match &refusal.0 {
            None => {
                let signature = self.entry.signature;
                let counts = self.counts();
                [
                    "ERR ",
                    signature,
                    ": no value for '",
                    name,
                    "' (",
                    type_text,
                    "); ",
                    &counts,
                ]
                .concat()
            }
            Some(found) => {
                let (mismatch, position) = &**found;
                let position = position.text();
                mismatch.describe(&[
                    "ERR ",
                    self.entry.name,
                    ": '",
                    name,
                    "' (",
                    &position,
                    ", ",
                    type_text,
                    ")",
                ])
            }
        })
    }

    /// Makes the error reply for values that no parameter took.
    #[cold]
    pub(crate) fn surplus(&self) -> Error {
        let signature = self.entry.signature;
        let position = self.position(self.next).text();
        let counts = self.counts();
        Error::of_reply(
            [
                "ERR ",
                signature,
                ": ",
                &position,
                " is one too many; ",
                &counts,
            ]
            .concat(),
        )
    }

    /// Describes the number of keys and arguments of the call.
    fn counts(&self) -> String {
        let count = |count: usize, noun: &str| {
            let plural = if count == 1 { "" } else { "s" };
            [Decimal::of_unsigned(count as u64).text(), noun, plural].concat()
        };
        let Storage {
            keys, count: all, ..
        } = *self.storage;
        [
            "got ",
            &count(keys, " key"),
            " and ",
            &count(all - keys, " argument"),
        ]
        .concat()
    }
}

impl Position {
    /// The position as scripts write it, such as `ARGS[1]`.
    fn text(self) -> String {
        let list = if self.is_key { "KEYS[" } else { "ARGS[" };
        [list, Decimal::of_unsigned(self.number as u64).text(), "]"].concat()
    }
}
