//! The slots of a cluster's keys.

use std::sync::LazyLock;

/// Number of slots of every cluster.
pub(super) const SLOTS: u16 = 16_384;

/// A checksum for each byte: CRC-16 with the polynomial 0x1021, as the cluster specification says.
const CHECKSUMS: [u16; 256] = checksums();

const fn checksums() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 0x8000 == 0 {
                sum << 1
            } else {
                sum << 1 ^ 0x1021
            };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

fn slot_of_bytes(bytes: &[u8]) -> u16 {
    let sum = bytes.iter().fold(0_u16, |sum, &byte| {
        sum << 8 ^ CHECKSUMS[usize::from(sum >> 8 ^ u16::from(byte))]
    });
    sum % SLOTS
}

/// Returns the slot of a key: that of the part in its first braces, if there is something in them.
#[must_use]
pub fn slot_of(key: &[u8]) -> u16 {
    let position = |bytes: &[u8], wanted| bytes.iter().position(|&byte| byte == wanted);
    if let Some(open) = position(key, b'{')
        && let Some(len) = position(&key[open + 1..], b'}')
        && len > 0
    {
        return slot_of_bytes(&key[open + 1..][..len]);
    }
    slot_of_bytes(key)
}

/// For each slot, the least number whose digits are in it.
static TAGS: LazyLock<Box<[u32]>> = LazyLock::new(|| {
    let mut tags = vec![u32::MAX; usize::from(SLOTS)].into_boxed_slice();
    let mut missing = tags.len();
    let mut number = 0_u32;
    while missing > 0 {
        let tag = &mut tags[usize::from(slot_of_bytes(number.to_string().as_bytes()))];
        if *tag == u32::MAX {
            *tag = number;
            missing -= 1;
        }
        number += 1;
    }
    tags
});

/// Returns the number that, in braces, brings a key into this slot.
pub(crate) fn tag_of(slot: u16) -> u32 {
    TAGS[usize::from(slot % SLOTS)]
}

#[cfg(test)]
mod tests {
    use super::{SLOTS, slot_of, slot_of_bytes, tag_of};

    #[test]
    fn slots_are_those_of_every_cluster() {
        // The example of the specification.
        assert_eq!(slot_of(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"a"), 15495);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        // Nothing is in its braces, or they are not closed.
        for key in [&b"foo{}{bar}"[..], b"foo{bar", b"foo}{", b""] {
            assert_eq!(slot_of(key), slot_of_bytes(key));
        }
    }

    #[test]
    fn every_slot_has_a_tag() {
        for slot in 0..SLOTS {
            let key = format!("ferrite:leases:{{{}}}", tag_of(slot));
            assert_eq!(slot_of(key.as_bytes()), slot);
        }
    }
}
