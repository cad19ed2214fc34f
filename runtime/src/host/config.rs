//! `config` and `config_names`: the function's own configuration.

use std::sync::Arc;

use ferrite_wasm_abi::Status;

use crate::call::overflow::ResultSource;
use crate::host::fuel;
use crate::host::guest::Guest;
use ferrite_protocol::keyspace::Keyspace;

pub(super) fn config<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    name: i32,
    nlen: i32,
    buf: i32,
    cap: i32,
) -> wasmtime::Result<i32> {
    guest.charge_inputs(fuel::CALL + fuel::ACCESS, &[(name, nlen)])?;
    let view = guest.view()?;
    let name = view.span(name, nlen)?;
    view.span(buf, cap)?;
    let spec = Arc::clone(&view.state.spec);
    let Some(value) = spec.config.get(&view.memory[name]) else {
        return Ok(Status::NotFound.code());
    };
    guest.charge_bytes(0, value.len() as u64)?;
    let view = guest.view()?;
    let buffer = view.span(buf, cap)?;
    let buffer = &mut view.memory[buffer];
    let overflow = &mut view.state.overflow;
    Ok(overflow.deliver(value.as_bytes(), buffer, ResultSource::Data))
}

/// Reads the names in their order. Nothing but the function itself gets its values by them.
pub(super) fn config_names<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    buf: i32,
    cap: i32,
) -> wasmtime::Result<i32> {
    guest.charge(fuel::CALL + fuel::ACCESS)?;
    let view = guest.view()?;
    view.span(buf, cap)?;
    let spec = Arc::clone(&view.state.spec);
    let mut lines = String::new();
    for name in spec.config.names() {
        lines.push_str(name);
        lines.push('\n');
    }
    guest.charge_bytes(0, lines.len() as u64)?;
    let view = guest.view()?;
    let buffer = view.span(buf, cap)?;
    let buffer = &mut view.memory[buffer];
    let overflow = &mut view.state.overflow;
    Ok(overflow.deliver(lines.as_bytes(), buffer, ResultSource::Data))
}
