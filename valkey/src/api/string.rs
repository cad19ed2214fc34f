//! Strings of the server: borrowed from a command, or owned.

#![allow(unsafe_code, reason = "reads and frees the server's strings")]

use std::ffi::{c_char, c_int};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;

use crate::api::context::Context;
use crate::api::ffi::{RmString, api};

/// A string of the server that lives for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Borrowed<'a> {
    raw: *mut RmString,
    _live: PhantomData<&'a RmString>,
}

impl Borrowed<'_> {
    pub(crate) fn raw(self) -> *mut RmString {
        self.raw
    }
}

impl<'a> Borrowed<'a> {
    /// # Safety
    ///
    /// `raw` is a live string for `'a`, and nothing changes it.
    pub(crate) unsafe fn new(raw: *mut RmString) -> Self {
        Self {
            raw,
            _live: PhantomData,
        }
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        // SAFETY: the promise of `new`, and that of the arguments of a command.
        unsafe { bytes_of(self.raw) }
    }
}

/// A string that the module owns; freed when dropped.
pub(crate) struct Owned<'a> {
    context: Context<'a>,
    raw: *mut RmString,
}

impl<'a> Owned<'a> {
    pub(crate) fn new(context: Context<'a>, raw: *mut RmString) -> Self {
        Self { context, raw }
    }

    pub(crate) fn borrow(&self) -> Borrowed<'_> {
        Borrowed {
            raw: self.raw,
            _live: PhantomData,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the string lives as long as `self`, and only its owner could change it.
        unsafe { bytes_of(self.raw) }
    }
}

/// A string of the server that is an argument of the command, or the module's own.
pub(crate) enum Named<'a> {
    Argument(Borrowed<'a>),
    Own(Owned<'a>),
}

/// A string of the server, whoever owns it.
pub(crate) trait ServerString {
    fn as_borrowed(&self) -> Borrowed<'_>;
}

impl ServerString for Owned<'_> {
    fn as_borrowed(&self) -> Borrowed<'_> {
        self.borrow()
    }
}

impl ServerString for Named<'_> {
    fn as_borrowed(&self) -> Borrowed<'_> {
        self.borrow()
    }
}

impl Named<'_> {
    pub(crate) fn borrow(&self) -> Borrowed<'_> {
        match self {
            Self::Argument(argument) => *argument,
            Self::Own(owned) => owned.borrow(),
        }
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: `self` owns the string, and the context may still be used.
        unsafe { (api().free_string)(self.context.raw(), self.raw) };
    }
}

impl<'a> Context<'a> {
    /// Makes a string of the server.
    pub(crate) fn string(self, bytes: &[u8]) -> Owned<'a> {
        // SAFETY: a live context, and `len` readable bytes, which are copied.
        let raw = unsafe {
            (api().create_string)(self.raw(), bytes.as_ptr().cast::<c_char>(), bytes.len())
        };
        Owned::new(self, raw)
    }
}

/// Returns the bytes of a string.
///
/// # Safety
///
/// `raw` is a live string for as long as the slice is used, and is not changed meanwhile.
unsafe fn bytes_of<'a>(raw: *mut RmString) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: a live string and a place for its length.
    let start = unsafe { (api().string_ptr_len)(raw, &raw mut len) };
    if start.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: the server's string has `len` bytes at `start`.
    unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) }
}

/// The arguments of a command, with its name, as the server passed them.
///
/// They are borrowed for the time of the command's callback. After [`Args::retain`] they live until
/// [`Args::release`], which must be called on the server's main thread.
pub(crate) struct Args {
    strings: SmallVec<[*mut RmString; 8]>,
    retained: AtomicBool,
}

// SAFETY: other threads only read the bytes of the strings, which the server neither changes nor moves
// while they are used; the counts of references are changed under the server's lock alone.
unsafe impl Send for Args {}
// SAFETY: as above.
unsafe impl Sync for Args {}

impl Args {
    /// # Safety
    ///
    /// `argv` is an array of `argc` live strings, or null. The result is not used after the
    /// callback that the strings were passed to, unless they were retained.
    pub(crate) unsafe fn new(argv: *mut *mut RmString, argc: c_int) -> Self {
        let count = usize::try_from(argc).unwrap_or(0);
        let strings = if argv.is_null() {
            SmallVec::new()
        } else {
            // SAFETY: the caller's promise.
            SmallVec::from_slice(unsafe { std::slice::from_raw_parts(argv, count) })
        };
        Self {
            strings,
            retained: AtomicBool::new(false),
        }
    }

    /// The arguments of two arrays, one after the other.
    ///
    /// # Safety
    ///
    /// As for [`Args::new`], for both arrays.
    pub(crate) unsafe fn of_two(
        first: *mut *mut RmString,
        first_count: usize,
        second: *mut *mut RmString,
        second_count: usize,
    ) -> Self {
        let mut args = Self::none();
        for (start, count) in [(first, first_count), (second, second_count)] {
            if !start.is_null() {
                // SAFETY: the caller's promise.
                let strings = unsafe { std::slice::from_raw_parts(start, count) };
                args.strings.extend_from_slice(strings);
            }
        }
        args
    }

    /// No arguments at all.
    pub(crate) fn none() -> Self {
        Self {
            strings: SmallVec::new(),
            retained: AtomicBool::new(false),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.strings.len()
    }

    /// Returns the bytes of each argument.
    pub(crate) fn slices(&self) -> SmallVec<[&[u8]; 8]> {
        // Filled in place, because a call's arguments are read twice.
        let mut slices = SmallVec::new();
        for &raw in &self.strings {
            // SAFETY: the promise of `new`: the strings live, borrowed or retained.
            slices.push(unsafe { bytes_of(raw) });
        }
        slices
    }

    /// Returns the bytes of one argument; nothing if there are fewer.
    pub(crate) fn bytes(&self, index: usize) -> &[u8] {
        self.strings
            .get(index)
            // SAFETY: as above.
            .map_or(&[], |&raw| unsafe { bytes_of(raw) })
    }

    /// Returns one argument as a string of the server, to open a key by.
    pub(crate) fn string(&self, index: usize) -> Option<Borrowed<'_>> {
        self.strings.get(index).map(|&raw| Borrowed {
            raw,
            _live: PhantomData,
        })
    }

    /// Keeps the strings alive beyond the callback.
    pub(crate) fn retain(&self, context: Context<'_>) {
        if self.retained.swap(true, Ordering::Relaxed) {
            return;
        }
        for &raw in &self.strings {
            // SAFETY: live strings, and the main thread, where counts may be changed.
            unsafe { (api().retain_string)(context.raw(), raw) };
        }
    }

    /// Releases the strings if they were retained; nothing may use them afterwards.
    pub(crate) fn release(&self, context: Context<'_>) {
        if self.retained.swap(false, Ordering::Relaxed) {
            for &raw in &self.strings {
                // SAFETY: retained in `retain`, and freed once.
                unsafe { (api().free_string)(context.raw(), raw) };
            }
        }
    }
}

/// Returns bytes as a pointer to C characters and a length.
pub(crate) fn c_chars(bytes: &[u8]) -> (*const c_char, usize) {
    (bytes.as_ptr().cast(), bytes.len())
}
