//! `key_count`, `arg_count`, `key`, `arg`, `take`: the input of the call.

use ferrite_wasm_abi::Status;
use wasmtime::Result;

use crate::call::input::CallInput;
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
    let source = source(index.cast_unsigned() as usize);
    let len = part_of(&guest.state().input, source).map_or(0, <[u8]>::len);
    let copied = (len as u64).min(u64::from(cap.cast_unsigned()));
    guest.charge_for(fuel::CALL, copied, &[(buf, cap)])?;
    let view = guest.view()?;
    let buffer = view.span(buf, cap)?;
    let CallState {
        input, overflow, ..
    } = view.state;
    Ok(match part_of(input, source) {
        Some(part) => overflow.deliver(part, &mut view.memory[buffer], source),
        None => Status::NotFound.code(),
    })
}

/// Returns the key or argument that `source` names; `None` if the index is out of range.
fn part_of(input: &CallInput, source: ResultSource) -> Option<&[u8]> {
    match source {
        ResultSource::Key(index) => input.key(index),
        ResultSource::Arg(index) => input.arg(index),
        ResultSource::Data => None,
    }
}

pub(super) fn take<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    buf: i32,
    offset: i32,
    len: i32,
) -> Result<i32> {
    let offset = offset.cast_unsigned() as usize;
    let CallState {
        input, overflow, ..
    } = guest.state();
    let rest = overflow.len(input).saturating_sub(offset) as u64;
    let copied = rest.min(u64::from(len.cast_unsigned()));
    guest.charge_for(fuel::CALL, copied, &[(buf, len)])?;
    let view = guest.view()?;
    let buffer = view.span(buf, len)?;
    let CallState {
        input, overflow, ..
    } = view.state;
    Ok(overflow.take(input, offset, &mut view.memory[buffer]))
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
