//! The user on whose behalf a call runs, and that user's permissions.

#![allow(unsafe_code, reason = "asks the server's access control")]

use std::ffi::c_int;
use std::ptr::NonNull;

use crate::api::context::{Caller, Context};
use crate::api::ffi::{self, RmString, User, api};
use crate::api::string::{Borrowed, Owned};

impl<'a> Context<'a> {
    /// Returns the name of the user on whose behalf this runs.
    pub(crate) fn user_name(self) -> Option<Owned<'a>> {
        // SAFETY: a live context; the string is the caller's to free.
        let raw = unsafe { (api().get_current_user_name)(self.raw()) };
        (!raw.is_null()).then(|| Owned::new(self, raw))
    }

    /// Gives `access` the user of this name.
    pub(crate) fn with_user<R>(self, name: &[u8], access: impl FnOnce(Caller) -> R) -> R {
        struct Free(NonNull<User>);
        impl Drop for Free {
            fn drop(&mut self) {
                // SAFETY: `self` owns the handle, and frees it once.
                unsafe { (api().free_user)(self.0.as_ptr()) };
            }
        }
        let name = self.string(name);
        // SAFETY: a live string; the handle is the caller's to free. The user itself is the
        // server's, which takes it away on its main thread only, or under the lock that this thread
        // holds.
        let user = NonNull::new(unsafe { (api().get_user)(name.borrow().raw()) }).map(Free);
        access(
            user.as_ref()
                .map_or(Caller::Deleted, |user| Caller::User(user.0)),
        )
    }

    /// Returns true if the caller may read and write a key.
    pub(crate) fn may_write(self, key: Borrowed<'_>) -> bool {
        match self.caller() {
            Caller::Server => true,
            Caller::Deleted => false,
            Caller::User(user) => {
                // SAFETY: the user lives, by the promise of `on_behalf_of` or in `with_user`, and
                // so does the string.
                let allowed =
                    unsafe { (api().acl_check_key)(user.as_ptr(), key.raw(), ffi::ACL_KEY_ALL) };
                allowed == ffi::OK
            }
            Caller::OfContext => self.user_name().is_some_and(|name| {
                self.with_user(name.bytes(), |caller| {
                    // SAFETY: the user lives for as long as this runs.
                    caller != Caller::OfContext
                        && unsafe { self.on_behalf_of(caller) }.may_write(key)
                })
            }),
        }
    }

    /// Returns true if the caller may run a command. On the main thread that is always so, because
    /// the server checks the command itself; on other threads Redis 7.0 would crash over a command
    /// that it refuses.
    pub(crate) fn may_run(self, argv: &[Borrowed<'_>]) -> bool {
        let user = match self.caller() {
            Caller::OfContext | Caller::Server => return true,
            Caller::Deleted => return false,
            Caller::User(user) => user,
        };
        let mut raw: Vec<*mut RmString> = argv.iter().map(|word| word.raw()).collect();
        let Ok(count) = c_int::try_from(raw.len()) else {
            return false;
        };
        // SAFETY: the user lives, by the promise of `on_behalf_of`, and so do the strings.
        let allowed = unsafe { (api().acl_check_command)(user.as_ptr(), raw.as_mut_ptr(), count) };
        allowed == ffi::OK
    }
}
