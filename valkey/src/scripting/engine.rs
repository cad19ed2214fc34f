//! The scripting engine `WASM`, for `FUNCTION LOAD` and `FCALL` on servers that have such engines.
//!
//! A library's code is a WebAssembly module, its base64, its digest, its text, or the path of a
//! file, as for `WASM.LOAD` and `WASM.DEFINE`. A line of JSON before it may set permissions and
//! limits. Each entry becomes a function with the entry's name; the main entry gets the name in
//! that line. The server saves and replicates libraries itself.

#![allow(
    unsafe_code,
    reason = "the callbacks of a scripting engine, and the structures it shares with the server"
)]

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use ferrite_protocol::resp::Protocol;

use crate::api::context::Context;
use crate::api::ffi::{self, Ctx, RmString, api};
use crate::api::panic_guard::guard;
use crate::api::string::{Args, c_chars};
use crate::execution::job::Job;
use crate::execution::main_thread::{self, Outcome};
use crate::module::{Module, module};
use crate::registry::rdb;
use crate::scripting::library::{self, LibraryFunction};

/// The kind of code that `EVAL` sends, in contrast to `FUNCTION LOAD`.
const EVAL: c_int = 0;

const STATE_EXECUTING: c_int = 0;

const FLAG_NO_WRITES: u64 = 1;

/// Version 9.0.0 as `GetServerVersion` returns it: one byte each for major, minor and patch.
const VALKEY_9: c_int = 0x09_00_00;

type Functions = *mut *mut CompiledFunction;

/// A function in the layout of the server's interface.
#[repr(C)]
struct CompiledFunction {
    version: u64,
    name: *mut RmString,
    function: *mut c_void,
    description: *mut RmString,
    flags: u64,
}

#[repr(C)]
struct MemoryInfo {
    version: u64,
    used: usize,
    overhead: usize,
}

/// The callbacks, in the third version of the interface. In the first two versions `compile` and
/// `reset` have other arguments.
#[repr(C)]
struct Methods {
    version: u64,
    compile: *const c_void,
    free: unsafe extern "C" fn(*mut Ctx, *mut c_void, c_int, *mut CompiledFunction),
    call: CallFn,
    overhead: unsafe extern "C" fn(*mut Ctx, *mut CompiledFunction) -> usize,
    reset: *const c_void,
    memory: unsafe extern "C" fn(*mut Ctx, *mut c_void, c_int) -> MemoryInfo,
    /// The debugger's callbacks of the fourth version.
    unused: [*const c_void; 4],
}

type CallFn = unsafe extern "C" fn(
    *mut Ctx,
    *mut c_void,
    *mut c_void,
    *mut CompiledFunction,
    c_int,
    *mut *mut RmString,
    usize,
    *mut *mut RmString,
    usize,
);
type Compile1 = unsafe extern "C" fn(
    *mut Ctx,
    *mut c_void,
    c_int,
    *const c_char,
    usize,
    *mut usize,
    *mut *mut RmString,
) -> Functions;
type Compile2 = unsafe extern "C" fn(
    *mut Ctx,
    *mut c_void,
    c_int,
    *const c_char,
    usize,
    usize,
    *mut usize,
    *mut *mut RmString,
) -> Functions;

/// Registers the engine. Returns false if the server has no scripting engines.
pub(crate) fn register(context: Context<'_>) -> bool {
    let Some(register) = api().register_engine else {
        return false;
    };
    // SAFETY: the function takes nothing.
    let server = api().server_version.map(|version| unsafe { version() });
    // Starts with the newest version that the server may know: it logs a warning about each unknown
    // one.
    let newest = if server.is_some_and(|server| server < VALKEY_9) {
        2
    } else {
        3
    };
    (1..=newest).rev().any(|version| {
        let compile = if version == 1 {
            compile_text as Compile1 as *const c_void
        } else {
            compile as Compile2 as *const c_void
        };
        let mut methods = Methods {
            version,
            compile,
            free,
            call,
            overhead,
            // It reads none of its arguments, which differ between the versions.
            reset: reset as unsafe extern "C" fn() -> *mut c_void as *const c_void,
            memory,
            unused: [std::ptr::null(); 4],
        };
        // SAFETY: a live context while the module loads, a C string, and callbacks in the layout of
        // the version that is given, which the server copies. The engine's own context is not used.
        let registered = unsafe {
            register(
                context.raw(),
                c"WASM".as_ptr(),
                std::ptr::null_mut(),
                (&raw mut methods).cast(),
            )
        };
        registered == ffi::OK
    })
}

/// Compiles a library given as a C string, in the interface's first version.
unsafe extern "C" fn compile_text(
    ctx: *mut Ctx,
    _: *mut c_void,
    kind: c_int,
    code: *const c_char,
    _: usize,
    count: *mut usize,
    error: *mut *mut RmString,
) -> Functions {
    // SAFETY: the server passes a C string.
    let code = unsafe { std::ffi::CStr::from_ptr(code) };
    // SAFETY: as for `compile`.
    unsafe { compiled(ctx, kind, code.to_bytes(), count, error) }
}

unsafe extern "C" fn compile(
    ctx: *mut Ctx,
    _: *mut c_void,
    kind: c_int,
    code: *const c_char,
    len: usize,
    _: usize,
    count: *mut usize,
    error: *mut *mut RmString,
) -> Functions {
    let code = if code.is_null() {
        &[]
    } else {
        // SAFETY: the server passes `len` bytes.
        unsafe { std::slice::from_raw_parts(code.cast::<u8>(), len) }
    };
    // SAFETY: the server passes a live context, and pointers to a number and to an error.
    unsafe { compiled(ctx, kind, code, count, error) }
}

/// Compiles a library, and hands its functions to the server or sets `error`.
///
/// # Safety
///
/// `ctx` is a live context or null, and `count` and `error` can be written to.
unsafe fn compiled(
    ctx: *mut Ctx,
    kind: c_int,
    code: &[u8],
    count: *mut usize,
    error: *mut *mut RmString,
) -> Functions {
    let library = guard(
        "loading a library",
        Err("it failed inside the module, which is a bug".to_owned()),
        || read(kind, code),
    );
    match library {
        Ok(functions) => {
            // SAFETY: the array has room for all pointers, each is written once, and the server
            // frees it.
            unsafe {
                let size = size_of::<*mut CompiledFunction>() * functions.len().max(1);
                let array: Functions = (api().alloc)(size).cast();
                *count = functions.len();
                for (index, function) in functions.into_iter().enumerate() {
                    *array.add(index) = hand_over(ctx, function);
                }
                array
            }
        }
        Err(text) => {
            let (start, len) = c_chars(text.as_bytes());
            // SAFETY: a string that the server frees, in the place it gave.
            unsafe { *error = (api().create_string)(std::ptr::null_mut(), start, len) };
            std::ptr::null_mut()
        }
    }
}

/// Loads a library's code.
fn read(kind: c_int, code: &[u8]) -> Result<Vec<LibraryFunction>, String> {
    if kind == EVAL {
        return Err("WebAssembly is not evaluated; load it with FUNCTION LOAD".to_owned());
    }
    let Some(module) = module() else {
        return Err("the module is not started".to_owned());
    };
    library::load(&module.runtime, code, rdb::is_loading()).map_err(|error| error.to_string())
}

/// Makes the structure by which the server knows a function. [`free`] gives it back.
///
/// # Safety
///
/// The module was loaded, so that the server's functions are known.
unsafe fn hand_over(ctx: *mut Ctx, function: LibraryFunction) -> *mut CompiledFunction {
    let _ = ctx;
    let string = |text: &str| {
        let (start, len) = c_chars(text.as_bytes());
        // SAFETY: copies the text into a string without a context.
        unsafe { (api().create_string)(std::ptr::null_mut(), start, len) }
    };
    let flags = if function.may_write() {
        0
    } else {
        FLAG_NO_WRITES
    };
    let name = string(function.name());
    let description = function.description().map_or(std::ptr::null_mut(), string);
    let compiled = CompiledFunction {
        version: 1,
        name,
        function: Box::into_raw(Box::new(function)).cast(),
        description,
        flags,
    };
    // SAFETY: room for one structure, written whole; `free` gives it back.
    unsafe {
        let place: *mut CompiledFunction = (api().alloc)(size_of::<CompiledFunction>()).cast();
        place.write(compiled);
        place
    }
}

/// Frees a function. The server may call this on a background thread.
unsafe extern "C" fn free(_: *mut Ctx, _: *mut c_void, _: c_int, compiled: *mut CompiledFunction) {
    guard("freeing a function", (), || {
        // SAFETY: what `hand_over` made, and the server is done with it.
        unsafe {
            let CompiledFunction {
                version: _,
                name,
                function,
                description,
                flags: _,
            } = compiled.read();
            drop(Box::from_raw(function.cast::<LibraryFunction>()));
            (api().free_string)(std::ptr::null_mut(), name);
            if !description.is_null() {
                (api().free_string)(std::ptr::null_mut(), description);
            }
            (api().free)(compiled.cast());
        }
    });
}

unsafe extern "C" fn call(
    ctx: *mut Ctx,
    _: *mut c_void,
    running: *mut c_void,
    compiled: *mut CompiledFunction,
    _: c_int,
    keys: *mut *mut RmString,
    keys_count: usize,
    args: *mut *mut RmString,
    args_count: usize,
) {
    let done = guard("a function's call", false, || {
        // SAFETY: the server passes a live context, a function that it keeps while the function
        // runs, and arrays of `keys_count` and `args_count` live strings, which are used until this
        // returns.
        let (context, function, args) = unsafe {
            (
                Context::new(ctx),
                (*compiled).function.cast::<LibraryFunction>().as_ref(),
                Args::of_two(keys, keys_count, args, args_count),
            )
        };
        if let (Some(module), Some(context), Some(function)) = (module(), context, function) {
            run(module, context, function, args, keys_count, || {
                let state = api().execution_state;
                // SAFETY: the server's own structure for the call that runs.
                state.is_some_and(|state| unsafe { state(running) } != STATE_EXECUTING)
            });
        }
        true
    });
    if !done {
        guard("an error reply", (), || {
            // SAFETY: as above.
            if let Some(context) = unsafe { Context::new(ctx) } {
                context.reply_error("ERR the function failed inside the module, which is a bug");
            }
        });
    }
}

/// Runs a function to its end on the main thread, as the server expects of engines.
fn run(
    module: &'static Module,
    context: Context<'_>,
    function: &LibraryFunction,
    args: Args,
    keys: usize,
    killed: impl Fn() -> bool,
) {
    let context = context.with_flags();
    let protocol = if context.flags() & ffi::CTX_RESP3 == 0 {
        Protocol::Resp2
    } else {
        Protocol::Resp3
    };
    let entry_point = match function.entry_point() {
        Ok(entry_point) => Arc::clone(entry_point),
        Err(error) => return context.reply_error(&error.to_string()),
    };
    let database = u32::try_from(context.database()).unwrap_or(0);
    let job = Job::Function {
        function: entry_point,
        protocol,
        keys,
    };
    let run = module
        .idle
        .begin(context, &module.runtime, args, database, job);
    run.call.set_keys(0..keys);
    match main_thread::run_to_completion(context, &module.idle, run, killed) {
        Outcome::Replied => {}
        Outcome::WouldWait => context.reply_error(
            "BUSY the call would have to wait for a free instance, and FCALL cannot; try again",
        ),
        Outcome::Killed => context
            .reply_error("KILLED the call was ended by FUNCTION KILL; nothing of it was kept"),
    }
}

unsafe extern "C" fn overhead(_: *mut Ctx, _: *mut CompiledFunction) -> usize {
    size_of::<LibraryFunction>()
}

/// Does nothing: calls leave no state behind that could be reset.
unsafe extern "C" fn reset() -> *mut c_void {
    std::ptr::null_mut()
}

unsafe extern "C" fn memory(_: *mut Ctx, _: *mut c_void, _: c_int) -> MemoryInfo {
    MemoryInfo {
        version: 1,
        used: 0,
        overhead: 0,
    }
}
