//! Damaged copies of what other servers send, for the tests of what reads it.

/// Copies in a plain run; `FERRITE_FUZZ_INPUTS` sets another number.
const INPUTS: u32 = 20_000;

/// Copies of `good` with some bytes changed, cut, repeated or added.
pub(crate) fn copies(good: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let inputs = std::env::var("FERRITE_FUZZ_INPUTS").map_or(INPUTS, |text| {
        text.parse().expect("FERRITE_FUZZ_INPUTS is a number")
    });
    let mut random = fastrand::Rng::with_seed(13);
    (0..inputs).map(move |_| {
        let mut bytes = good.to_vec();
        for _ in 0..random.u32(1..5) {
            let at = random.usize(..=bytes.len());
            let end = (at + random.usize(..8)).min(bytes.len());
            match random.u8(..6) {
                0 if at < bytes.len() => bytes[at] = random.u8(..),
                1 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
                2 => bytes.truncate(at),
                3 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                4 => bytes.insert(
                    at,
                    *random.choice(b"\r\n*$:-0129{}[],\"\\\0\xff").unwrap_or(&0),
                ),
                _ => drop(bytes.drain(at..end)),
            }
        }
        bytes
    })
}
