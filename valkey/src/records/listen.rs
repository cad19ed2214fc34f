//! Callbacks for events of the server: what happened to keys, which values go away, and which slots move.

#![allow(unsafe_code, reason = "the callbacks of keyspace events")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ops::RangeInclusive;

use crate::api::context::Context;
use crate::api::ffi::{self, Ctx, Event, KeyInfo, RmString, SlotMigration, api};
use crate::api::key::OpenKey;
use crate::api::locked_cell::LockedCell;
use crate::api::panic_guard::guard;
use crate::api::string::Borrowed;
use crate::records::{arriving, capture, own_slots};

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

/// Slots that have come or gone as a whole, until they are looked at.
static MOVED: LockedCell<Vec<RangeInclusive<u16>>> = LockedCell::new(Vec::new());

/// Begins to listen to slots that move as a whole. Returns false if this server does not move them so.
pub(crate) fn start_for_slots(context: Context<'_>) -> bool {
    let event = Event {
        id: ffi::EVENT_SLOT_MIGRATION,
        data_version: 1,
    };
    // SAFETY: a live context while the module loads, an event of Valkey, which refuses those that it does not
    // have, and a callback of its type.
    ffi::is_valkey() && unsafe { (api().subscribe)(context.raw(), event, slots_move) } == ffi::OK
}

/// Takes the slots that have come or gone as a whole since the last time.
pub(crate) fn take_moved(context: Context<'_>) -> Vec<RangeInclusive<u16>> {
    MOVED.take(context)
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

unsafe extern "C" fn slots_move(ctx: *mut Ctx, _: Event, step: u64, info: *mut c_void) {
    guard("slots that move", (), || {
        // SAFETY: the server passes a live context, and information about the move.
        let (context, info) = unsafe { (Context::new(ctx), info.cast::<SlotMigration>().as_ref()) };
        let (Some(context), Some(info)) = (context, info) else {
            return;
        };
        let count = usize::try_from(info.count).unwrap_or(0);
        let ranges: &[ffi::SlotRange] = if info.ranges.is_null() {
            &[]
        } else {
            // SAFETY: so many ranges, which live as long as this callback.
            unsafe { std::slice::from_raw_parts(info.ranges, count) }
        };
        let slots = |range: &ffi::SlotRange| {
            let slot = |slot| u16::try_from(slot).ok();
            Some(slot(range.first)?..=slot(range.last)?)
        };
        let slots: Vec<RangeInclusive<u16>> = ranges.iter().filter_map(slots).collect();
        match step {
            ffi::IMPORT_STARTED => arriving::begin(context, &slots),
            ffi::IMPORT_ABORTED => arriving::end(context, &slots),
            ffi::IMPORT_COMPLETED | ffi::EXPORT_COMPLETED => {
                arriving::end(context, &slots);
                own_slots::forget(context);
                MOVED.with(context, |moved| moved.extend(slots));
            }
            _ => {}
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
