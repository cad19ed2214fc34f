//! Reading what the host copies into buffers: into the stack when it is short, which is the rule.

use alloc::vec::Vec;

use ferrite_wasm_abi::Status;

use crate::host;
use crate::value::from_value::{FromValue, Mismatch};

/// Bytes of a result that need no allocation. A fresh instance that never allocates needs no heap.
const INLINE_BYTES: usize = 256;

/// Asks the host for a result and reads it; `None` where there is none.
///
/// `ask` is a host function that fills the buffer and returns the full length or a status; a status
/// other than "not found" is the error.
pub(crate) fn read<T: FromValue>(
    ask: impl FnOnce(&mut [u8]) -> i32,
) -> Result<Option<Result<T, Mismatch>>, i64> {
    let mut inline = [0; INLINE_BYTES];
    let answer = ask(&mut inline);
    let Ok(len) = usize::try_from(answer) else {
        if answer == Status::NotFound.code() {
            return Ok(None);
        }
        return Err(answer.into());
    };
    Ok(Some(match inline.get(..len) {
        Some(bytes) => T::from_bytes(bytes),
        None => {
            let mut bytes = Vec::new();
            append_long(&mut bytes, &inline, len)?;
            T::from_vec(bytes)
        }
    }))
}

/// Appends a result of `len` bytes, of which the host has filled in the first ones, to `bytes`.
pub(crate) fn append_long(bytes: &mut Vec<u8>, first: &[u8], len: usize) -> Result<(), i64> {
    let start = bytes.len();
    bytes.reserve_exact(len);
    bytes.extend_from_slice(first);
    bytes.resize(start + len, 0);
    let rest = &mut bytes[start + first.len()..];
    let wanted = rest.len();
    let copied = host::take(rest, first.len());
    if usize::try_from(copied) != Ok(wanted) {
        return Err(i64::from(copied.min(-1)));
    }
    Ok(())
}
