//! The host functions inside a guest: the imports, and the only unsafe code beside the exports.
//!
//! Each wrapper hands the host a pointer and a length that come from one slice.
#![allow(
    unsafe_code,
    reason = "imported functions take addresses in this module's memory"
)]

use alloc::vec::Vec;

/// The imports as they are declared in the ABI.
mod import {
    macro_rules! declare {
        ($($(#[$doc:meta])* fn $name:ident($($param:ident: $ty:tt),*) $(-> $result:tt)?;)*) => {
            #[allow(dead_code, reason = "the SDK calls not all that the ABI has")]
            #[link(wasm_import_module = "ferrite")]
            unsafe extern "C" {$(
                $(#[$doc])*
                pub(super) fn $name($($param: $ty),*) $(-> $result)?;
            )*}
        };
    }

    ferrite_wasm_abi::imports!(declare);
}

/// Address of a slice's first byte. Addresses are 32 bits wide here, so the cast loses nothing.
fn address<T>(slice: &[T]) -> i32 {
    slice.as_ptr() as usize as i32
}

/// Address of a slice that the host may write to.
fn address_mut(slice: &mut [u8]) -> i32 {
    slice.as_mut_ptr() as usize as i32
}

/// Length of a slice. It is below 2^31, since a Rust slice spans at most `isize::MAX` bytes.
fn len<T>(slice: &[T]) -> i32 {
    slice.len() as i32
}

pub(crate) fn key_count() -> i32 {
    // SAFETY: no address is passed.
    unsafe { import::key_count() }
}

pub(crate) fn arg_count() -> i32 {
    // SAFETY: no address is passed.
    unsafe { import::arg_count() }
}

pub(crate) fn key(index: i32, buffer: &mut [u8]) -> i32 {
    let cap = len(buffer);
    // SAFETY: the host writes at most `cap` bytes at the address, which are `buffer`'s.
    unsafe { import::key(index, address_mut(buffer), cap) }
}

pub(crate) fn arg(index: i32, buffer: &mut [u8]) -> i32 {
    let cap = len(buffer);
    // SAFETY: the host writes at most `cap` bytes at the address, which are `buffer`'s.
    unsafe { import::arg(index, address_mut(buffer), cap) }
}

pub(crate) fn reply_null() {
    // SAFETY: no address is passed.
    unsafe { import::reply_null() }
}

pub(crate) fn reply_bool(value: bool) {
    // SAFETY: no address is passed.
    unsafe { import::reply_bool(value.into()) }
}

pub(crate) fn reply_int(value: i64) {
    // SAFETY: no address is passed.
    unsafe { import::reply_int(value) }
}

pub(crate) fn reply_double(value: f64) {
    // SAFETY: no address is passed.
    unsafe { import::reply_double(value) }
}

pub(crate) fn reply_bulk(bytes: &[u8]) {
    // SAFETY: the host reads `bytes` during the call.
    unsafe { import::reply_bulk(address(bytes), len(bytes)) }
}

pub(crate) fn reply_simple(text: &[u8]) {
    // SAFETY: the host reads `text` during the call.
    unsafe { import::reply_simple(address(text), len(text)) }
}

pub(crate) fn reply_error(text: &[u8]) {
    // SAFETY: the host reads `text` during the call.
    unsafe { import::reply_error(address(text), len(text)) }
}

pub(crate) fn reply_array(count: usize) {
    // SAFETY: no address is passed.
    unsafe { import::reply_array(count as i32) }
}

pub(crate) fn reply_map(count: usize) {
    // SAFETY: no address is passed.
    unsafe { import::reply_map(count as i32) }
}

pub(crate) fn get(key: &[u8], buffer: &mut [u8]) -> i32 {
    let cap = len(buffer);
    // SAFETY: the host reads `key` and writes at most `cap` bytes, which are `buffer`'s.
    unsafe { import::get(address(key), len(key), address_mut(buffer), cap) }
}

pub(crate) fn set(key: &[u8], value: &[u8], options: i32, ttl_millis: i64) -> i32 {
    // SAFETY: the host reads `key` and `value` during the call.
    unsafe {
        import::set(
            address(key),
            len(key),
            address(value),
            len(value),
            options,
            ttl_millis,
        )
    }
}

/// Writes slices as the pairs of address and length that the host reads, and hands those over.
fn with_pairs(slices: &[&[u8]], run: impl FnOnce(i32, i32) -> i32) -> i32 {
    if let [slice] = slices {
        let pair = [[address(slice), len(slice)]];
        return run(address(&pair), 1);
    }
    let pairs: Vec<[i32; 2]> = slices
        .iter()
        .map(|slice| [address(slice), len(slice)])
        .collect();
    run(address(&pairs), len(&pairs))
}

pub(crate) fn del(keys: &[&[u8]]) -> i32 {
    // SAFETY: the host reads the pairs and the keys they point to, which all outlive the call.
    with_pairs(keys, |pairs, count| unsafe { import::del(pairs, count) })
}

pub(crate) fn exists(keys: &[&[u8]]) -> i32 {
    // SAFETY: the host reads the pairs and the keys they point to, which all outlive the call.
    with_pairs(keys, |pairs, count| unsafe { import::exists(pairs, count) })
}

pub(crate) fn incr_by(key: &[u8], delta: i64) -> Result<i64, i32> {
    let mut out = [0; 8];
    // SAFETY: the host reads `key` and writes 8 bytes, which are `out`'s.
    let status = unsafe { import::incr_by(address(key), len(key), delta, address_mut(&mut out)) };
    match status {
        0 => Ok(i64::from_le_bytes(out)),
        status => Err(status),
    }
}

pub(crate) fn expire(key: &[u8], ttl_millis: i64) -> i32 {
    // SAFETY: the host reads `key` during the call.
    unsafe { import::expire(address(key), len(key), ttl_millis) }
}

pub(crate) fn ttl(key: &[u8]) -> i64 {
    // SAFETY: the host reads `key` during the call.
    unsafe { import::ttl(address(key), len(key)) }
}

pub(crate) fn hget(key: &[u8], field: &[u8], buffer: &mut [u8]) -> i32 {
    let cap = len(buffer);
    // SAFETY: the host reads `key` and `field` and writes at most `cap` bytes of `buffer`.
    unsafe {
        import::hget(
            address(key),
            len(key),
            address(field),
            len(field),
            address_mut(buffer),
            cap,
        )
    }
}

pub(crate) fn hset(key: &[u8], field: &[u8], value: &[u8]) -> i32 {
    // SAFETY: the host reads the three slices during the call.
    unsafe {
        import::hset(
            address(key),
            len(key),
            address(field),
            len(field),
            address(value),
            len(value),
        )
    }
}

pub(crate) fn hdel(key: &[u8], fields: &[&[u8]]) -> i32 {
    // SAFETY: the host reads `key`, the pairs and the fields they point to.
    with_pairs(fields, |pairs, count| unsafe {
        import::hdel(address(key), len(key), pairs, count)
    })
}

pub(crate) fn http(request: &[u8], buffer: &mut [u8]) -> i32 {
    let cap = len(buffer);
    // SAFETY: the host reads `request` and writes at most `cap` bytes of `buffer`.
    unsafe { import::http(address(request), len(request), address_mut(buffer), cap) }
}

pub(crate) fn after_commit(request: &[u8], buffer: &mut [u8]) -> i32 {
    let cap = len(buffer);
    // SAFETY: the host reads `request` and writes at most `cap` bytes of `buffer`.
    unsafe { import::after_commit(address(request), len(request), address_mut(buffer), cap) }
}

pub(crate) fn config(name: &[u8], buffer: &mut [u8]) -> i32 {
    let cap = len(buffer);
    // SAFETY: the host reads `name` and writes at most `cap` bytes, which are `buffer`'s.
    unsafe { import::config(address(name), len(name), address_mut(buffer), cap) }
}

pub(crate) fn call(command: &[u8], arguments: &[u8], buffer: &mut [u8]) -> i32 {
    let cap = len(buffer);
    // SAFETY: the host reads `command` and `arguments` and writes at most `cap` bytes of `buffer`.
    unsafe {
        import::call(
            address(command),
            len(command),
            address(arguments),
            len(arguments),
            address_mut(buffer),
            cap,
        )
    }
}

pub(crate) fn take(buffer: &mut [u8], offset: usize) -> i32 {
    let cap = len(buffer);
    // SAFETY: the host writes at most `cap` bytes, which are `buffer`'s.
    unsafe { import::take(address_mut(buffer), offset as i32, cap) }
}

pub(crate) fn log(level: i32, text: &[u8]) {
    // SAFETY: the host reads `text` during the call.
    unsafe { import::log(level, address(text), len(text)) }
}

pub(crate) fn time_millis() -> i64 {
    // SAFETY: no address is passed.
    unsafe { import::time_millis() }
}

pub(crate) fn random(buffer: &mut [u8]) {
    let cap = len(buffer);
    // SAFETY: the host writes `cap` bytes, which are `buffer`'s.
    unsafe { import::random(address_mut(buffer), cap) }
}

/// Writes a panic's place and message to the log, from where the host takes it into its error.
fn log_panic(location: Option<&core::panic::Location<'_>>, message: &str) {
    let (file, line) = location.map_or(("unknown", 0), |it| (it.file(), it.line()));
    let line = crate::argument::Decimal::of(line.into());
    let text = ["panic: ", message, " (", file, ":", line.text(), ")"].concat();
    log(ferrite_wasm_abi::log_level::ERROR, text.as_bytes());
}

/// Runs once when the module is instantiated, so that calls pay nothing for it.
#[cfg(feature = "std")]
mod initialize {
    use alloc::boxed::Box;
    use alloc::string::String;

    unsafe extern "C" {
        /// The linker's function that runs the constructors of linked C code. Where nothing calls
        /// it, the linker runs them before every single call instead.
        fn __wasm_call_ctors();
    }

    // SAFETY: the name is the one by which hosts know a reactor's initialiser, and this crate
    // is linked once.
    #[unsafe(export_name = "_initialize")]
    extern "C" fn initialize() {
        // SAFETY: called once, before anything else runs.
        unsafe { __wasm_call_ctors() };
        std::panic::set_hook(Box::new(|info| {
            let payload = info.payload();
            let message = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            super::log_panic(info.location(), message);
        }));
    }
}

/// Logs a panic and traps: the body of a `no_std` guest's `#[panic_handler]`.
#[cfg(not(feature = "std"))]
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    let message = info.message();
    match message.as_str() {
        Some(text) => log_panic(info.location(), text),
        None => log_panic(
            info.location(),
            &alloc::string::ToString::to_string(&message),
        ),
    }
    core::arch::wasm32::unreachable()
}
