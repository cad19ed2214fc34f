//! Patches: what makes one memory of another.
//!
//! Each is its place in the memory and its length, both 32-bit and little-endian, and that many bytes. They come
//! in rising order, and none begins before the end of the one before.

use super::ImageError;

/// Bytes before the contents of a patch.
const HEAD_LEN: usize = 8;

/// Returns the patches that make `after` of `before`. Where a memory is shorter, zeros follow.
#[must_use]
pub fn between(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut patches = Vec::new();
    let len = before.len().max(after.len());
    let mut at = 0;
    while let Some(start) = next_difference(before, after, at, len) {
        // What is the same for less than a patch's own length is taken along.
        let mut end = start + 1;
        while let Some(next) = next_difference(before, after, end, len.min(end + HEAD_LEN)) {
            end = next + 1;
        }
        write(&mut patches, after, start, end);
        at = end;
    }
    patches
}

/// Writes patches into a memory.
///
/// # Errors
///
/// They are malformed, or do not lie within the memory. Some may have been written then.
pub fn apply(mut patches: &[u8], memory: &mut [u8]) -> Result<(), ImageError> {
    let memory_bytes = memory.len() as u64;
    let mut written = 0;
    while let Some((head, rest)) = patches.split_first_chunk::<HEAD_LEN>() {
        let [a, b, c, d, e, f, g, h] = *head;
        let start = u32::from_le_bytes([a, b, c, d]) as usize;
        let len = u32::from_le_bytes([e, f, g, h]) as usize;
        let (bytes, rest) = rest.split_at_checked(len).ok_or(ImageError::Patches)?;
        if start < written || len == 0 {
            return Err(ImageError::Patches);
        }
        let end = start as u64 + len as u64;
        let place = memory.get_mut(start..).and_then(|room| room.get_mut(..len));
        place
            .ok_or(ImageError::Outside { end, memory_bytes })?
            .copy_from_slice(bytes);
        written = start + len;
        patches = rest;
    }
    if patches.is_empty() {
        Ok(())
    } else {
        Err(ImageError::Patches)
    }
}

/// Returns the first place from `start` to before `end` at which the memories differ.
fn next_difference(before: &[u8], after: &[u8], start: usize, end: usize) -> Option<usize> {
    /// Bytes that are compared at once.
    const STEP: usize = 256;
    let mut at = start;
    while at < end {
        let stop = end.min(at + STEP);
        if let (Some(one), Some(other)) = (before.get(at..stop), after.get(at..stop))
            && one == other
        {
            at = stop;
            continue;
        }
        let differs = |place: &usize| byte(before, *place) != byte(after, *place);
        if let Some(place) = (at..stop).find(differs) {
            return Some(place);
        }
        at = stop;
    }
    None
}

fn byte(memory: &[u8], at: usize) -> u8 {
    memory.get(at).copied().unwrap_or(0)
}

fn write(patches: &mut Vec<u8>, after: &[u8], start: usize, end: usize) {
    // A memory of WebAssembly has no place above 32 bits.
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    patches.extend_from_slice(&number(start));
    patches.extend_from_slice(&number(end - start));
    let there = after.get(start.min(after.len())..end.min(after.len()));
    let there = there.unwrap_or_default();
    patches.extend_from_slice(there);
    patches.resize(patches.len() + (end - start - there.len()), 0);
}

#[cfg(test)]
mod tests {
    use super::{apply, between};
    use crate::image::ImageError;

    /// Applies the patches between two memories to the first, in one of `room` bytes.
    fn through(before: &[u8], after: &[u8], room: usize) -> (usize, Vec<u8>) {
        let patches = between(before, after);
        let mut memory = before.to_vec();
        memory.resize(room, 0);
        apply(&patches, &mut memory).expect("they are in order");
        (patches.len(), memory)
    }

    #[test]
    fn what_differs_is_written_and_nothing_else() {
        let before: Vec<u8> = (0..5000).map(|at| (at % 251) as u8).collect();
        assert_eq!(through(&before, &before, 5000), (0, before.clone()));
        let mut after = before.clone();
        after[0] ^= 1;
        after[300] ^= 1;
        after[308] ^= 1;
        after[4999] ^= 1;
        let (len, memory) = through(&before, &after, 5000);
        assert_eq!(memory, after);
        assert_eq!(len, 9 + (8 + 9) + 9, "places that are close are one patch");
        after.extend_from_slice(b"\0\0more");
        let (_, memory) = through(&before, &after, after.len());
        assert_eq!(memory, after);
        let (_, memory) = through(&after, &before, after.len());
        assert_eq!(memory[..5000], before, "what was there is zero now");
        assert_eq!(memory[5000..], [0; 6]);
    }

    #[test]
    fn any_two_memories_are_led_from_one_to_the_other() {
        // A linear congruential generator, with the numbers of Knuth's MMIX.
        let mut state = 7_u64;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..300 {
            let mut before = vec![0; next(3000)];
            let mut after = vec![0; next(3000)];
            for memory in [&mut before, &mut after] {
                for _ in 0..next(40) {
                    if memory.is_empty() {
                        continue;
                    }
                    let at = next(memory.len());
                    memory[at] = next(3) as u8;
                }
            }
            let room = before.len().max(after.len());
            let (_, memory) = through(&before, &after, room);
            after.resize(room, 0);
            assert_eq!(memory, after);
        }
    }

    #[test]
    fn malformed_patches_are_refused() {
        let good = between(b"", b"abc");
        let mut memory = [0; 3];
        for len in 1..good.len() {
            assert_eq!(
                apply(&good[..len], &mut memory),
                Err(ImageError::Patches),
                "{len}"
            );
        }
        let outside = apply(&good, &mut memory[..2]);
        let (end, memory_bytes) = (3, 2);
        assert_eq!(outside, Err(ImageError::Outside { end, memory_bytes }));
        let twice = [&good[..], &good].concat();
        assert_eq!(apply(&twice, &mut memory), Err(ImageError::Patches));
        assert_eq!(
            apply(&[0; 8], &mut memory),
            Err(ImageError::Patches),
            "an empty one"
        );
        let far = [0xff; 8];
        assert_eq!(apply(&far, &mut memory), Err(ImageError::Patches));
    }
}
