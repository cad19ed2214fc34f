//! `reply_null` to `reply_map`: build the reply of a command entry, value by value.

use wasmtime::Result;

use crate::call::host_trap::HostTrap;
use crate::call::reply_builder::{ReplyBuilder, ReplyError};
use crate::host::fuel;
use crate::host::guest::Guest;
use ferrite_protocol::keyspace::Keyspace;
use ferrite_protocol::resp::Encoder;

/// Most bytes of a value of fixed size: a double with its head.
const SHORT_BYTES: usize = 40;

pub(super) fn reply_null<K: Keyspace>(guest: &mut Guest<'_, K>) -> Result<()> {
    push(guest, |reply| reply.value(SHORT_BYTES, Encoder::null))
}

pub(super) fn reply_bool<K: Keyspace>(guest: &mut Guest<'_, K>, value: i32) -> Result<()> {
    push(guest, |reply| {
        reply.value(SHORT_BYTES, |out| out.bool(value != 0))
    })
}

pub(super) fn reply_int<K: Keyspace>(guest: &mut Guest<'_, K>, value: i64) -> Result<()> {
    push(guest, |reply| {
        reply.value(SHORT_BYTES, |out| out.int(value))
    })
}

pub(super) fn reply_double<K: Keyspace>(guest: &mut Guest<'_, K>, value: f64) -> Result<()> {
    push(guest, |reply| {
        reply.value(SHORT_BYTES, |out| out.double(value))
    })
}

pub(super) fn reply_bulk<K: Keyspace>(guest: &mut Guest<'_, K>, ptr: i32, len: i32) -> Result<()> {
    push_bytes(guest, ptr, len, Encoder::bulk)
}

pub(super) fn reply_simple<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    ptr: i32,
    len: i32,
) -> Result<()> {
    push_bytes(guest, ptr, len, |out, bytes| out.simple(bytes))
}

pub(super) fn reply_error<K: Keyspace>(guest: &mut Guest<'_, K>, ptr: i32, len: i32) -> Result<()> {
    push_bytes(guest, ptr, len, |out, bytes| {
        // An error gets a code for programs to match, even if the guest omitted it.
        out.error(if bytes.is_empty() { b"ERR" } else { bytes });
    })
}

pub(super) fn reply_array<K: Keyspace>(guest: &mut Guest<'_, K>, n: i32) -> Result<()> {
    push(guest, |reply| reply.array(n))
}

pub(super) fn reply_map<K: Keyspace>(guest: &mut Guest<'_, K>, n: i32) -> Result<()> {
    push(guest, |reply| reply.map(n))
}

fn push<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    push: impl FnOnce(&mut ReplyBuilder) -> std::result::Result<(), ReplyError>,
) -> Result<()> {
    guest.charge(fuel::CALL)?;
    let function = guest.name();
    push(&mut guest.state().reply).map_err(|problem| HostTrap::Reply { function, problem }.into())
}

fn push_bytes<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    ptr: i32,
    len: i32,
    write: impl FnOnce(&mut Encoder, &[u8]),
) -> Result<()> {
    guest.charge_inputs(fuel::CALL, &[(ptr, len)])?;
    let function = guest.name();
    let view = guest.view()?;
    let bytes = &view.memory[view.span(ptr, len)?];
    view.state
        .reply
        .value(bytes.len().saturating_add(SHORT_BYTES), |out| {
            write(out, bytes);
        })
        .map_err(|problem| HostTrap::Reply { function, problem }.into())
}
