//! Removes debug information from a module, which is many times as large as its code. Names stay.

/// Returns the module without its debug sections; `None` if the bytes are no module.
pub(super) fn removed(wasm: &[u8]) -> Option<Vec<u8>> {
    /// Magic number and version.
    const HEAD_BYTES: usize = 8;
    const CUSTOM: u8 = 0;
    let (head, mut rest) = wasm.split_at_checked(HEAD_BYTES)?;
    let mut kept = head.to_vec();
    while let Some((&id, after_id)) = rest.split_first() {
        let (len, body) = length(after_id)?;
        let (body, next) = body.split_at_checked(len)?;
        if id != CUSTOM || !is_debug(body)? {
            kept.extend_from_slice(&rest[..rest.len() - next.len()]);
        }
        rest = next;
    }
    Some(kept)
}

/// Returns true if the name of a custom section says that it is debug information.
fn is_debug(section: &[u8]) -> Option<bool> {
    let (len, rest) = length(section)?;
    Some(rest.get(..len)?.starts_with(b".debug_"))
}

/// Reads a length in LEB128; returns it and the bytes after it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut sum: u32 = 0;
    for (index, &byte) in bytes.iter().enumerate().take(5) {
        sum |= u32::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte < 0x80 {
            return Some((sum as usize, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::removed;

    const HEAD: &[u8] = b"\0asm\x01\0\0\0";

    #[test]
    fn only_debug_sections_go() {
        let name = b"\0\x08\x04name\x01\x01\0";
        let code = b"\x0a\x01\0";
        let debug = [b"\0\x8c\0\x0b.debug_info".as_slice()].concat();
        let whole = [HEAD, code, &debug, name].concat();
        assert_eq!(removed(&whole), Some([HEAD, code, name].concat()));
        assert_eq!(removed(HEAD), Some(HEAD.to_vec()));
    }

    #[test]
    fn what_is_no_module_is_left_alone() {
        for bytes in [
            &b"\0asm"[..],
            &[HEAD, b"\0"].concat(),
            &[HEAD, b"\x0a\x05\0"].concat(),
        ] {
            assert_eq!(removed(bytes), None);
        }
    }
}
