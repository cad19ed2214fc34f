//! Callbacks for events of the server: what happened to keys, and which values go away.

#![allow(unsafe_code, reason = "the callbacks of keyspace events")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;

use crate::api::context::Context;
use crate::api::ffi::{self, Ctx, Event, KeyInfo, RmString, api};
use crate::api::key::OpenKey;
use crate::api::panic_guard::guard;
use crate::api::string::Borrowed;
use crate::records::capture;

/// Begins to listen. Returns false if the server refuses.
pub(crate) fn start(context: Context<'_>) -> bool {
    // SAFETY: a live context while the module loads, and a callback of its type.
    let listens = unsafe {
        (api().subscribe_to_keyspace_events)(context.raw(), ffi::NOTIFY_CHANGES, notified)
    };
    if api().after_notification.is_some() {
        capture::set_defer(defer);
    }
    let event = Event {
        id: ffi::EVENT_KEY,
        data_version: 1,
    };
    // Redis 7.0 has no such event, and tells no values that went away.
    if api().get_key_name.is_some() {
        // SAFETY: as above.
        unsafe { (api().subscribe)(context.raw(), event, value_goes) };
    }
    listens == ffi::OK
}

/// Lets the server run [`capture::after_command`] after the present command. Returns false if it does not.
fn defer(context: Context<'_>) -> bool {
    let Some(after) = api().after_notification else {
        return false;
    };
    // SAFETY: a live context, a callback of its type, and nothing to free.
    unsafe { after(context.raw(), after_command, std::ptr::null_mut(), None) == ffi::OK }
}

unsafe extern "C" fn notified(
    ctx: *mut Ctx,
    class: c_int,
    event: *const c_char,
    key: *mut RmString,
) -> c_int {
    // Before anything else: it is called for every change of the server.
    if capture::is_sending() {
        guard("a keyspace event", (), || {
            // SAFETY: the server passes a live context, a C string and a live string.
            let (context, event, key) =
                unsafe { (Context::new(ctx), CStr::from_ptr(event), Borrowed::new(key)) };
            if let (Some(context), Ok(event)) = (context, event.to_str()) {
                capture::event(context, class, event, key);
            }
        });
    }
    ffi::OK
}

unsafe extern "C" fn after_command(ctx: *mut Ctx, _: *mut c_void) {
    guard("queueing events", (), || {
        // SAFETY: the server passes a live context.
        if let Some(context) = unsafe { Context::new(ctx) } {
            capture::after_command(context);
        }
    });
}

unsafe extern "C" fn value_goes(ctx: *mut Ctx, _: Event, how: u64, info: *mut c_void) {
    if !capture::is_sending() {
        return;
    }
    guard("a value that goes away", (), || {
        // SAFETY: the server passes a live context, and information with a key that is open.
        let (context, info) = unsafe { (Context::new(ctx), info.cast::<KeyInfo>().as_ref()) };
        let (Some(context), Some(info), Some(name)) = (context, info, api().get_key_name) else {
            return;
        };
        // SAFETY: the key is open; its name lives as long.
        let name = unsafe { name(info.key) };
        // The server closes the key.
        let open = OpenKey::new(info.key).map(ManuallyDrop::new);
        if let Some(open) = open.filter(|_| !name.is_null()) {
            // SAFETY: as just said.
            let name = unsafe { Borrowed::new(name.cast_mut()) };
            capture::value_goes(context, how, name, &open);
        }
    });
}
