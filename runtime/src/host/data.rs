//! `get` to `hdel`: typed access to the data, checked by the access policy.
//!
//! Every pointer is checked first, and every key by the policy before any data is read or written,
//! so a call that fails has changed nothing.

use ferrite_wasm_abi::{Status, set_option, ttl as no_ttl};
use smallvec::SmallVec;
use wasmtime::Result;

use crate::call::data_access::{DataAccess, status_of};
use crate::call::host_trap::HostTrap;
use crate::call::overflow::ResultSource;
use crate::call::state::{CallState, StopCheck};
use crate::host::fuel;
use crate::host::guest::{Guest, inputs_and_output, span};
use crate::policy::permissions::Access;
use ferrite_protocol::keyspace::{Keyspace, SetCondition, SetExpiry, StoreError, Transaction, Ttl};

/// Answer of a data function: its result, or the status that explains why there is none.
type Answer<T> = std::result::Result<T, Status>;

pub(super) fn get<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    key: i32,
    klen: i32,
    buf: i32,
    cap: i32,
) -> Result<i32> {
    guest.charge_inputs(fuel::CALL + fuel::ACCESS, &[(key, klen)])?;
    let view = guest.view()?;
    let (key, buffer) = (view.span(key, klen)?, view.span(buf, cap)?);
    let CallState { data, overflow, .. } = view.state;
    let answer = inputs_and_output(view.memory, key, 0..0, buffer, |key, _, buffer| {
        let transaction = data.open(key, Access::Get)?;
        found(transaction.get(key, |value| {
            overflow.deliver(value, buffer, ResultSource::Data)
        }))
    });
    charge_result(guest, answer, cap)
}

pub(super) fn set<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    key: i32,
    klen: i32,
    val: i32,
    vlen: i32,
    options: i32,
    ttl_ms: i64,
) -> Result<i32> {
    let bytes = unsigned(klen) + unsigned(vlen);
    guest.charge_inputs(fuel::CALL + fuel::ACCESS, &[(key, klen), (val, vlen)])?;
    let view = guest.view()?;
    let key = &view.memory[view.span(key, klen)?];
    let value = &view.memory[view.span(val, vlen)?];
    let data = &mut view.state.data;
    Ok(code((|| {
        let (condition, expiry) = set_options(options, ttl_ms).ok_or(Status::Invalid)?;
        data.check(key, Access::Set)?;
        data.write_bytes(bytes)?;
        let stored = data.transaction().set(key, value, condition, expiry);
        if stored.map_err(|error| status_of(&error))? {
            Ok(0)
        } else {
            Err(Status::NotStored)
        }
    })()))
}

/// Returns the meaning of `set`'s numbers, if they have one.
fn set_options(options: i32, ttl_ms: i64) -> Option<(SetCondition, SetExpiry)> {
    use set_option::{ALL, KEEPTTL, NX, XX};
    if options & !ALL != 0 {
        return None;
    }
    let condition = match (options & NX != 0, options & XX != 0) {
        (false, false) => SetCondition::Always,
        (true, false) => SetCondition::IfAbsent,
        (false, true) => SetCondition::IfPresent,
        (true, true) => return None,
    };
    let expiry = match (options & KEEPTTL != 0, ttl_ms) {
        (false, ..0) => SetExpiry::None,
        (true, ..0) => SetExpiry::Keep,
        // As in `SET`, a time to live of zero is an error, and so is a time besides `KEEPTTL`.
        (_, 0) | (true, _) => return None,
        (false, millis) => SetExpiry::AfterMillis(millis),
    };
    Some((condition, expiry))
}

pub(super) fn del<K: Keyspace>(guest: &mut Guest<'_, K>, pairs: i32, count: i32) -> Result<i32> {
    let bytes = charge_pairs(guest, (0, 0), pairs, count)?;
    let function = guest.name();
    let view = guest.view()?;
    let keys = read_pairs(view.memory, function, pairs, count)?;
    let (data, stop) = view.state.data_and_stop();
    let answer = check_all(data, &keys, Access::Delete).and_then(|()| {
        data.write_bytes(bytes)?;
        Ok(data.transaction())
    });
    match answer {
        Ok(transaction) => count_if(&keys, stop, |key| transaction.delete(key)),
        Err(status) => Ok(status.code()),
    }
}

pub(super) fn exists<K: Keyspace>(guest: &mut Guest<'_, K>, pairs: i32, count: i32) -> Result<i32> {
    charge_pairs(guest, (0, 0), pairs, count)?;
    let function = guest.name();
    let view = guest.view()?;
    let keys = read_pairs(view.memory, function, pairs, count)?;
    let (data, stop) = view.state.data_and_stop();
    match check_all(data, &keys, Access::Exists) {
        Ok(()) => {
            let transaction = data.transaction();
            count_if(&keys, stop, |key| transaction.exists(key))
        }
        Err(status) => Ok(status.code()),
    }
}

pub(super) fn incr_by<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    key: i32,
    klen: i32,
    delta: i64,
    out: i32,
) -> Result<i32> {
    guest.charge_inputs(fuel::CALL + fuel::ACCESS, &[(key, klen)])?;
    let view = guest.view()?;
    let (key, out) = (
        view.span(key, klen)?,
        view.span_of(out.cast_unsigned(), size_of::<i64>() as u64)?,
    );
    let data = &mut view.state.data;
    let answer = (|| {
        let key = &view.memory[key];
        data.check(key, Access::increment(delta))?;
        data.write_bytes(key.len() as u64 + size_of::<i64>() as u64)?;
        data.transaction()
            .increment(key, delta)
            .map_err(|error| status_of(&error))
    })();
    Ok(match answer {
        Ok(sum) => {
            view.memory[out].copy_from_slice(&sum.to_le_bytes());
            0
        }
        Err(status) => status.code(),
    })
}

pub(super) fn expire<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    key: i32,
    klen: i32,
    ttl_ms: i64,
) -> Result<i32> {
    guest.charge_inputs(fuel::CALL + fuel::ACCESS, &[(key, klen)])?;
    let view = guest.view()?;
    let key = &view.memory[view.span(key, klen)?];
    let data = &mut view.state.data;
    Ok(code((|| {
        data.check(key, Access::Expire)?;
        data.write_bytes(key.len() as u64)?;
        let known = data.transaction().expire(key, ttl_ms);
        known.map(i32::from).map_err(|error| status_of(&error))
    })()))
}

pub(super) fn ttl<K: Keyspace>(guest: &mut Guest<'_, K>, key: i32, klen: i32) -> Result<i64> {
    guest.charge_inputs(fuel::CALL + fuel::ACCESS, &[(key, klen)])?;
    let view = guest.view()?;
    let key = &view.memory[view.span(key, klen)?];
    let ttl = view
        .state
        .data
        .open(key, Access::Ttl)
        .and_then(|transaction| transaction.ttl(key).map_err(|error| status_of(&error)));
    Ok(match ttl {
        Ok(Ttl::Millis(millis)) => millis,
        Ok(Ttl::NoExpiry) => no_ttl::NO_EXPIRY,
        Ok(Ttl::NoKey) => no_ttl::NO_KEY,
        Err(status) => i64::from(status.code()),
    })
}

pub(super) fn hget<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    key: i32,
    klen: i32,
    field: i32,
    flen: i32,
    buf: i32,
    cap: i32,
) -> Result<i32> {
    guest.charge_inputs(fuel::CALL + fuel::ACCESS, &[(key, klen), (field, flen)])?;
    let view = guest.view()?;
    let (key, field) = (view.span(key, klen)?, view.span(field, flen)?);
    let buffer = view.span(buf, cap)?;
    let CallState { data, overflow, .. } = view.state;
    let answer = inputs_and_output(view.memory, key, field, buffer, |key, field, buffer| {
        let transaction = data.open(key, Access::HashGet)?;
        found(transaction.hash_get(key, field, |value| {
            overflow.deliver(value, buffer, ResultSource::Data)
        }))
    });
    charge_result(guest, answer, cap)
}

pub(super) fn hset<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    key: i32,
    klen: i32,
    field: i32,
    flen: i32,
    val: i32,
    vlen: i32,
) -> Result<i32> {
    let bytes = unsigned(klen) + unsigned(flen) + unsigned(vlen);
    let inputs = [(key, klen), (field, flen), (val, vlen)];
    guest.charge_inputs(fuel::CALL + fuel::ACCESS, &inputs)?;
    let view = guest.view()?;
    let key = &view.memory[view.span(key, klen)?];
    let field = &view.memory[view.span(field, flen)?];
    let value = &view.memory[view.span(val, vlen)?];
    let data = &mut view.state.data;
    Ok(code((|| {
        data.check(key, Access::HashSet)?;
        data.write_bytes(bytes)?;
        let new = data.transaction().hash_set(key, field, value);
        new.map(i32::from).map_err(|error| status_of(&error))
    })()))
}

pub(super) fn hdel<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    key: i32,
    klen: i32,
    pairs: i32,
    count: i32,
) -> Result<i32> {
    let bytes = charge_pairs(guest, (key, klen), pairs, count)?;
    let function = guest.name();
    let view = guest.view()?;
    let key = &view.memory[view.span(key, klen)?];
    let fields = read_pairs(view.memory, function, pairs, count)?;
    let (data, stop) = view.state.data_and_stop();
    let answer = data.check(key, Access::HashDelete).and_then(|()| {
        data.write_bytes(bytes)?;
        Ok(data.transaction())
    });
    match answer {
        Ok(transaction) => count_if(&fields, stop, |field| transaction.hash_delete(key, field)),
        Err(status) => Ok(status.code()),
    }
}

/// Bytes of a pair of pointer and length.
const PAIR_BYTES: usize = 8;

/// Takes the fuel for `count` pairs, for the byte strings that they name and for `input`, before
/// the host reads any of them; returns the number of bytes in `input` and the strings.
///
/// Pairs may overlap: a guest can name the same large part of its memory in each, and the host
/// reads it each time. So all lengths are added up.
fn charge_pairs<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    input: (i32, i32),
    pairs: i32,
    count: i32,
) -> Result<u64> {
    let table_len = unsigned(count).saturating_mul(PAIR_BYTES as u64);
    let function = guest.name();
    let view = guest.view()?;
    view.span(input.0, input.1)?;
    // An array that is not all inside the memory has more pairs than any fuel pays for.
    span(view.memory, function, pairs.cast_unsigned(), table_len)?;
    guest.charge_inputs(many(count), &[input])?;
    let view = guest.view()?;
    let bytes = total(&read_pairs(view.memory, function, pairs, count)?);
    guest.charge_bytes(0, bytes)?;
    Ok(bytes.saturating_add(unsigned(input.1)))
}

/// Checks every key with the access policy.
fn check_all<K: Keyspace>(data: &mut DataAccess<K>, keys: &[&[u8]], access: Access) -> Answer<()> {
    keys.iter().try_for_each(|key| data.check(key, access))
}

/// Returns the byte strings that `count` pairs of pointer and length name.
fn read_pairs<'m>(
    memory: &'m [u8],
    function: &'static str,
    pairs: i32,
    count: i32,
) -> std::result::Result<SmallVec<[&'m [u8]; 8]>, HostTrap> {
    let table_bytes = unsigned(count).saturating_mul(PAIR_BYTES as u64);
    let table = span(memory, function, pairs.cast_unsigned(), table_bytes)?;
    let (pairs, _) = memory[table].as_chunks::<PAIR_BYTES>();
    let mut strings = SmallVec::with_capacity(pairs.len());
    for &[p0, p1, p2, p3, l0, l1, l2, l3] in pairs {
        let pointer = u32::from_le_bytes([p0, p1, p2, p3]);
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        strings.push(&memory[span(memory, function, pointer, u64::from(len))?]);
    }
    Ok(strings)
}

/// Units for one crossing and `count` accesses.
fn many(count: i32) -> u64 {
    fuel::CALL.saturating_add(fuel::ACCESS.saturating_mul(unsigned(count)))
}

fn total(strings: &[&[u8]]) -> u64 {
    strings.iter().map(|string| string.len() as u64).sum()
}

/// Counts the keys for which `test` returns true; checks regularly if the call must stop.
fn count_if(
    keys: &[&[u8]],
    stop: StopCheck<'_>,
    mut test: impl FnMut(&[u8]) -> std::result::Result<bool, StoreError>,
) -> Result<i32> {
    /// Bytes and accesses between two checks: some ten microseconds.
    const BYTES_PER_LOOK: usize = 64 << 10;
    const BYTES_PER_KEY: usize = 256;
    let mut count = 0;
    let mut bytes = 0;
    for key in keys {
        bytes += key.len() + BYTES_PER_KEY;
        if bytes >= BYTES_PER_LOOK {
            bytes = 0;
            stop.check()?;
        }
        match test(key) {
            Ok(held) => count += i32::from(held),
            Err(error) => return Ok(status_of(&error).code()),
        }
    }
    Ok(count)
}

fn found(result: std::result::Result<Option<i32>, StoreError>) -> Answer<i32> {
    match result {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Status::NotFound),
        Err(error) => Err(status_of(&error)),
    }
}

/// Takes the fuel for a result, of which at most `cap` bytes were copied into the guest.
fn charge_result<K: Keyspace>(
    guest: &mut Guest<'_, K>,
    answer: Answer<i32>,
    cap: i32,
) -> Result<i32> {
    if let Ok(len) = answer {
        // A result that did not fit was copied completely, for `take`.
        let copied = u64::try_from(len).unwrap_or(0);
        let charged = if copied > unsigned(cap) {
            2 * copied
        } else {
            copied
        };
        guest.charge_bytes(0, charged)?;
    }
    Ok(code(answer))
}

fn code(answer: Answer<i32>) -> i32 {
    answer.unwrap_or_else(Status::code)
}

fn unsigned(number: i32) -> u64 {
    u64::from(number.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::set_options;
    use ferrite_protocol::keyspace::{SetCondition, SetExpiry};

    #[test]
    fn set_options_that_contradict_each_other_mean_nothing() {
        let none = SetExpiry::None;
        for (options, ttl_ms, expected) in [
            (0, -1, Some((SetCondition::Always, none))),
            (0, i64::MIN, Some((SetCondition::Always, none))),
            (1, -1, Some((SetCondition::IfAbsent, none))),
            (
                2,
                5,
                Some((SetCondition::IfPresent, SetExpiry::AfterMillis(5))),
            ),
            (4, -1, Some((SetCondition::Always, SetExpiry::Keep))),
            (3, -1, None),
            (4, 5, None),
            (4, 0, None),
            (0, 0, None),
            (8, -1, None),
            (-1, -1, None),
        ] {
            assert_eq!(set_options(options, ttl_ms), expected, "{options} {ttl_ms}");
        }
    }
}
