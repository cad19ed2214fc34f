//! Keeps the handlers of guests' traps in place.
//!
//! A guest's access outside of its memory is a signal, which the engine's handler turns into an
//! error. A server that is told to write crash reports again, after it was told not to, installs
//! handlers of its own over that, and the next trap would end it. So the handlers that the engine
//! has installed are noted once it is started, and put back whenever the configuration changed.

#![allow(unsafe_code, reason = "reads and sets signal handlers")]

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

use parking_lot::Mutex;

use crate::api::ffi::{Ctx, Event};
use crate::api::panic_guard::guard;

/// What guests' traps raise.
const SIGNALS: [c_int; 4] = [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGBUS];

type Handlers = [Option<libc::sigaction>; SIGNALS.len()];

/// The handlers before the engine started, and those afterwards.
struct Noted {
    before: Handlers,
    ours: Handlers,
}

static NOTED: Mutex<Noted> = Mutex::new(Noted {
    before: [None; SIGNALS.len()],
    ours: [None; SIGNALS.len()],
});

fn current() -> Handlers {
    SIGNALS.map(|signal| {
        let mut action = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: asks for the handler of a valid signal and sets none.
        let read = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } == 0;
        // SAFETY: the call filled it.
        read.then(|| unsafe { action.assume_init() })
    })
}

/// Notes the server's own handlers, before the engine starts.
pub(crate) fn note_servers() {
    NOTED.lock().before = current();
}

/// Notes the engine's handlers. Called once it runs, and again after functions were loaded, which
/// may have added to them; the server's own are never taken for it.
pub(crate) fn note_ours() {
    let now = current();
    let noted = &mut *NOTED.lock();
    for ((now, before), ours) in now.into_iter().zip(&noted.before).zip(&mut noted.ours) {
        let address = |action: &Option<libc::sigaction>| action.map(|one| one.sa_sigaction);
        let is_servers = address(&now) == address(before)
            || address(&now) == Some(libc::SIG_DFL)
            || address(&now) == Some(libc::SIG_IGN);
        // Once ours are noted, others than those are the server's.
        if !is_servers && ours.is_none() {
            *ours = now;
        }
    }
}

/// Puts the engine's handlers back where others took their place.
pub(crate) fn restore() {
    let now = current();
    let noted = NOTED.lock();
    for ((signal, now), ours) in SIGNALS.into_iter().zip(now).zip(&noted.ours) {
        let Some(ours) = ours else { continue };
        if now.is_none_or(|now| now.sa_sigaction != ours.sa_sigaction) {
            // SAFETY: a handler that was installed for this signal before, by code that is still
            // loaded: the server does not unload the module.
            unsafe { libc::sigaction(signal, ours, std::ptr::null_mut()) };
        }
    }
}

/// The server's configuration was changed.
pub(crate) unsafe extern "C" fn configuration_changed(
    _: *mut Ctx,
    _: Event,
    _: u64,
    _: *mut c_void,
) {
    guard("an event of the configuration", (), restore);
}
