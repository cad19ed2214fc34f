//! Open keys: reads and writes values without running a command.

#![allow(unsafe_code, reason = "calls the server's functions on open keys")]

use std::ffi::{c_int, c_longlong};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::api::context::Context;
use crate::api::ffi::{self, Key, RmString, api};
use crate::api::string::{Borrowed, Owned};

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Nothing,
    String,
    Hash,
    Other,
}

impl<'a> Context<'a> {
    /// Opens a key to read it; `None` if there is no such key.
    pub(crate) fn open_to_read(self, key: Borrowed<'_>) -> Option<OpenKey<'a>> {
        // SAFETY: a live context and a live string; the key does not outlive the context.
        let raw = unsafe { (api().open_key)(self.raw(), key.raw(), ffi::READ) };
        OpenKey::new(raw)
    }

    /// Opens a key to look at its size, which is no access by a command; `None` if there is no such key.
    pub(crate) fn open_unnoticed(self, key: Borrowed<'_>) -> Option<OpenKey<'a>> {
        // SAFETY: as above.
        let raw = unsafe { (api().open_key)(self.raw(), key.raw(), ffi::READ | ffi::UNNOTICED) };
        OpenKey::new(raw)
    }

    /// Opens a key to read its value as it is now, without any effect on it; `None` if there is no such
    /// key.
    pub(crate) fn open_as_it_is(self, key: Borrowed<'_>) -> Option<OpenKey<'a>> {
        let flags = ffi::READ | ffi::UNNOTICED | ffi::NO_EXPIRY;
        // SAFETY: as above.
        let raw = unsafe { (api().open_key)(self.raw(), key.raw(), flags) };
        OpenKey::new(raw)
    }

    /// Opens a key to write it, which may not exist yet.
    pub(crate) fn open_to_write(self, key: Borrowed<'_>) -> Option<OpenKey<'a>> {
        // SAFETY: as above.
        let raw = unsafe { (api().open_key)(self.raw(), key.raw(), ffi::READ | ffi::WRITE) };
        OpenKey::new(raw)
    }
}

/// An open key, closed when dropped.
pub(crate) struct OpenKey<'a> {
    raw: NonNull<Key>,
    _context: PhantomData<Context<'a>>,
}

impl OpenKey<'_> {
    pub(crate) fn new(raw: *mut Key) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self {
            raw,
            _context: PhantomData,
        })
    }

    pub(crate) fn raw(&self) -> *mut Key {
        self.raw.as_ptr()
    }

    pub(crate) fn kind(&self) -> ValueKind {
        // SAFETY: the key is open, as in every method here.
        match unsafe { (api().key_type)(self.raw()) } {
            ffi::KEYTYPE_EMPTY => ValueKind::Nothing,
            ffi::KEYTYPE_STRING => ValueKind::String,
            ffi::KEYTYPE_HASH => ValueKind::Hash,
            _ => ValueKind::Other,
        }
    }

    /// Number of bytes of a string, or of elements of any other value.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: as above.
        unsafe { (api().value_length)(self.raw()) }
    }

    /// Gives `read` the string in the server's memory. The key must hold a string.
    pub(crate) fn string<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let mut len = 0;
        // SAFETY: as above; what is returned are `len` bytes that stay until the key is closed or
        // changed, which `read` cannot do.
        let start = unsafe { (api().string_dma)(self.raw(), &raw mut len, ffi::READ) };
        if start.is_null() {
            return None;
        }
        // SAFETY: as just said.
        let bytes = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) };
        Some(read(bytes))
    }

    /// Overwrites a string of the same length in place. Returns false if it could not.
    pub(crate) fn overwrite(&mut self, value: &[u8]) -> bool {
        let mut len = 0;
        // SAFETY: as in `string`, for a key that is open to write.
        let start = unsafe { (api().string_dma)(self.raw(), &raw mut len, ffi::WRITE) };
        if start.is_null() || len != value.len() {
            return false;
        }
        // SAFETY: the server lets these `len` bytes be written, and `value` has that length.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), start.cast::<u8>(), len) };
        true
    }

    /// Replaces the key's value by a string, and removes its expiry.
    pub(crate) fn set_string(&mut self, value: Borrowed<'_>) -> bool {
        // SAFETY: the key is open to write, and the string lives.
        unsafe { (api().string_set)(self.raw(), value.raw()) == ffi::OK }
    }

    /// Deletes the key. A background thread frees a large value.
    pub(crate) fn unlink(&mut self) -> bool {
        // SAFETY: the key is open to write.
        unsafe { (api().unlink_key)(self.raw()) == ffi::OK }
    }

    /// Returns a field of a hash. The key must hold a hash.
    pub(crate) fn field<'c>(&self, context: Context<'c>, field: Borrowed<'_>) -> Option<Owned<'c>> {
        let mut value: *mut RmString = std::ptr::null_mut();
        // SAFETY: a field's name, a place for a string, and the null that ends the list.
        unsafe {
            (api().hash_get)(
                self.raw(),
                ffi::HASH_NONE,
                field.raw(),
                &raw mut value,
                std::ptr::null_mut::<RmString>(),
            );
        }
        (!value.is_null()).then(|| Owned::new(context, value))
    }

    /// Returns true if a hash has a field. The key must hold a hash.
    pub(crate) fn has_field(&self, field: Borrowed<'_>) -> bool {
        let mut exists: c_int = 0;
        // SAFETY: a field's name, a place for a number, and the null that ends the list.
        unsafe {
            (api().hash_get)(
                self.raw(),
                ffi::HASH_EXISTS,
                field.raw(),
                &raw mut exists,
                std::ptr::null_mut::<RmString>(),
            );
        }
        exists != 0
    }

    /// Writes a field of a hash, or deletes it if there is no value.
    pub(crate) fn set_field(&mut self, field: Borrowed<'_>, value: Option<Borrowed<'_>>) {
        let value = value.map_or(ffi::HASH_DELETE, Borrowed::raw);
        // SAFETY: a field's name, a value or what stands for none, and the null that ends the list.
        unsafe {
            (api().hash_set)(
                self.raw(),
                ffi::HASH_NONE,
                field.raw(),
                value,
                std::ptr::null_mut::<RmString>(),
            );
        }
    }

    /// Returns the time at which the key expires, in milliseconds since 1970; `None` if it does
    /// not.
    pub(crate) fn expires_at(&self) -> Option<i64> {
        // SAFETY: the key is open.
        let at = unsafe { (api().get_abs_expire)(self.raw()) };
        (at != ffi::NO_EXPIRE).then_some(at)
    }

    /// Sets the time at which the key expires; `None` for never.
    pub(crate) fn set_expires_at(&mut self, at: Option<i64>) {
        let at: c_longlong = at.unwrap_or(ffi::NO_EXPIRE);
        // SAFETY: the key is open to write.
        let _: c_int = unsafe { (api().set_abs_expire)(self.raw(), at) };
    }
}

impl Drop for OpenKey<'_> {
    fn drop(&mut self) {
        // SAFETY: it is open, and closed once.
        unsafe { (api().close_key)(self.raw()) };
    }
}
