//! The server's context, which most functions of the module API need, with safe methods.

#![allow(unsafe_code, reason = "calls the server's functions")]

use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;

use ferrite_protocol::one_line::OneLine;

use crate::api::ffi::{self, Ctx, User, api};

/// The user on whose behalf a context is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The user that the context itself knows: on the main thread.
    OfContext,
    /// This user: on other threads.
    User(NonNull<User>),
    /// A user that was deleted meanwhile.
    Deleted,
    /// The server itself: for commands from replication or from a file.
    Server,
}

/// A context of the server that may be used now: on the main thread inside of a callback, or on
/// another thread while it holds the server's lock.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    raw: NonNull<Ctx>,
    caller: Caller,
    /// The flags at the start of the callback; `None` to ask each time.
    flags: Option<c_int>,
    _live: PhantomData<(&'a Ctx, *mut ())>,
}

impl<'a> Context<'a> {
    /// # Safety
    ///
    /// `raw` is a context of the server that lives for `'a`, and this thread may use it: it is
    /// the main thread inside of a callback, or holds the server's lock for `'a`.
    pub(crate) unsafe fn new(raw: *mut Ctx) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self {
            raw,
            caller: Caller::OfContext,
            flags: None,
            _live: PhantomData,
        })
    }

    /// The same context, on behalf of another user.
    ///
    /// # Safety
    ///
    /// A user in `who` lives for `'a`.
    pub(crate) unsafe fn on_behalf_of(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    /// The user on whose behalf this runs.
    pub(crate) fn caller(self) -> Caller {
        self.caller
    }

    pub(crate) fn raw(self) -> *mut Ctx {
        self.raw.as_ptr()
    }

    /// The same context with its present flags remembered. They do not change while the callback
    /// runs, and the server checks its memory and its peers each time it is asked.
    pub(crate) fn with_flags(self) -> Self {
        Self {
            flags: Some(self.flags()),
            ..self
        }
    }

    /// The flags of the server and of this call, `ffi::CTX_…`.
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

    /// Selects a database for what follows.
    pub(crate) fn select(self, database: u32) {
        if let Ok(database) = c_int::try_from(database) {
            // SAFETY: a live context; the server refuses a database that it does not have.
            unsafe { (api().select_db)(self.raw(), database) };
        }
    }

    /// Runs `run` with another database selected.
    pub(crate) fn in_database<R>(self, database: c_int, run: impl FnOnce() -> R) -> R {
        let before = self.database();
        // SAFETY: a live context; the first database always exists, and so does one that was selected.
        unsafe { (api().select_db)(self.raw(), database) };
        let result = run();
        // SAFETY: as above.
        unsafe { (api().select_db)(self.raw(), before) };
        result
    }

    /// Returns true if the server wants the positions of the keys and not the command to run.
    pub(crate) fn wants_key_positions(self) -> bool {
        // SAFETY: a live context.
        unsafe { (api().is_keys_position_request)(self.raw()) != 0 }
    }

    /// Tells the server that the argument at `position` is a key, which is written too unless
    /// `read_only`.
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

    /// Returns true if nothing may be written now, because a replica takes over.
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

/// Returns text as a C string, without its zero bytes.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| {
        let cleaned: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
        // No zero byte is left.
        CString::new(cleaned).unwrap_or_default()
    })
}

/// Writes a line into the server's log. Any thread may call it. The text stays one line, whatever
/// comes from clients and guests in it.
pub(crate) fn log(level: &CStr, text: &str) {
    let text = c_string(&OneLine(text).to_string());
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
