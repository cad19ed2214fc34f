//! `config`: the function's own configuration.

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
