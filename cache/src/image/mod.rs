//! Images: what a function has of its own when its code is shared.
//!
//! The compiler separates a module into an *engine* and an *image*. The engine is the code, without data and
//! with normalised start values: the same for all programs that run on one interpreter. The image is what the
//! memory and the globals hold when an instance is made. A host maps the pages of the image privately, so that
//! an instance takes memory only for those that it writes.
//!
//! An engine may have a [base](engine_base): a memory that all of its programs begin with. An image over a base
//! holds only what differs from it.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | the magic `FERRIMG\x01` of an image that is whole, `FERRIMG\x02` of one over a base |
//! | 8 | 32 | digest of the engine's module |
//! | 40 | 4 | pages of 64 KiB that the memory begins with |
//! | 44 | 4 and 4 | numbers *r* of runs and *g* of globals |
//! | 52 | 8 *r* | runs in rising order, none touching another: first page and number of pages, of 4 KiB each |
//! | 52 + 8 *r* | 21 *g* | globals in rising order: number, type (`0x7f` and so on, as in WebAssembly), 16 bytes of value |
//! | | | zeros up to the next multiple of 4 KiB |
//! | | | the pages of all runs, one after the other, to the end |
//!
//! All numbers are little-endian. Pages that are in no run hold zeros, and so do globals that are not named.
//!
//! An image over a base has no runs. [Patches](patches) follow its globals, without zeros between.

pub mod engine_base;
mod error;
mod pages;
pub mod patches;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::module_info::{ModuleInfo, ValueType, WASM_PAGE_BYTES};
use crate::rewind::Rewind;

pub use error::ImageError;
pub use pages::ImagePages;

/// Bytes of a page of an image, which is one of the host's.
pub const IMAGE_PAGE_BYTES: usize = 4096;

/// Most runs of pages in an image; each takes a mapping of every instance.
pub const IMAGE_RUNS_MAX: usize = 4;

/// Prefix of the names under which an engine exports the entries of its functions; a number follows.
pub const ENGINE_ENTRY_PREFIX: &str = "__ferrite_entry_";

const MAGIC: &[u8; 7] = b"FERRIMG";
/// The byte after the magic, of an image that holds all of its memory.
const WHOLE: u8 = 1;
/// The byte after the magic, of an image that holds what differs from its engine's base.
const OVER_BASE: u8 = 2;
const FIXED_LEN: usize = 52;
const RUN_LEN: usize = 8;
const GLOBAL_LEN: usize = 21;

/// Description of an image, and of the engine that it is for, in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInfo {
    /// Digest of the engine's module, before it was compiled.
    pub engine: Digest,
    /// Digest of the image.
    pub digest: Digest,
    /// Length of the image, in bytes.
    pub len: u64,
    /// Added to an offset in the engine, this gives the offset in the module that was separated.
    pub back: i64,
    /// Number of each entry among the engine's, in the order of the module's entries.
    pub entries: Vec<u32>,
}

/// The contents of a memory and of globals when an instance is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Digest of the engine's module.
    pub engine: Digest,
    /// Pages of 64 KiB that the memory begins with.
    pub memory_pages: u32,
    /// True if the contents are [patches] to the engine's base, instead of pages.
    pub over_base: bool,
    /// Pages that hold more than zeros; none over a base.
    pub runs: Vec<ImageRun>,
    /// Globals that hold more than zero, by their numbers among the mutable ones.
    pub globals: Vec<(u32, ImageValue)>,
}

/// A run of neighbouring pages, of [`IMAGE_PAGE_BYTES`] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageRun {
    /// Number of the first page in the memory.
    pub first: u32,
    /// Number of pages.
    pub pages: u32,
}

/// The value of a global, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageValue {
    /// 32-bit integer.
    I32(u32),
    /// 64-bit integer.
    I64(u64),
    /// 32-bit float.
    F32(u32),
    /// 64-bit float.
    F64(u64),
    /// 128-bit vector.
    V128(u128),
}

impl ImageValue {
    /// Returns the type.
    #[must_use]
    pub const fn ty(self) -> ValueType {
        match self {
            Self::I32(_) => ValueType::I32,
            Self::I64(_) => ValueType::I64,
            Self::F32(_) => ValueType::F32,
            Self::F64(_) => ValueType::F64,
            Self::V128(_) => ValueType::V128,
        }
    }

    /// Returns true if all bits are zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.bits() == 0
    }

    const fn bits(self) -> u128 {
        match self {
            Self::I32(bits) | Self::F32(bits) => bits as u128,
            Self::I64(bits) | Self::F64(bits) => bits as u128,
            Self::V128(bits) => bits,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::I32(_) => 0x7f,
            Self::I64(_) => 0x7e,
            Self::F32(_) => 0x7d,
            Self::F64(_) => 0x7c,
            Self::V128(_) => 0x7b,
        }
    }

    fn decode(code: u8, bits: u128) -> Option<Self> {
        let (narrow, wide) = (u32::try_from(bits).ok(), u64::try_from(bits).ok());
        match code {
            0x7f => narrow.map(Self::I32),
            0x7e => wide.map(Self::I64),
            0x7d => narrow.map(Self::F32),
            0x7c => wide.map(Self::F64),
            0x7b => Some(Self::V128(bits)),
            _ => None,
        }
    }
}

impl ImageRun {
    /// Returns the bytes of the memory that the run holds.
    #[must_use]
    pub const fn memory_range(self) -> Range<usize> {
        let first = self.first as usize * IMAGE_PAGE_BYTES;
        first..first + self.len_bytes()
    }

    /// Returns the length in bytes.
    #[must_use]
    pub const fn len_bytes(self) -> usize {
        self.pages as usize * IMAGE_PAGE_BYTES
    }
}

impl Image {
    /// Returns the length of everything before the pages or patches, in bytes.
    #[must_use]
    pub fn contents_start(&self) -> usize {
        let len = lists_end(self.runs.len(), self.globals.len());
        if self.over_base {
            len
        } else {
            len.next_multiple_of(IMAGE_PAGE_BYTES)
        }
    }

    /// Returns the most bytes before the pages, in an image for an engine with this number of globals.
    #[must_use]
    pub fn contents_start_max(globals: u32) -> usize {
        lists_end(IMAGE_RUNS_MAX, globals as usize).next_multiple_of(IMAGE_PAGE_BYTES)
    }

    /// Returns the length of the pages, in bytes.
    #[must_use]
    pub fn contents_len(&self) -> usize {
        self.runs.iter().map(|run| run.len_bytes()).sum()
    }

    /// Writes the image into a memory of zeros that has its size. `contents` are the encoded bytes from
    /// [`contents_start`](Self::contents_start) on, and `base` is that of its engine.
    ///
    /// # Errors
    ///
    /// The contents are not those that the image describes, or there is no base where one is needed. The memory
    /// is then in no defined state.
    pub fn fill(
        &self,
        contents: &[u8],
        base: Option<&[u8]>,
        memory: &mut [u8],
    ) -> Result<(), ImageError> {
        if self.over_base {
            patches::apply(base.ok_or(ImageError::NoBase)?, memory)?;
            return patches::apply(contents, memory);
        }
        let mut contents = contents;
        for run in &self.runs {
            let (own, rest) = contents
                .split_at_checked(run.len_bytes())
                .ok_or(ImageError::Truncated)?;
            let range = run.memory_range();
            let end = range.end as u64;
            let memory_bytes = memory.len() as u64;
            memory
                .get_mut(range)
                .ok_or(ImageError::Outside { end, memory_bytes })?
                .copy_from_slice(own);
            contents = rest;
        }
        Ok(())
    }

    /// Encodes an image over a base.
    #[must_use]
    pub fn encode_over_base(&self, patches: &[u8]) -> Vec<u8> {
        let mut bytes = self.encode_lists();
        bytes.extend_from_slice(patches);
        bytes
    }

    /// Encodes a whole image; `page` returns the contents of a page, or `None` if it holds zeros.
    #[must_use]
    pub fn encode<'p>(&self, page: impl Fn(u32) -> Option<&'p [u8; IMAGE_PAGE_BYTES]>) -> Vec<u8> {
        let mut bytes = self.encode_lists();
        bytes.reserve(self.contents_len());
        for ImageRun { first, pages } in &self.runs {
            for number in *first..first.saturating_add(*pages) {
                bytes.extend_from_slice(page(number).unwrap_or(&[0; IMAGE_PAGE_BYTES]));
            }
        }
        bytes
    }

    /// Encodes everything before the contents.
    fn encode_lists(&self) -> Vec<u8> {
        let Self {
            engine,
            memory_pages,
            over_base,
            runs,
            globals,
        } = self;
        let start = self.contents_start();
        let mut bytes = Vec::with_capacity(start);
        bytes.extend_from_slice(MAGIC);
        bytes.push(if *over_base { OVER_BASE } else { WHOLE });
        bytes.extend_from_slice(engine.as_bytes());
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
        bytes.extend_from_slice(&memory_pages.to_le_bytes());
        bytes.extend_from_slice(&count(runs.len()));
        bytes.extend_from_slice(&count(globals.len()));
        for ImageRun { first, pages } in runs {
            bytes.extend_from_slice(&first.to_le_bytes());
            bytes.extend_from_slice(&pages.to_le_bytes());
        }
        for (number, value) in globals {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.push(value.code());
            bytes.extend_from_slice(&value.bits().to_le_bytes());
        }
        bytes.resize(start, 0);
        bytes
    }

    /// Decodes the description of an image of `len` bytes; `bytes` are its first ones, before the pages.
    ///
    /// # Errors
    ///
    /// They are not exactly one image, or its pages do not lie in its memory.
    pub fn decode(bytes: &[u8], len: u64) -> Result<Self, ImageError> {
        let (fixed, rest) = bytes
            .split_first_chunk::<FIXED_LEN>()
            .ok_or(ImageError::Truncated)?;
        let fixed = fixed.strip_prefix(MAGIC).ok_or(ImageError::Magic)?;
        let (version, fixed) = fixed.split_first().ok_or(ImageError::Truncated)?;
        let over_base = match *version {
            WHOLE => false,
            OVER_BASE => true,
            found => return Err(ImageError::Version { found }),
        };
        let (engine, mut fixed) = fixed
            .split_first_chunk::<32>()
            .ok_or(ImageError::Truncated)?;
        let memory_pages = number(&mut fixed)?;
        let (runs, globals) = (number(&mut fixed)? as usize, number(&mut fixed)? as usize);
        if over_base && runs > 0 {
            return Err(ImageError::RunsOverBase { found: runs });
        }
        if runs > IMAGE_RUNS_MAX {
            return Err(ImageError::Runs { found: runs });
        }
        // The lists are read before anything of their size is allocated.
        let lists = (runs * RUN_LEN)
            .checked_add(
                globals
                    .checked_mul(GLOBAL_LEN)
                    .ok_or(ImageError::Truncated)?,
            )
            .ok_or(ImageError::Truncated)?;
        let mut lists = rest.get(..lists).ok_or(ImageError::Truncated)?;
        let mut image = Self {
            engine: Digest::from_bytes(*engine),
            memory_pages,
            over_base,
            runs: Vec::with_capacity(runs),
            globals: Vec::with_capacity(globals),
        };
        let memory_bytes = u64::from(memory_pages) * WASM_PAGE_BYTES;
        let mut end = 0;
        for index in 0..runs {
            let (first, pages) = (number(&mut lists)?, number(&mut lists)?);
            let run_end = (u64::from(first) + u64::from(pages)) * IMAGE_PAGE_BYTES as u64;
            if run_end > memory_bytes {
                return Err(ImageError::Outside {
                    end: run_end,
                    memory_bytes,
                });
            }
            if pages == 0 || (index > 0 && first <= end) {
                return Err(ImageError::Order);
            }
            end = first + pages;
            image.runs.push(ImageRun { first, pages });
        }
        for _ in 0..globals {
            let number = number(&mut lists)?;
            let (code, value) = lists.split_first().ok_or(ImageError::Truncated)?;
            let (bits, rest) = value
                .split_first_chunk::<16>()
                .ok_or(ImageError::Truncated)?;
            lists = rest;
            let value = ImageValue::decode(*code, u128::from_le_bytes(*bits))
                .ok_or(ImageError::Value { number })?;
            if image
                .globals
                .last()
                .is_some_and(|(before, _)| *before >= number)
            {
                return Err(ImageError::Order);
            }
            image.globals.push((number, value));
        }
        let start = image.contents_start();
        if over_base {
            // The patches, which may be long, are read when they are applied.
            return if len >= start as u64 {
                Ok(image)
            } else {
                Err(ImageError::Truncated)
            };
        }
        let pages: u64 = image.runs.iter().map(|run| u64::from(run.pages)).sum();
        if pages * IMAGE_PAGE_BYTES as u64 + start as u64 != len {
            return Err(ImageError::Truncated);
        }
        let padding = lists_end(runs, globals);
        let padding = bytes.get(padding..start).ok_or(ImageError::Truncated)?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err(ImageError::Padding);
        }
        Ok(image)
    }

    /// Checks that the image is for the code that a manifest describes by `info` and `module`.
    ///
    /// # Errors
    ///
    /// It is for another engine, has another memory, or names globals that the engine does not have.
    pub fn check(&self, info: &ImageInfo, module: &ModuleInfo) -> Result<(), ImageError> {
        if info.engine != self.engine {
            return Err(ImageError::Engine { found: self.engine });
        }
        let pages = module.memory.map_or(0, |memory| memory.min_pages);
        if u64::from(self.memory_pages) != pages {
            return Err(ImageError::Memory {
                found: self.memory_pages,
                expected: pages,
            });
        }
        let globals = match &module.rewind {
            Rewind::Allowed(plan) => plan.globals,
            Rewind::Refused { .. } => 0,
        };
        match self.globals.last() {
            Some((number, _)) if *number >= globals => Err(ImageError::Global {
                number: *number,
                globals,
            }),
            _ => Ok(()),
        }
    }
}

/// Returns the length of the numbers and lists that an image begins with.
const fn lists_end(runs: usize, globals: usize) -> usize {
    FIXED_LEN + runs * RUN_LEN + globals * GLOBAL_LEN
}

/// Reads a number from the front of `bytes`.
fn number(bytes: &mut &[u8]) -> Result<u32, ImageError> {
    let (number, rest) = bytes
        .split_first_chunk::<4>()
        .ok_or(ImageError::Truncated)?;
    *bytes = rest;
    Ok(u32::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::{IMAGE_PAGE_BYTES, Image, ImageError, ImageRun, ImageValue, patches};
    use crate::digest::Digest;

    fn image() -> (Image, Vec<u8>) {
        let image = Image {
            engine: Digest::of(b"engine"),
            memory_pages: 2,
            over_base: false,
            runs: vec![
                ImageRun { first: 1, pages: 2 },
                ImageRun {
                    first: 30,
                    pages: 2,
                },
            ],
            globals: vec![
                (0, ImageValue::I32(7)),
                (3, ImageValue::V128(1 << 100)),
                (9, ImageValue::F64(1)),
            ],
        };
        let pages: Vec<_> = (0..31).map(|page| [page; IMAGE_PAGE_BYTES]).collect();
        let bytes = image.encode(|page| pages.get(page as usize));
        (image, bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Image, ImageError> {
        Image::decode(bytes, bytes.len() as u64)
    }

    #[test]
    fn an_image_comes_back_and_holds_the_pages_of_its_runs() {
        let (image, bytes) = image();
        assert_eq!(decode(&bytes), Ok(image.clone()));
        assert_eq!(bytes.len(), 5 * IMAGE_PAGE_BYTES);
        let start = image.contents_start();
        let firsts: Vec<u8> = bytes[start..]
            .iter()
            .step_by(IMAGE_PAGE_BYTES)
            .copied()
            .collect();
        assert_eq!(firsts, [1, 2, 30, 0], "the last page holds zeros");
    }

    #[test]
    fn other_lengths_and_lists_are_refused() {
        let (image, bytes) = image();
        let start = image.contents_start();
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len}");
            let head = Image::decode(&bytes[..len], bytes.len() as u64);
            assert_eq!(head.is_ok(), len >= start, "{len}");
        }
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            decode(&bytes).unwrap_err()
        };
        assert_eq!(changed(0, b'X'), ImageError::Magic);
        assert_eq!(changed(7, 9), ImageError::Version { found: 9 });
        assert!(matches!(changed(40, 1), ImageError::Outside { .. }));
        assert_eq!(changed(44, 200), ImageError::Runs { found: 200 });
        assert_eq!(changed(51, 200), ImageError::Truncated);
        assert_eq!(changed(56, 0), ImageError::Order, "an empty run");
        assert_eq!(changed(60, 3), ImageError::Order, "runs that touch");
        assert_eq!(changed(68, 9), ImageError::Order, "globals out of order");
        assert_eq!(changed(72, 0x70), ImageError::Value { number: 0 });
        assert_eq!(changed(80, 1), ImageError::Value { number: 0 });
        assert_eq!(changed(200, 1), ImageError::Padding);
        let over_base = changed(7, 2);
        assert_eq!(over_base, ImageError::RunsOverBase { found: 2 });
        let text = over_base.to_string();
        assert!(text.contains("no runs of pages, but it names 2"), "{text}");
    }

    #[test]
    fn a_whole_image_fills_its_memory_and_no_other() {
        let (image, bytes) = image();
        let contents = &bytes[image.contents_start()..];
        let mut memory = vec![0; 2 << 16];
        assert_eq!(image.fill(contents, None, &mut memory), Ok(()));
        let firsts = [0, 1, 2, 3, 30, 31].map(|page| memory[page * IMAGE_PAGE_BYTES]);
        assert_eq!(firsts, [0, 1, 2, 0, 30, 0]);
        let short = image.fill(&contents[1..], None, &mut memory);
        assert_eq!(short, Err(ImageError::Truncated));
        let small = image.fill(contents, None, &mut memory[1..]);
        assert!(
            matches!(small, Err(ImageError::Outside { .. })),
            "{small:?}"
        );
    }

    #[test]
    fn an_image_over_a_base_changes_it() {
        let image = Image {
            over_base: true,
            runs: Vec::new(),
            ..image().0
        };
        let base = patches::between(&[], b"hello, world");
        let bytes =
            image.encode_over_base(&patches::between(b"hello, world", b"hello, there\0\0!"));
        assert_eq!(decode(&bytes), Ok(image.clone()));
        assert!(bytes.len() < 200, "{} bytes", bytes.len());
        let contents = &bytes[image.contents_start()..];
        let mut memory = vec![0; 2 << 16];
        assert_eq!(image.fill(contents, Some(&base), &mut memory), Ok(()));
        assert_eq!(&memory[..16], b"hello, there\0\0!\0");
        assert!(memory[16..].iter().all(|&byte| byte == 0));
        let mut memory = vec![0; 2 << 16];
        let without = image.fill(contents, None, &mut memory);
        assert_eq!(without, Err(ImageError::NoBase));
        for len in 0..image.contents_start() {
            assert_eq!(decode(&bytes[..len]), Err(ImageError::Truncated), "{len}");
        }
    }
}
