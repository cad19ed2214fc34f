//! An open key: reads and writes without a command in between.

#![allow(unsafe_code, reason = "calls the server's functions on open keys")]

use std::ffi::{c_int, c_longlong};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::api::context::Context;
use crate::api::ffi::{self, Key, RmString, api};
use crate::api::string::{Borrowed, Owned};

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Nothing,
    String,
    Hash,
    Other,
}

impl<'a> Context<'a> {
    /// Opens a key to read it; `None` where there is none.
    pub(crate) fn open_to_read(self, key: Borrowed<'_>) -> Option<OpenKey<'a>> {
        // SAFETY: a live context and a live string; the key does not outlive the context.
        let raw = unsafe { (api().open_key)(self.raw(), key.raw(), ffi::READ) };
        OpenKey::new(raw)
    }

    /// Opens a key to write it, whether there is one or not.
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

    fn raw(&self) -> *mut Key {
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

    /// Bytes of a string, elements of anything else.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: as above.
        unsafe { (api().value_length)(self.raw()) }
    }

    /// Shows the string to `read`, where it stands. The key must hold one.
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

    /// Writes over a string of the same length, where it stands; whether it could.
    pub(crate) fn overwrite(&mut self, value: &[u8]) -> bool {
        let mut len = 0;
        // SAFETY: as in `string`, for a key that is open to write.
        let start = unsafe { (api().string_dma)(self.raw(), &raw mut len, ffi::WRITE) };
        if start.is_null() || len != value.len() {
            return false;
        }
        // SAFETY: `len` bytes that the server lets us write.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), start.cast::<u8>(), len) };
        true
    }

    /// Puts a string in the place of whatever the key holds; an expiry goes.
    pub(crate) fn set_string(&mut self, value: Borrowed<'_>) -> bool {
        // SAFETY: the key is open to write, and the string lives.
        unsafe { (api().string_set)(self.raw(), value.raw()) == ffi::OK }
    }

    /// Deletes the key; its memory is given back elsewhere if it is large.
    pub(crate) fn unlink(&mut self) -> bool {
        // SAFETY: the key is open to write.
        unsafe { (api().unlink_key)(self.raw()) == ffi::OK }
    }

    /// A field of a hash. The key must hold one.
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

    /// Whether a hash has a field. The key must hold one.
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

    /// Writes a field of a hash, or deletes it where there is no value.
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

    /// When the key expires, in milliseconds since 1970.
    pub(crate) fn expires_at(&self) -> Option<i64> {
        // SAFETY: the key is open.
        let at = unsafe { (api().get_abs_expire)(self.raw()) };
        (at != ffi::NO_EXPIRE).then_some(at)
    }

    /// Has the key expire then, or never.
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
