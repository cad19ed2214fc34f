//! `key_count`, `arg_count`, `key`, `arg`, `take`: what the call was given.

use ferrite_wasm_abi::Status;
use wasmtime::Result;

use crate::call::overflow::ResultSource;
use crate::call::state::CallState;
use crate::host::fuel;
use crate::host::guest::Guest;
use ferrite_protocol::keyspace::Keyspace;

pub(super) fn key_count<K: Keyspace>(guest: &mut Guest<'_, K>) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    Ok(count(guest.state().input.key_count()))
}

pub(super) fn arg_count<K: Keyspace>(guest: &mut Guest<'_, K>) -> Result<i32> {
    guest.charge(fuel::CALL)?;
    Ok(count(guest.state().input.arg_count()))
}

pub(super) fn key<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    index: i32,
    buf: i32,
    cap: i32,
) -> Result<i32> {
    part(guest, index, buf, cap, ResultSource::Key)
}

pub(super) fn arg<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    index: i32,
    buf: i32,
    cap: i32,
) -> Result<i32> {
    part(guest, index, buf, cap, ResultSource::Arg)
}

fn part<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    index: i32,
    buf: i32,
    cap: i32,
    source: impl FnOnce(usize) -> ResultSource,
) -> Result<i32> {
    let view = guest.view()?;
    let buffer = view.span(buf, cap)?;
    let CallState {
        input, overflow, ..
    } = view.state;
    let source = source(index.cast_unsigned() as usize);
    let part = match source {
        ResultSource::Key(index) => input.key(index),
        ResultSource::Arg(index) => input.arg(index),
        ResultSource::Data => None,
    };
    let Some(part) = part else {
        guest.charge(fuel::CALL)?;
        return Ok(Status::NotFound.code());
    };
    let copied = part.len().min(buffer.len());
    let answer = overflow.deliver(part, &mut view.memory[buffer], source);
    guest.charge_bytes(fuel::CALL, copied as u64)?;
    Ok(answer)
}

pub(super) fn take<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    buf: i32,
    offset: i32,
    len: i32,
) -> Result<i32> {
    let view = guest.view()?;
    let buffer = view.span(buf, len)?;
    let CallState {
        input, overflow, ..
    } = view.state;
    let offset = offset.cast_unsigned() as usize;
    let copied = overflow.take(input, offset, &mut view.memory[buffer]);
    guest.charge_bytes(fuel::CALL, u64::try_from(copied).unwrap_or(0))?;
    Ok(copied)
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
