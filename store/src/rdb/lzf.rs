//! LZF compression.
//!
//! A stream is a row of pieces. A first byte below 32 announces one more literal byte than it says.
//! Otherwise its top three bits are the length of a copy minus 2 (if all are set, a byte with the
//! rest follows), and the other bits with the next byte are how far back the copy begins, minus 1.

use std::collections::HashMap;

/// Most literal bytes of one piece.
const LITERALS_MAX: usize = 32;
/// Most bytes that a copy can be away.
const DISTANCE_MAX: usize = 1 << 13;
/// Most bytes of one copy.
const COPY_MAX: usize = 7 + 255 + 2;
/// Fewest bytes of one copy.
const COPY_MIN: usize = 3;

/// Compresses bytes; `None` unless that saves at least `saving` bytes.
pub(super) fn compress(bytes: &[u8], saving: usize) -> Option<Vec<u8>> {
    let most = bytes.len().checked_sub(saving)?;
    let mut out = Vec::with_capacity(most.min(1 << 16));
    let mut seen: HashMap<[u8; COPY_MIN], usize, foldhash::fast::RandomState> = HashMap::default();
    let mut literals = 0..0;
    let mut at = 0;
    while at < bytes.len() {
        let copy = bytes[at..].first_chunk::<COPY_MIN>().and_then(|start| {
            let from = seen.insert(*start, at)?;
            (at - from <= DISTANCE_MAX).then_some(from)
        });
        let Some(from) = copy else {
            literals = literals.start..at + 1;
            at += 1;
            if literals.len() == LITERALS_MAX {
                flush(&mut out, &bytes[literals]);
                literals = at..at;
            }
            continue;
        };
        flush(&mut out, &bytes[literals]);
        let equal = bytes[from..].iter().zip(&bytes[at..]);
        let len = equal.take(COPY_MAX).take_while(|(a, b)| a == b).count();
        let back = at - from - 1;
        // Both fit: lengths up to 264 and distances up to 2^13 were chosen above.
        let (high, low) = ((back >> 8) as u8, back as u8);
        match len - 2 {
            short @ ..7 => out.push((short as u8) << 5 | high),
            long => out.extend([7 << 5 | high, (long - 7) as u8]),
        }
        out.push(low);
        at += len;
        literals = at..at;
        if out.len() > most {
            return None;
        }
    }
    flush(&mut out, &bytes[literals]);
    (out.len() <= most).then_some(out)
}

fn flush(out: &mut Vec<u8>, literals: &[u8]) {
    if let Some(before_last) = literals.len().checked_sub(1) {
        out.push(before_last as u8);
        out.extend_from_slice(literals);
    }
}

/// Decompresses to exactly `len` bytes. Allocates no more than the stream can yield.
pub(super) fn decompress(stream: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(len.min(stream.len().saturating_mul(COPY_MAX / 3)));
    let mut rest = stream;
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        if usize::from(first) < LITERALS_MAX {
            let (literals, more) = rest.split_at_checked(usize::from(first) + 1)?;
            out.extend_from_slice(literals);
            rest = more;
        } else {
            let mut count = usize::from(first >> 5);
            if count == 7 {
                let (&more_count, more) = rest.split_first()?;
                count += usize::from(more_count);
                rest = more;
            }
            let (&low, more) = rest.split_first()?;
            rest = more;
            let back = (usize::from(first & 0x1f) << 8) + usize::from(low) + 1;
            let from = out.len().checked_sub(back)?;
            // A copy may overlap with what it writes.
            for at in from..from + count + 2 {
                out.push(out[at]);
            }
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::{compress, decompress};

    #[test]
    fn what_is_compressed_comes_back() {
        let mut random = fastrand::Rng::with_seed(3);
        for round in 0..500 {
            let letters = random.usize(1..6);
            let bytes: Vec<u8> = (0..random.usize(..20_000))
                .map(|_| random.u8(..letters as u8).wrapping_add(round as u8))
                .collect();
            if let Some(stream) = compress(&bytes, 4) {
                assert!(stream.len() + 4 <= bytes.len());
                assert_eq!(decompress(&stream, bytes.len()), Some(bytes));
            } else {
                assert!(
                    bytes.len() < 100,
                    "{} bytes were not compressed",
                    bytes.len()
                );
            }
        }
    }

    #[test]
    fn a_stream_of_valkey_is_read() {
        let stream = b"\x01xx\xe0W\x00\x01xx";
        assert_eq!(decompress(stream, 100), Some(vec![b'x'; 100]));
        assert_eq!(decompress(stream, 99), None);
        assert_eq!(decompress(stream, 1 << 40), None);
        assert_eq!(decompress(b"\x20\x00", 3), None);
    }
}
