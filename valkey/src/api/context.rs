//! What a callback of the server may do, as safe methods.

#![allow(unsafe_code, reason = "calls the server's functions")]

use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::api::ffi::{self, Ctx, User, api};

/// On whose behalf a context is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// On the main thread, whose context knows it.
    OfContext,
    /// Beside it: of this user.
    User(NonNull<User>),
    /// Of a user that is gone since.
    Deleted,
    /// Of the server itself: what comes over replication or out of a file.
    Server,
}

/// A context of the server's that may be used now: on its main thread inside of a callback, or on
/// another thread while that holds the server's lock.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    raw: NonNull<Ctx>,
    caller: Caller,
    /// What was true when this callback began, where it was asked then.
    flags: Option<c_int>,
    _live: PhantomData<(&'a Ctx, *mut ())>,
}

impl<'a> Context<'a> {
    /// # Safety
    ///
    /// `raw` is a context of the server's that lives for `'a`, and this thread may use it: it is
    /// the main thread inside of a callback, or holds the server's lock for `'a`.
    pub(crate) unsafe fn new(raw: *mut Ctx) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self {
            raw,
            caller: Caller::OfContext,
            flags: None,
            _live: PhantomData,
        })
    }

    /// The same for another thread, on behalf of somebody.
    ///
    /// # Safety
    ///
    /// A user in `who` lives for `'a`.
    pub(crate) unsafe fn on_behalf_of(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// On whose behalf this runs.
    pub(crate) fn caller(self) -> Caller {
        self.caller
    }

    pub(crate) fn raw(self) -> *mut Ctx {
        self.raw.as_ptr()
    }

    /// The same with what is true now, which stays true for as long as this callback runs: the server
    /// looks at its memory and its peers for every answer.
    pub(crate) fn with_flags(self) -> Self {
        Self {
            flags: Some(self.flags()),
            ..self
        }
    }

    /// What is true of the server and of this call.
    pub(crate) fn flags(self) -> c_int {
        if let Some(flags) = self.flags {
            return flags;
        }
        // SAFETY: a live context, by the promise of `new`.
        unsafe { (api().get_context_flags)(self.raw()) }
    }

    pub(crate) fn database(self) -> c_int {
        // SAFETY: as above.
        unsafe { (api().get_selected_db)(self.raw()) }
    }

    /// Whether the server asks for the positions of the keys instead of running the command.
    pub(crate) fn wants_key_positions(self) -> bool {
        // SAFETY: a live context.
        unsafe { (api().is_keys_position_request)(self.raw()) != 0 }
    }

    /// Tells the server that word `position` is a key that may be read and, perhaps, written.
    pub(crate) fn key_at(self, position: usize, read_only: bool) {
        let Ok(position) = c_int::try_from(position) else {
            return;
        };
        let flags = if read_only {
            ffi::KEY_RO | ffi::KEY_ACCESS
        } else {
            ffi::KEY_RW | ffi::KEY_ACCESS | ffi::KEY_UPDATE
        };
        // SAFETY: a live context that asks for positions.
        unsafe { (api().key_at_pos_with_flags)(self.raw(), position, flags) };
    }

    /// Whether nothing may be written now, because a replica is to take over.
    pub(crate) fn is_paused(self) -> bool {
        // SAFETY: the function takes nothing.
        unsafe { (api().avoid_replica_traffic)() != 0 }
    }

    pub(crate) fn reply_error(self, text: &str) {
        let text = c_string(text);
        // SAFETY: a live context and a C string.
        unsafe { (api().reply_with_error)(self.raw(), text.as_ptr()) };
    }
}

/// A C string of text, which may hold zero bytes that C would stop at.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| {
        let cleaned: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
        // No zero byte is left.
        CString::new(cleaned).unwrap_or_default()
    })
}

/// Writes a line into the server's log. Any thread may.
pub(crate) fn log(level: &CStr, text: &str) {
    let text = c_string(text);
    // SAFETY: the server takes no context here, and reads the C strings only.
    unsafe {
        (api().log)(
            std::ptr::null_mut(),
            level.as_ptr(),
            c"%s".as_ptr(),
            text.as_ptr(),
        );
    }
}
