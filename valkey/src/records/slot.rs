//! Slots of a cluster: which one a key is in, and a key for each of them.

use std::sync::LazyLock;

/// Number of slots.
pub(crate) const SLOTS: u16 = 16_384;

/// For each slot a number whose digits are in it.
static TAGS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut tags: Vec<Option<u32>> = vec![None; usize::from(SLOTS)];
    let mut missing = tags.len();
    let mut number = 0_u32;
    while missing > 0 {
        let slot = usize::from(crc16(number.to_string().as_bytes()) % SLOTS);
        if tags[slot].is_none() {
            tags[slot] = Some(number);
            missing -= 1;
        }
        number += 1;
    }
    tags.into_iter().flatten().collect()
});

/// Returns the slot of a key: of what stands between its first braces, if anything does.
pub(crate) fn of(key: &[u8]) -> u16 {
    let open = key.iter().position(|&byte| byte == b'{');
    let tag = open.and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|&byte| byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// Returns a text that is in a slot, to stand between braces.
pub(crate) fn tag(slot: u16) -> u32 {
    TAGS[usize::from(slot % SLOTS)]
}

/// CRC-16/XMODEM, by which clusters place keys.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |mut crc, &byte| {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::{SLOTS, crc16, of, tag};

    #[test]
    fn keys_are_in_the_slots_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(of(b"a"), 15_495);
        assert_eq!(of(b"x{a}y{b}"), of(b"a"));
        assert_eq!(of(b"{}a"), crc16(b"{}a") % SLOTS);
        assert_eq!(of(b"{a"), crc16(b"{a") % SLOTS);
    }

    #[test]
    fn every_slot_has_its_tag() {
        for slot in 0..SLOTS {
            assert_eq!(
                of(format!("ferrite:events:{{{}}}", tag(slot)).as_bytes()),
                slot
            );
        }
    }
}
