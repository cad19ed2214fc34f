//! `log`, `time_millis`, `random`: everything except input, data and reply.

use ferrite_wasm_abi::log_level;
use tracing::Level;

use crate::call::host_trap::HostTrap;
use crate::call::state::CallState;
use crate::host::fuel;
use crate::host::guest::Guest;
use ferrite_protocol::keyspace::Keyspace;

pub(super) fn log<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    level: i32,
    ptr: i32,
    len: i32,
) -> wasmtime::Result<()> {
    guest.charge_inputs(fuel::CALL + fuel::LOG, &[(ptr, len)])?;
    let view = guest.view()?;
    let text = &view.memory[view.span(ptr, len)?];
    let CallState { log, spec, .. } = view.state;
    // A level outside the range becomes the nearest one inside it.
    let level = match level {
        ..=log_level::TRACE => Level::TRACE,
        log_level::DEBUG => Level::DEBUG,
        log_level::INFO => Level::INFO,
        log_level::WARN => Level::WARN,
        log_level::ERROR.. => Level::ERROR,
    };
    log.line(&spec.name, level, text);
    Ok(())
}

pub(super) fn time_millis<K: Keyspace>(guest: &mut Guest<'_, K>) -> wasmtime::Result<i64> {
    guest.charge(fuel::CALL)?;
    Ok(guest.state().data.now_millis())
}

pub(super) fn random<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    buf: i32,
    len: i32,
) -> wasmtime::Result<()> {
    let units = u64::from(len.cast_unsigned()) / fuel::RANDOM_BYTES_PER_UNIT;
    guest.charge_inputs(fuel::CALL + units, &[(buf, len)])?;
    let view = guest.view()?;
    let buffer = view.span(buf, len)?;
    fill_with_random(&mut view.memory[buffer]).map_err(Into::into)
}

/// Fills a part of a guest's memory with random bytes.
///
/// The host fills its own memory and copies: the kernel cannot write into pages of a guest that are
/// write-protected for rewinding.
pub(super) fn fill_with_random(target: &mut [u8]) -> Result<(), HostTrap> {
    let mut bytes = [0; 256];
    for part in target.chunks_mut(bytes.len()) {
        let bytes = &mut bytes[..part.len()];
        getrandom::fill(bytes).map_err(|_| HostTrap::NoRandomness)?;
        part.copy_from_slice(bytes);
    }
    Ok(())
}
