//! HyperLogLog: estimates how many distinct elements were added, in a string of at most 12 KB.
//!
//! An element's hash chooses one of 16,384 registers, which keeps the longest run of zeros seen in
//! the rest of the hashes. The string is `HYLL`, the encoding (u8), three zeros, the last estimate
//! (u64, little-endian; the top bit says that it is out of date), and the registers: 6 bits each, or,
//! while few are set, runs. A byte `00nnnnnn` is a run of n + 1 zeros; `01nnnnnn` with another byte
//! one of up to 16,384; `1vvvvvnn` is n + 1 registers of v + 1.

use crate::commands::spec::{
    Answer, Argv, BLIND, DENYOOM, FAST, Keys, Out, READONLY, WRITE, commands,
};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::Value;
use crate::value::deadline::Deadline;
use crate::value::text::Text;
use ferrite_protocol::budget::lookups;

/// Units for going through all registers of a value once.
const REGISTERS_UNITS: u64 = 20_000;

commands! {
    "pfadd", -2, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => pfadd,
        "hyperloglog", "key [element [element ...]]",
        "Adds elements to a HyperLogLog.";
    "pfcount", -2, READONLY, Keys::EVERY => pfcount,
        "hyperloglog", "key [key ...]",
        "Estimates how many distinct elements were added to HyperLogLogs.";
    "pfmerge", -2, WRITE | DENYOOM, Keys::EVERY => pfmerge,
        "hyperloglog", "destkey [sourcekey [sourcekey ...]]",
        "Merges HyperLogLogs into one.";
}

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;
const REGISTERS: usize = 1 << INDEX_BITS;
/// The other bits of a hash.
const RUN_BITS: u32 = 64 - INDEX_BITS;
/// Bits of a register in the dense encoding.
const REGISTER_BITS: usize = 6;
const HEADER_LEN: usize = 16;
const DENSE_LEN: usize = HEADER_LEN + REGISTERS * REGISTER_BITS / 8;
/// Longest string in the sparse encoding.
const SPARSE_LEN_MAX: usize = 3000;
/// Highest value of a register in the sparse encoding.
const SPARSE_VALUE_MAX: u8 = 32;

const MAGIC: &[u8; 4] = b"HYLL";
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// Place and bit that say that the estimate is out of date.
const STALE_AT: usize = 15;
const STALE: u8 = 0x80;

const NO_HYPERLOGLOG: StoreError =
    StoreError::Refused("WRONGTYPE Key is not a valid HyperLogLog string value.");
const CORRUPTED: StoreError = StoreError::Refused("INVALIDOBJ Corrupted HLL object detected");

/// The registers of a HyperLogLog, and how they were encoded.
#[derive(Clone)]
struct Registers {
    values: Box<[u8]>,
    dense: bool,
}

impl Registers {
    fn empty() -> Self {
        Self {
            values: vec![0; REGISTERS].into(),
            dense: false,
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, StoreError> {
        let dense = check_header(bytes)?;
        let mut registers = Self::empty();
        registers.dense = dense;
        if dense {
            for (at, value) in registers.values.iter_mut().enumerate() {
                *value = dense_register(bytes, at);
            }
            return Ok(registers);
        }
        let mut at = 0;
        let mut rest = &bytes[HEADER_LEN..];
        while let Some((&first, more)) = rest.split_first() {
            rest = more;
            let low = usize::from(first & 0x3f);
            let (len, value) = match first >> 6 {
                0 => (low + 1, 0),
                1 => {
                    let (&second, more) = rest.split_first().ok_or(CORRUPTED)?;
                    rest = more;
                    ((low << 8) + usize::from(second) + 1, 0)
                }
                _ => (usize::from(first & 3) + 1, (first >> 2 & 0x1f) + 1),
            };
            let run = registers.values.get_mut(at..at + len).ok_or(CORRUPTED)?;
            run.fill(value);
            at += len;
        }
        if at == REGISTERS {
            Ok(registers)
        } else {
            Err(CORRUPTED)
        }
    }

    /// Adds an element; returns true if that raised a register.
    fn add(&mut self, element: &[u8]) -> bool {
        let (register, run) = register_of(element);
        let value = &mut self.values[register];
        let raised = run > *value;
        *value = run.max(*value);
        raised
    }

    fn merge(&mut self, other: &Self) {
        self.dense |= other.dense;
        for (value, other) in self.values.iter_mut().zip(&other.values) {
            *value = (*value).max(*other);
        }
    }

    /// The string, with an estimate that is out of date.
    fn to_bytes(&self) -> Vec<u8> {
        let sparse = if self.dense { None } else { self.sparse() };
        let (encoding, registers) = match sparse {
            Some(runs) => (SPARSE, runs),
            None => (DENSE, self.dense()),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.resize(HEADER_LEN, 0);
        bytes[MAGIC.len()] = encoding;
        bytes[STALE_AT] = STALE;
        bytes.extend(registers);
        bytes
    }

    /// The runs; `None` if they are too long, or a value is too high.
    fn sparse(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for run in self.values.chunk_by(|left, right| left == right) {
            let value = run[0];
            if value > SPARSE_VALUE_MAX {
                return None;
            }
            // The masks and bounds of each branch make the numbers fit.
            match (value, run.len()) {
                (0, len @ ..=64) => out.push((len - 1) as u8),
                (0, len) => out.extend(((len - 1) as u16 | 0x4000).to_be_bytes()),
                (value, len) => {
                    let mark = 0x80 | (value - 1) << 2;
                    out.extend(std::iter::repeat_n(mark | 3, len / 4));
                    if len % 4 > 0 {
                        out.push(mark | (len % 4 - 1) as u8);
                    }
                }
            }
        }
        (HEADER_LEN + out.len() <= SPARSE_LEN_MAX).then_some(out)
    }

    fn dense(&self) -> Vec<u8> {
        let mut out = vec![0; DENSE_LEN - HEADER_LEN];
        for (at, value) in self.values.iter().enumerate() {
            let (byte, shift) = (at * REGISTER_BITS / 8, at * REGISTER_BITS % 8);
            let [low, high] = (u16::from(*value) << shift).to_le_bytes();
            out[byte] |= low;
            if high > 0 {
                out[byte + 1] |= high;
            }
        }
        out
    }

    /// Otmar Ertl's estimator, which needs no corrections (arXiv:1702.01284).
    fn estimate(&self) -> i64 {
        let mut counts = [0_u32; 64];
        for value in &self.values {
            counts[usize::from(value & 63)] += 1;
        }
        let registers = REGISTERS as f64;
        let highest = RUN_BITS as usize + 1;
        let mut sum = registers * tau((registers - f64::from(counts[highest])) / registers);
        for count in counts[1..highest].iter().rev() {
            sum = (sum + f64::from(*count)) * 0.5;
        }
        sum += registers * sigma(f64::from(counts[0]) / registers);
        let alpha = 0.5 / std::f64::consts::LN_2;
        (alpha * registers * registers / sum).round() as i64
    }
}

fn sigma(start: f64) -> f64 {
    if start == 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (start, 1.0, start);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(start: f64) -> f64 {
    if start == 0.0 || start == 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (start, 1.0, 1.0 - start);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

/// Checks that a string is a HyperLogLog; returns true if it is dense.
fn check_header(bytes: &[u8]) -> Result<bool, StoreError> {
    if bytes.len() < HEADER_LEN || !bytes.starts_with(MAGIC) {
        return Err(NO_HYPERLOGLOG);
    }
    match bytes[MAGIC.len()] {
        DENSE if bytes.len() == DENSE_LEN => Ok(true),
        SPARSE => Ok(false),
        _ => Err(NO_HYPERLOGLOG),
    }
}

fn dense_register(bytes: &[u8], at: usize) -> u8 {
    let (byte, shift) = (at * REGISTER_BITS / 8, at * REGISTER_BITS % 8);
    let low = bytes[HEADER_LEN + byte];
    // The last register ends with the last byte.
    let high = bytes.get(HEADER_LEN + byte + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([low, high]) >> shift) as u8 & 0x3f
}

/// The register of an element, and the length of its run of zeros with the one behind it.
fn register_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let register = hash as usize & (REGISTERS - 1);
    let rest = hash >> INDEX_BITS | 1 << RUN_BITS;
    // At most 51.
    (register, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A, as Redis uses it here.
fn murmur(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xadc8_3b19;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        word ^= word >> 47;
        hash = (hash ^ word.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(FACTOR);
    hash ^ hash >> 47
}

fn read<V: View>(view: &mut V, key: &[u8]) -> Result<Option<Registers>, StoreError> {
    let text = view.read::<Text>(key)?;
    text.map(|text| Registers::parse(text.as_slice()))
        .transpose()
}

/// Writes a HyperLogLog and leaves the key's deadline as it is.
fn write<V: View>(view: &mut V, key: &[u8], registers: &Registers) -> Answer {
    let deadline = view.get(key)?.map_or(Deadline::NEVER, |live| live.deadline);
    view.put(key, Value::text(&registers.to_bytes()), deadline)
}

fn pfadd<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(2 * REGISTERS_UNITS + lookups(argv.len()))?;
    let elements = &argv[2..];
    let text = view.read::<Text>(argv[1])?;
    if let Some(text) = text
        && check_header(text.as_slice())?
        && !elements.iter().any(|element| {
            let (register, run) = register_of(element);
            run > dense_register(text.as_slice(), register)
        })
    {
        // The usual case once there are many: nothing is new.
        out.int(0);
        return Ok(());
    }
    let found = read(view, argv[1])?;
    let mut changed = found.is_none();
    let mut registers = found.unwrap_or_else(Registers::empty);
    for element in elements {
        changed |= registers.add(element);
    }
    if changed {
        write(view, argv[1], &registers)?;
    }
    out.int(i64::from(changed));
    Ok(())
}

fn pfcount<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.charge(REGISTERS_UNITS)?;
    if let [_, key] = argv {
        let Some(text) = view.read::<Text>(key)? else {
            out.int(0);
            return Ok(());
        };
        let bytes = text.as_slice();
        check_header(bytes)?;
        let estimate = match bytes[8..HEADER_LEN].try_into().map(i64::from_le_bytes) {
            Ok(estimate) if bytes[STALE_AT] & STALE == 0 => estimate,
            _ => Registers::parse(bytes)?.estimate(),
        };
        out.int(estimate);
        return Ok(());
    }
    let mut all = Registers::empty();
    for key in &argv[1..] {
        out.charge(REGISTERS_UNITS)?;
        if let Some(registers) = read(view, key)? {
            all.merge(&registers);
        }
    }
    out.int(all.estimate());
    Ok(())
}

fn pfmerge<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let mut all = Registers::empty();
    for key in &argv[1..] {
        out.charge(REGISTERS_UNITS)?;
        if let Some(registers) = read(view, key)? {
            all.merge(&registers);
        }
    }
    write(view, argv[1], &all)?;
    out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Registers;

    #[test]
    fn estimates_are_close_in_both_encodings() {
        let mut registers = Registers::empty();
        for number in 0..200_000_u32 {
            registers.add(&number.to_le_bytes());
            if [100, 1_000, 10_000, 199_999].contains(&number) {
                let bytes = registers.to_bytes();
                let back = Registers::parse(&bytes).expect("well formed");
                assert!(back.values == registers.values);
                assert_eq!(back.dense, number >= 10_000, "{} bytes", bytes.len());
                let off = back.estimate().abs_diff(i64::from(number) + 1);
                assert!(off * 30 < u64::from(number), "{off} off at {number}");
                registers = back;
            }
        }
    }
}
