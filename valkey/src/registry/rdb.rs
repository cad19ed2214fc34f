//! Saves the registry in the server's RDB file, and so in its append-only file and on its replicas.
//!
//! The module registers a data type that no key's value has, because that lets it write data of its
//! own before the keys: the entries of all functions, as JSON. It also keeps the server from
//! unloading the module, whose trap handlers must stay.

#![allow(
    unsafe_code,
    reason = "the callbacks of a data type and of server events"
)]

use std::borrow::Cow;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::api::context::{Context, log};
use crate::api::ffi::{self, Ctx, Event, Io, ModuleType, RmString, TypeMethods, api};
use crate::api::panic_guard::guard;
use crate::api::string::c_chars;
use crate::module::module;
use crate::records::definitions;
use crate::registry::entry;
use crate::registry::peer_fetch;

/// Version of the saved data. Data of a later version is refused.
const ENCODING: c_int = 1;

/// Name of the data type, by which the server finds the module that wrote the data; exactly nine
/// characters.
const TYPE_NAME: &std::ffi::CStr = c"ferritewm";

/// Registers the data type. Returns false if the server refuses it.
pub(crate) fn register(context: Context<'_>) -> bool {
    // Initialised now, so that no fork can happen during the initialisation.
    drop(entry::snapshot());
    let methods = |version| TypeMethods {
        version,
        rdb_load: Some(load_value),
        rdb_save: Some(save_value),
        aof_rewrite: Some(rewrite_value),
        mem_usage: std::ptr::null(),
        digest: std::ptr::null(),
        free: Some(free_value),
        aux_load: Some(load),
        // Before version 5 the server expects data in every file, so some is always written.
        aux_save: Some(save_always),
        aux_save_triggers: ffi::AUX_BEFORE_RDB,
        free_effort: std::ptr::null(),
        unlink: std::ptr::null(),
        copy: std::ptr::null(),
        defrag: std::ptr::null(),
        mem_usage2: std::ptr::null(),
        free_effort2: std::ptr::null(),
        unlink2: std::ptr::null(),
        copy2: std::ptr::null(),
        // Version 5 allows to write nothing if there are no entries.
        aux_save2: (version == 5).then_some(save_some),
    };
    [5, 4].into_iter().any(|version| {
        let methods = methods(version);
        // SAFETY: a live context while the module loads, a C string of nine characters, and
        // callbacks of the right types, which the server copies.
        let made: *mut ModuleType = unsafe {
            (api().create_data_type)(
                context.raw(),
                TYPE_NAME.as_ptr(),
                ENCODING,
                &raw const methods,
            )
        };
        !made.is_null()
    })
}

/// Writes the entries, if there are any.
unsafe extern "C" fn save_some(io: *mut Io, _when: c_int) {
    // SAFETY: the server passes its stream.
    unsafe { save(io, false) };
}

/// Writes the entries; an empty string if there are none.
unsafe extern "C" fn save_always(io: *mut Io, _when: c_int) {
    // SAFETY: the server passes its stream.
    unsafe { save(io, true) };
}

/// Writes the entries. If there are none, writes an empty string or, unless `always`, nothing.
///
/// # Safety
///
/// `io` is a stream that the server writes now.
unsafe fn save(io: *mut Io, always: bool) {
    guard("saving the registry", (), || {
        let entries = entry::snapshot();
        // A server that gives a context and then gets no data does not free it, and after that takes itself
        // to be in the midst of a command. Versions before Valkey 9 do so.
        let definitions = if definitions::are_there() {
            // SAFETY: the server's stream; its context lives as long.
            let context = unsafe { Context::new((api().get_context_from_io)(io)) };
            context.map(definitions::to_json).unwrap_or_default()
        } else {
            Vec::new()
        };
        let all = joined(&entries, &definitions);
        if always || !all.is_empty() {
            let (start, len) = c_chars(&all);
            // SAFETY: the server's stream, and `len` readable bytes.
            unsafe { (api().save_string_buffer)(io, start, len) };
        }
    });
}

/// Joins two arrays of JSON, each of which is empty text if it has no elements.
fn joined<'a>(first: &'a [u8], second: &'a [u8]) -> Cow<'a, [u8]> {
    match (first.split_last(), second.split_first()) {
        (Some((_, first)), Some((_, second))) => [first, b",", second].concat().into(),
        (Some(_), None) => first.into(),
        _ => second.into(),
    }
}

/// Reads the entries, and replaces all current ones by them.
unsafe extern "C" fn load(io: *mut Io, encoding: c_int, _when: c_int) -> c_int {
    guard("loading the registry", ffi::ERR, || {
        if encoding > ENCODING {
            log(
                c"warning",
                "ferrite: the functions in this file were written by a newer version of the module",
            );
            return ffi::ERR;
        }
        let mut len = 0;
        // SAFETY: the server's stream and a place for a length; the caller frees the bytes.
        let start = unsafe { (api().load_string_buffer)(io, &raw mut len) };
        // SAFETY: the server's stream.
        if start.is_null() || unsafe { (api().is_io_error)(io) } != 0 {
            return ffi::ERR;
        }
        // SAFETY: `len` bytes at `start`, by the interface.
        let json = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) }.to_vec();
        // SAFETY: the bytes that the server returned, freed once.
        unsafe { (api().free)(start.cast::<c_void>()) };
        // SAFETY: the server's stream; its context lives as long.
        let context = unsafe { Context::new((api().get_context_from_io)(io)) };
        if let (Some(module), Some(context)) = (module(), context) {
            let json = if json.is_empty() { b"[]" } else { &*json };
            entry::replace(module, context, json);
        }
        ffi::OK
    })
}

/// True while the server loads data from a file or from its primary.
static LOADING: AtomicBool = AtomicBool::new(false);

/// Returns true while the server loads data from a file or from its primary. Functions in it were loaded
/// before.
pub(crate) fn is_loading() -> bool {
    LOADING.load(Ordering::Relaxed)
}

/// Drops all functions when the server begins to load other data, and compiles the loaded ones when
/// it is done.
pub(crate) unsafe extern "C" fn loading(ctx: *mut Ctx, _: Event, subevent: u64, _: *mut c_void) {
    guard("an event of loading", (), || {
        LOADING.store(subevent <= ffi::LOADING_REPL_START, Ordering::Relaxed);
        // SAFETY: the server passes a live context.
        let context = unsafe { Context::new(ctx) };
        let (Some(module), Some(context)) = (module(), context) else {
            return;
        };
        if subevent <= ffi::LOADING_REPL_START {
            entry::replace(module, context, b"[]");
        } else if subevent == ffi::LOADING_ENDED {
            let functions = module.runtime.functions();
            let records = functions.iter().map(|known| known.record().clone());
            peer_fetch::prepare(module, context, records.collect());
        }
    });
}

/// Never called, like the three below: no key has a value of the type.
unsafe extern "C" fn load_value(_: *mut Io, _: c_int) -> *mut c_void {
    std::ptr::null_mut()
}

unsafe extern "C" fn save_value(_: *mut Io, _: *mut c_void) {}

unsafe extern "C" fn rewrite_value(_: *mut Io, _: *mut RmString, _: *mut c_void) {}

unsafe extern "C" fn free_value(_: *mut c_void) {}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn arrays_are_joined() {
        for (first, second, both) in [
            ("", "", ""),
            ("[1]", "", "[1]"),
            ("", "[2,3]", "[2,3]"),
            ("[1]", "[2,3]", "[1,2,3]"),
        ] {
            assert_eq!(
                &*joined(first.as_bytes(), second.as_bytes()),
                both.as_bytes()
            );
        }
    }
}
