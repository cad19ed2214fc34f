//! On whose behalf a call runs, and what that user may do.

#![allow(unsafe_code, reason = "asks the server's access control")]

use crate::context::Context;
use crate::ffi::{self, api};
use crate::words::{Borrowed, Owned};

impl<'a> Context<'a> {
    /// The name of the user on whose behalf this runs.
    pub(crate) fn user_name(self) -> Option<Owned<'a>> {
        // SAFETY: a live context; the string is the caller's to free.
        let raw = unsafe { (api().get_current_user_name)(self.raw()) };
        (!raw.is_null()).then(|| Owned::new(self, raw))
    }

    /// Whether the caller may read and write a key.
    pub(crate) fn may_write(self, key: Borrowed<'_>) -> bool {
        if !self.user().is_null() {
            // SAFETY: the user lives, by the promise of `with_user`, and so does the string.
            return unsafe { (api().acl_check_key)(self.user(), key.raw(), ffi::ACL_KEY_ALL) }
                == ffi::OK;
        }
        let Some(name) = self.user_name() else {
            return false;
        };
        // SAFETY: a live string; the user is the caller's to free.
        let user = unsafe { (api().get_user)(name.borrow().raw()) };
        if user.is_null() {
            return false;
        }
        // SAFETY: a live user and a live string.
        let allowed = unsafe { (api().acl_check_key)(user, key.raw(), ffi::ACL_KEY_ALL) };
        // SAFETY: it is ours, and freed once.
        unsafe { (api().free_user)(user) };
        allowed == ffi::OK
    }
}
