//! The user on whose behalf a call runs, and that user's permissions.

#![allow(unsafe_code, reason = "asks the server's access control")]

use std::ffi::c_int;
use std::ptr::NonNull;

use crate::api::context::{Caller, Context};
use crate::api::ffi::{self, RmString, User, api};
use crate::api::locked_cell::LockedCell;
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
        self.with_user_of(self.string(name).borrow(), access)
    }

    /// The same, for a name that is a string of the server.
    fn with_user_of<R>(self, name: Borrowed<'_>, access: impl FnOnce(Caller) -> R) -> R {
        struct Free(NonNull<User>);
        impl Drop for Free {
            fn drop(&mut self) {
                // SAFETY: `self` owns the handle, and frees it once.
                unsafe { (api().free_user)(self.0.as_ptr()) };
            }
        }
        // SAFETY: a live string; the handle is the caller's to free. The user itself is the
        // server's, which takes it away on its main thread only, or under the lock that this thread
        // holds.
        let user = NonNull::new(unsafe { (api().get_user)(name.raw()) }).map(Free);
        access(
            user.as_ref()
                .map_or(Caller::Deleted, |user| Caller::User(user.0)),
        )
    }

    /// Returns true if the caller may run every command on every key.
    pub(crate) fn is_caller_unrestricted(self) -> bool {
        match self.caller() {
            Caller::Server => true,
            Caller::Deleted => false,
            Caller::User(user) => self.is_unrestricted(user),
            Caller::OfContext => self.user_name().is_some_and(|name| {
                self.with_user_of(name.borrow(), |caller| match caller {
                    Caller::User(user) => self.is_unrestricted(user),
                    _ => false,
                })
            }),
        }
    }

    /// Reads a user's rules. The server keeps their text until they change, and this keeps the last
    /// text that allowed everything, so that an equal address means equal rules.
    fn is_unrestricted(self, user: NonNull<User>) -> bool {
        let Some(rules) = api().get_user_acl else {
            // Redis before 7.0.6.
            return false;
        };
        // SAFETY: the user lives, by the promise of `on_behalf_of` or in `with_user`. The string is
        // the caller's to free.
        let raw = unsafe { rules(user.as_ptr()) };
        if raw.is_null() {
            return false;
        }
        let rules = Owned::new(self, raw);
        let known = UNRESTRICTED_RULES.take(self);
        if known.0 == Some(raw) {
            UNRESTRICTED_RULES.set(self, known);
            return true;
        }
        let is_all = allows_everything(rules.bytes());
        if is_all {
            if let Some(old) = known.0 {
                // SAFETY: retained when it was remembered, and freed once.
                unsafe { (api().free_string)(std::ptr::null_mut(), old) };
            }
            // The count of `rules` goes over to the cell.
            std::mem::forget(rules);
            UNRESTRICTED_RULES.set(self, UnrestrictedRules(Some(raw)));
        } else {
            UNRESTRICTED_RULES.set(self, known);
        }
        is_all
    }

    /// Returns true if there is a user of this name who may log in.
    pub(crate) fn is_user_on(self, name: &[u8]) -> bool {
        self.with_user(name, |caller| {
            let Caller::User(user) = caller else {
                return false;
            };
            let Some(rules) = api().get_user_acl else {
                // Redis before 7.0.6 does not tell.
                return true;
            };
            // SAFETY: the user lives for as long as this runs. The string is the caller's to free.
            let raw = unsafe { rules(user.as_ptr()) };
            if raw.is_null() {
                return false;
            }
            let rules = Owned::new(self, raw);
            rules.bytes().split(|&byte| byte == b' ').next() == Some(b"on")
        })
    }

    /// Returns true if there is a user of this name who may run a command.
    pub(crate) fn may_user_run(self, name: &[u8], argv: &[Borrowed<'_>]) -> bool {
        self.with_user(name, |caller| {
            // SAFETY: the user lives for as long as this runs.
            caller != Caller::OfContext && unsafe { self.on_behalf_of(caller) }.may_run(argv)
        })
    }

    /// Returns true if the caller may run a command; asks on the main thread too.
    pub(crate) fn may_caller_run(self, argv: &[Borrowed<'_>]) -> bool {
        match self.caller() {
            Caller::OfContext => self
                .user_name()
                .is_some_and(|name| self.may_user_run(name.bytes(), argv)),
            _ => self.may_run(argv),
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

/// The text of rules that allow everything, kept alive.
#[derive(Default)]
struct UnrestrictedRules(Option<*mut RmString>);

// SAFETY: the string is touched under the server's lock alone, in `is_unrestricted`.
unsafe impl Send for UnrestrictedRules {}

static UNRESTRICTED_RULES: LockedCell<UnrestrictedRules> = LockedCell::new(UnrestrictedRules(None));

/// Returns true if a user's rules, as the server describes them, allow every command on every key.
///
/// A word that is not known here may restrict the user.
fn allows_everything(rules: &[u8]) -> bool {
    let (mut keys, mut commands) = (false, false);
    for word in rules.split(|&byte| byte == b' ') {
        match word {
            b"~*" => keys = true,
            b"+@all" => commands = true,
            b""
            | b"on"
            | b"nopass"
            | b"sanitize-payload"
            | b"skip-sanitize-payload"
            | b"resetchannels"
            | b"alldbs" => {}
            [b'#' | b'&', ..] => {}
            _ => return false,
        }
    }
    keys && commands
}

#[cfg(test)]
mod tests {
    use super::allows_everything;

    #[test]
    fn only_rules_without_any_restriction_allow_everything() {
        for all in [
            "on nopass sanitize-payload ~* &* +@all",
            "on #9f86d0 ~* resetchannels +@all",
            "on nopass ~* &a* +@all alldbs",
        ] {
            assert!(allows_everything(all.as_bytes()), "{all}");
        }
        for some in [
            "",
            "on nopass ~* &*",
            "on nopass &* +@all",
            "on nopass ~* &* -@all +get",
            "on nopass ~* &* +@all -set",
            "on nopass %R~* &* +@all",
            "on nopass ~a* &* +@all",
            "on nopass &* -@all (~* +@all)",
            "on nopass ~* &* +@all db=0",
            "off ~* &* +@all",
        ] {
            assert!(!allows_everything(some.as_bytes()), "{some}");
        }
    }
}
