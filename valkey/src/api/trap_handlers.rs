//! Keeps wasmtime's signal handlers for guests' traps in place.
//!
//! A guest's access outside of its memory raises a signal, which wasmtime's handler turns into an
//! error. A server whose crash reports are turned off and on again replaces that handler by its
//! own, and the next trap would end the server. So the handlers that wasmtime has installed are
//! saved once it is started, and put back whenever the server's configuration changes.

#![allow(unsafe_code, reason = "reads and sets signal handlers")]

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

use parking_lot::Mutex;

use crate::api::ffi::{Ctx, Event};
use crate::api::panic_guard::guard;

/// The signals that guests' traps raise.
const SIGNALS: [c_int; 4] = [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGBUS];

type Handlers = [Option<libc::sigaction>; SIGNALS.len()];

/// The handlers before wasmtime started, and those afterwards.
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

/// Saves the server's own handlers, before wasmtime starts.
pub(crate) fn note_servers() {
    NOTED.lock().before = current();
}

/// Saves wasmtime's handlers. Called once it is started, and again after functions were loaded,
/// which may have installed more. The server's own handlers are never saved as wasmtime's.
pub(crate) fn note_ours() {
    let now = current();
    let noted = &mut *NOTED.lock();
    for ((now, before), ours) in now.into_iter().zip(&noted.before).zip(&mut noted.ours) {
        let address = |action: &Option<libc::sigaction>| action.map(|one| one.sa_sigaction);
        let is_servers = address(&now) == address(before)
            || address(&now) == Some(libc::SIG_DFL)
            || address(&now) == Some(libc::SIG_IGN);
        // Once a handler of wasmtime is saved, any other one is the server's.
        if !is_servers && ours.is_none() {
            *ours = now;
        }
    }
}

/// Puts wasmtime's handlers back where others replaced them.
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

/// Handles the event that the server's configuration was changed.
pub(crate) unsafe extern "C" fn configuration_changed(
    _: *mut Ctx,
    _: Event,
    _: u64,
    _: *mut c_void,
) {
    guard("an event of the configuration", (), restore);
}
