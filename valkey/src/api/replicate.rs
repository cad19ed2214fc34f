//! Sends changes to replicas, the append-only file, and clients that listen for keyspace events.

#![allow(unsafe_code, reason = "calls the server's functions")]

use std::ffi::{CStr, c_int, c_longlong};

use crate::api::context::Context;
use crate::api::ffi::{RmString, api};
use crate::api::string::{Borrowed, c_chars};

impl Context<'_> {
    /// Replicates a command, and adds it to the append-only file, when this callback is over.
    pub(crate) fn replicate(self, name: &CStr, argv: &[Borrowed<'_>]) {
        let mut raw: smallvec::SmallVec<[*mut RmString; 8]> =
            argv.iter().map(|word| word.raw()).collect();
        // SAFETY: a live context, C strings, and an array of live strings with its length, which
        // the server does not keep.
        unsafe {
            (api().replicate)(
                self.raw(),
                name.as_ptr(),
                c"v".as_ptr(),
                raw.as_mut_ptr(),
                raw.len(),
            );
        }
    }

    /// Replicates the `SET` of a string, with the time at which it expires in milliseconds since 1970.
    pub(crate) fn replicate_set(self, key: Borrowed<'_>, value: &[u8], expires_at: Option<i64>) {
        let (start, len) = c_chars(value);
        let (ctx, replicate) = (self.raw(), api().replicate);
        // SAFETY: a live context, C strings, and what the formats name: a live string, bytes with their
        // length, a C string and a number. The server copies the bytes.
        let _: c_int = unsafe {
            match expires_at {
                None => replicate(ctx, c"SET".as_ptr(), c"sb".as_ptr(), key.raw(), start, len),
                Some(at) => replicate(
                    ctx,
                    c"SET".as_ptr(),
                    c"sbcl".as_ptr(),
                    key.raw(),
                    start,
                    len,
                    c"PXAT".as_ptr(),
                    c_longlong::from(at),
                ),
            }
        };
    }

    /// Sends a keyspace event about `key`.
    pub(crate) fn notify(self, class: c_int, event: &CStr, key: Borrowed<'_>) {
        // SAFETY: a live context, a C string and a live string.
        unsafe {
            (api().notify_keyspace_event)(self.raw(), class, event.as_ptr(), key.raw());
        }
    }
}
