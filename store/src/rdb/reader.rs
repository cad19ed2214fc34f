//! Reads lengths, numbers and strings from a payload.

use std::borrow::Cow;

use super::listpack::integer;
use super::{forms, lzf};

/// The unread rest of a payload. Methods return `None` if it is malformed.
pub(super) struct Reader<'p> {
    rest: &'p [u8],
    /// Bytes that compressed strings may still become.
    decompressed_left: usize,
}

enum Length {
    Of(u64),
    Form(u8),
}

impl<'p> Reader<'p> {
    /// Compressed strings may become `decompressed_max` bytes in all.
    pub(super) fn new(payload: &'p [u8], decompressed_max: usize) -> Self {
        Self {
            rest: payload,
            decompressed_left: decompressed_max,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'p [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn chunk<const LEN: usize>(&mut self) -> Option<[u8; LEN]> {
        let (chunk, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*chunk)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.chunk().map(|[byte]| byte)
    }

    fn any_length(&mut self) -> Option<Length> {
        let first = self.byte()?;
        let low = first & 0x3f;
        Some(match (first >> 6, low) {
            (0, _) => Length::Of(low.into()),
            (1, _) => Length::Of(u64::from(low) << 8 | u64::from(self.byte()?)),
            (2, 0) => Length::Of(u32::from_be_bytes(self.chunk()?).into()),
            (2, 1) => Length::Of(u64::from_be_bytes(self.chunk()?)),
            (2, _) => return None,
            (_, form) => Length::Form(form),
        })
    }

    pub(super) fn length(&mut self) -> Option<u64> {
        match self.any_length()? {
            Length::Of(length) => Some(length),
            Length::Form(_) => None,
        }
    }

    pub(super) fn string(&mut self) -> Option<Cow<'p, [u8]>> {
        match self.any_length()? {
            Length::Of(length) => self.take(usize::try_from(length).ok()?).map(Cow::Borrowed),
            Length::Form(forms::INT_8) => Some(integer(i8::from_le_bytes(self.chunk()?).into())),
            Length::Form(forms::INT_16) => Some(integer(i16::from_le_bytes(self.chunk()?).into())),
            Length::Form(forms::INT_32) => Some(integer(i32::from_le_bytes(self.chunk()?).into())),
            Length::Form(forms::LZF) => {
                let compressed = usize::try_from(self.length()?).ok()?;
                let length = usize::try_from(self.length()?).ok()?;
                self.decompressed_left = self.decompressed_left.checked_sub(length)?;
                let stream = self.take(compressed)?;
                lzf::decompress(stream, length).map(Cow::Owned)
            }
            Length::Form(_) => None,
        }
    }

    /// A score as text with its length before it, as in old payloads.
    pub(super) fn text_score(&mut self) -> Option<f64> {
        match self.byte()? {
            255 => Some(f64::NEG_INFINITY),
            254 => Some(f64::INFINITY),
            253 => None,
            len => {
                let text = self.take(len.into())?;
                ferrite_protocol::number::parse_double(text)
            }
        }
    }
}
