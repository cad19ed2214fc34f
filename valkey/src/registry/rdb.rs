//! The registry in the server's RDB file, and with it in its append-only file and on its replicas.
//!
//! A data type of the module's, of which no key has a value, lets the module write data of its own
//! before the keys: the records of all functions, as JSON. It also keeps the server from unloading
//! the module, whose trap handlers must stay.

#![allow(
    unsafe_code,
    reason = "the callbacks of a data type and of server events"
)]

use std::ffi::{c_int, c_void};

use crate::api::context::{Context, log};
use crate::api::ffi::{self, Ctx, Event, Io, ModuleType, RmString, TypeMethods, api};
use crate::api::panic_guard::guard;
use crate::api::string::c_chars;
use crate::module::module;
use crate::registry::entry;
use crate::registry::peer_fetch;

/// The version of what is written. A later one is not read.
const ENCODING: c_int = 1;

/// Nine c_chars, by which the server finds who wrote the data.
const TYPE_NAME: &std::ffi::CStr = c"ferritewm";

/// Registers the data type; `false` where the server does not take it.
pub(crate) fn register(context: Context<'_>) -> bool {
    // A file that is cut short is an error to the module, and not the server's end.
    // SAFETY: a live context while the module loads.
    unsafe { (api().set_module_options)(context.raw(), ffi::OPTION_HANDLE_IO_ERRORS) };
    // Made now, so that no fork can happen while it is made.
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
        // Before version 5, what is read must have been written, so something always is.
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
        // Version 5 writes nothing at all where there is nothing.
        aux_save2: (version == 5).then_some(save_some),
    };
    [5, 4].into_iter().any(|version| {
        let methods = methods(version);
        // SAFETY: a live context while the module loads, a C string of nine c_chars, and
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

/// Writes the records, where there are any.
unsafe extern "C" fn save_some(io: *mut Io, _when: c_int) {
    // SAFETY: the server passes its stream.
    unsafe { save(io, false) };
}

/// Writes the records, and nothing as an empty string.
unsafe extern "C" fn save_always(io: *mut Io, _when: c_int) {
    // SAFETY: the server passes its stream.
    unsafe { save(io, true) };
}

/// # Safety
///
/// `io` is a stream that the server writes now.
unsafe fn save(io: *mut Io, always: bool) {
    guard("saving the registry", (), || {
        let entries = entry::snapshot();
        if always || !entries.is_empty() {
            let (start, len) = c_chars(&entries);
            // SAFETY: the server's stream, and `len` readable bytes.
            unsafe { (api().save_string_buffer)(io, start, len) };
        }
    });
}

/// Reads the records and puts them in the place of those that there are.
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
        // SAFETY: the server's stream and a place for a length; the bytes are ours to free.
        let start = unsafe { (api().load_string_buffer)(io, &raw mut len) };
        // SAFETY: the server's stream.
        if start.is_null() || unsafe { (api().is_io_error)(io) } != 0 {
            return ffi::ERR;
        }
        // SAFETY: `len` bytes at `start`, by the interface.
        let json = unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) }.to_vec();
        // SAFETY: ours, and freed once.
        unsafe { (api().free)(start.cast::<c_void>()) };
        if let Some(module) = module() {
            entry::replace(module, if json.is_empty() { b"[]" } else { &json });
        }
        ffi::OK
    })
}

/// Forgets every function when other data takes the place of this server's, and gets those that come
/// with it ready once it is there.
pub(crate) unsafe extern "C" fn loading(ctx: *mut Ctx, _: Event, subevent: u64, _: *mut c_void) {
    guard("an event of loading", (), || {
        let Some(module) = module() else { return };
        if subevent <= ffi::LOADING_REPL_START {
            entry::replace(module, b"[]");
        } else if subevent == ffi::LOADING_ENDED
            // SAFETY: the server passes a live context.
            && let Some(context) = unsafe { Context::new(ctx) }
        {
            let functions = module.runtime.functions();
            let records = functions.iter().map(|known| known.record().clone());
            peer_fetch::prepare(module, context, records.collect());
        }
    });
}

/// No key has a value of the type, so that none is ever loaded, saved, rewritten or freed.
unsafe extern "C" fn load_value(_: *mut Io, _: c_int) -> *mut c_void {
    std::ptr::null_mut()
}

unsafe extern "C" fn save_value(_: *mut Io, _: *mut c_void) {}

unsafe extern "C" fn rewrite_value(_: *mut Io, _: *mut RmString, _: *mut c_void) {}

unsafe extern "C" fn free_value(_: *mut c_void) {}
