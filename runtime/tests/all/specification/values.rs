//! Numbers as the suite writes them.

use wast::core::{NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::{WastArg, WastRet};

use crate::support::number::{F32_CANONICAL, F64_CANONICAL, Number};

/// Returns an argument's numbers; two for a vector, and `None` for a reference.
pub(super) fn of_arg(arg: &WastArg<'_>) -> Option<Vec<Number>> {
    let WastArg::Core(arg) = arg else {
        return None;
    };
    Some(match arg {
        WastArgCore::I32(value) => vec![Number::I32(value.cast_unsigned())],
        WastArgCore::I64(value) => vec![Number::I64(value.cast_unsigned())],
        WastArgCore::F32(value) => vec![Number::F32(value.bits)],
        WastArgCore::F64(value) => vec![Number::F64(value.bits)],
        WastArgCore::V128(value) => halves(value.to_le_bytes()).map(Number::I64).to_vec(),
        _ => return None,
    })
}

/// Returns the two halves of a vector.
fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let whole = u128::from_le_bytes(bytes);
    [whole as u64, (whole >> 64) as u64]
}

/// A number that a result must have.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Exact(Number),
    F32(NanKind),
    F64(NanKind),
    /// Two lanes of a vector, as the halves of an `i64`.
    Lanes([Lane; 2]),
    /// One lane of a vector, as an `i64`.
    Lane64(NanKind),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    Exact(u32),
    Nan(NanKind),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum NanKind {
    Canonical,
    Arithmetic,
}

impl NanKind {
    fn is_f32(self, bits: u32) -> bool {
        match self {
            Self::Canonical => bits & 0x7fff_ffff == F32_CANONICAL,
            Self::Arithmetic => bits & F32_CANONICAL == F32_CANONICAL,
        }
    }

    fn is_f64(self, bits: u64) -> bool {
        match self {
            Self::Canonical => bits << 1 >> 1 == F64_CANONICAL,
            Self::Arithmetic => bits & F64_CANONICAL == F64_CANONICAL,
        }
    }
}

impl Pattern {
    /// Returns the patterns of a result; `None` for a reference.
    pub(super) fn of(ret: &WastRet<'_>) -> Option<Vec<Self>> {
        let WastRet::Core(ret) = ret else {
            return None;
        };
        Some(match ret {
            WastRetCore::I32(value) => vec![Self::Exact(Number::I32(value.cast_unsigned()))],
            WastRetCore::I64(value) => vec![Self::Exact(Number::I64(value.cast_unsigned()))],
            WastRetCore::F32(pattern) => vec![match pattern {
                NanPattern::Value(value) => Self::Exact(Number::F32(value.bits)),
                nan => Self::F32(kind(nan)),
            }],
            WastRetCore::F64(pattern) => vec![match pattern {
                NanPattern::Value(value) => Self::Exact(Number::F64(value.bits)),
                nan => Self::F64(kind(nan)),
            }],
            WastRetCore::V128(pattern) => vector(pattern),
            _ => return None,
        })
    }

    pub(super) fn matches(&self, number: Number) -> bool {
        match (self, number) {
            (Self::Exact(expected), number) => *expected == number,
            (Self::F32(kind), Number::F32(bits)) => kind.is_f32(bits),
            (Self::F64(kind), Number::F64(bits)) => kind.is_f64(bits),
            (Self::Lane64(kind), Number::I64(bits)) => kind.is_f64(bits),
            (Self::Lanes(lanes), Number::I64(bits)) => lanes
                .iter()
                .zip([bits as u32, (bits >> 32) as u32])
                .all(|(lane, bits)| match lane {
                    Lane::Exact(expected) => *expected == bits,
                    Lane::Nan(kind) => kind.is_f32(bits),
                }),
            _ => false,
        }
    }

    /// Returns a number of the same type.
    fn like(&self) -> Number {
        match self {
            Self::Exact(number) => *number,
            Self::F32(_) => Number::F32(0),
            Self::F64(_) => Number::F64(0),
            Self::Lanes(_) | Self::Lane64(_) => Number::I64(0),
        }
    }
}

fn kind<T>(pattern: &NanPattern<T>) -> NanKind {
    match pattern {
        NanPattern::CanonicalNan => NanKind::Canonical,
        NanPattern::ArithmeticNan | NanPattern::Value(_) => NanKind::Arithmetic,
    }
}

fn vector(pattern: &V128Pattern) -> Vec<Pattern> {
    let mut bytes = [0; 16];
    let exact = |bytes| {
        halves(bytes)
            .map(|half| Pattern::Exact(Number::I64(half)))
            .to_vec()
    };
    match pattern {
        V128Pattern::I8x16(lanes) => {
            for (byte, lane) in bytes.iter_mut().zip(lanes) {
                *byte = lane.cast_unsigned();
            }
            exact(bytes)
        }
        V128Pattern::I16x8(lanes) => {
            for (place, lane) in bytes.chunks_exact_mut(2).zip(lanes) {
                place.copy_from_slice(&lane.to_le_bytes());
            }
            exact(bytes)
        }
        V128Pattern::I32x4(lanes) => {
            for (place, lane) in bytes.chunks_exact_mut(4).zip(lanes) {
                place.copy_from_slice(&lane.to_le_bytes());
            }
            exact(bytes)
        }
        V128Pattern::I64x2(lanes) => lanes
            .iter()
            .map(|lane| Pattern::Exact(Number::I64(lane.cast_unsigned())))
            .collect(),
        V128Pattern::F32x4(lanes) => {
            let lane = |pattern: &NanPattern<wast::token::F32>| match pattern {
                NanPattern::Value(value) => Lane::Exact(value.bits),
                nan => Lane::Nan(kind(nan)),
            };
            let [a, b, c, d] = lanes.each_ref().map(lane);
            vec![Pattern::Lanes([a, b]), Pattern::Lanes([c, d])]
        }
        V128Pattern::F64x2(lanes) => lanes
            .iter()
            .map(|pattern| match pattern {
                NanPattern::Value(value) => Pattern::Exact(Number::I64(value.bits)),
                nan => Pattern::Lane64(kind(nan)),
            })
            .collect(),
    }
}

/// Returns a number of each pattern's type.
pub(super) fn types(patterns: &[Pattern]) -> Vec<Number> {
    patterns.iter().map(Pattern::like).collect()
}
