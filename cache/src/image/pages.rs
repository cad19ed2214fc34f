//! The pages of a memory as its data segments leave it, and the image that is made of them.

use std::collections::BTreeMap;

use super::{
    IMAGE_PAGE_BYTES, IMAGE_RUNS_MAX, Image, ImageError, ImageInfo, ImageRun, ImageValue, patches,
};
use crate::digest::Digest;
use crate::module_info::WASM_PAGE_BYTES;

/// Pages of zeros that may be stored to join runs, beyond as many as there are others.
const FILLING_PAGES: usize = 64;

/// The pages of a memory that hold more than zeros, to make an [`Image`] of.
#[derive(Debug, Default)]
pub struct ImagePages(BTreeMap<u32, Box<[u8; IMAGE_PAGE_BYTES]>>);

impl ImagePages {
    /// Writes segments (offset, bytes) in their order into a memory of zeros. Returns `None` if one does not
    /// fit into it.
    #[must_use]
    pub fn of(segments: &[(u32, &[u8])], memory_pages: u32) -> Option<Self> {
        let memory_bytes = u64::from(memory_pages) * WASM_PAGE_BYTES;
        let mut pages = Self::default();
        for &(start, bytes) in segments {
            if u64::from(start) + bytes.len() as u64 > memory_bytes {
                return None;
            }
            let mut at = start as usize;
            let mut rest = bytes;
            while !rest.is_empty() {
                let within = at % IMAGE_PAGE_BYTES;
                let (now, later) = rest.split_at(rest.len().min(IMAGE_PAGE_BYTES - within));
                let number = u32::try_from(at / IMAGE_PAGE_BYTES).ok()?;
                let page = pages.0.entry(number);
                let page = page.or_insert_with(|| Box::new([0; IMAGE_PAGE_BYTES]));
                page[within..within + now.len()].copy_from_slice(now);
                at += now.len();
                rest = later;
            }
        }
        pages.0.retain(|_, page| page.iter().any(|&byte| byte != 0));
        Some(pages)
    }

    /// Returns the number of pages.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns a page, if it holds more than zeros.
    fn page(&self, number: u32) -> Option<&[u8; IMAGE_PAGE_BYTES]> {
        self.0.get(&number).map(|page| &**page)
    }

    /// Makes an image for an engine: encoded, and its description. `base` is the engine's, if it has one; it is
    /// used if that more than halves the image. `globals` are the values of all globals that calls can change;
    /// `back` and `entries` are those of [`ImageInfo`]. Returns `None` if the pages lie too far apart.
    ///
    /// # Errors
    ///
    /// The base is no base, or that of a larger memory.
    pub fn image(
        &self,
        engine: Digest,
        base: Option<&[u8]>,
        memory_pages: u32,
        globals: impl IntoIterator<Item = ImageValue>,
        back: i64,
        entries: Vec<u32>,
    ) -> Result<Option<(ImageInfo, Vec<u8>)>, ImageError> {
        let globals = (0..).zip(globals).filter(|(_, value)| !value.is_zero());
        let mut image = Image {
            engine,
            memory_pages,
            over_base: false,
            runs: Vec::new(),
            globals: globals.collect(),
        };
        let whole_len = self.count() * IMAGE_PAGE_BYTES;
        let patches = match base {
            Some(base) => Some(self.patches_to(base, memory_pages)?),
            None => None,
        };
        let bytes = match patches.filter(|patches| patches.len() < whole_len / 2) {
            Some(patches) => {
                image.over_base = true;
                image.encode_over_base(&patches)
            }
            None => {
                let Some(runs) = self.runs() else {
                    return Ok(None);
                };
                image.runs = runs;
                image.encode(|page| self.page(page))
            }
        };
        let info = ImageInfo {
            engine,
            digest: Digest::of(&bytes),
            len: bytes.len() as u64,
            back,
            entries,
        };
        Ok(Some((info, bytes)))
    }

    /// Returns what makes the memory of a base's.
    fn patches_to(&self, base: &[u8], memory_pages: u32) -> Result<Vec<u8>, ImageError> {
        let memory_bytes = u64::from(memory_pages) * WASM_PAGE_BYTES;
        let memory_bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
        let mut before = vec![0; memory_bytes];
        patches::apply(base, &mut before)?;
        let mut after = vec![0; memory_bytes];
        for (number, page) in &self.0 {
            let start = *number as usize * IMAGE_PAGE_BYTES;
            after[start..start + IMAGE_PAGE_BYTES].copy_from_slice(&page[..]);
        }
        Ok(patches::between(&before, &after))
    }

    /// Groups the pages into at most [`IMAGE_RUNS_MAX`] runs, by adding the pages of zeros in the smallest
    /// gaps. Returns `None` if that would be too many.
    fn runs(&self) -> Option<Vec<ImageRun>> {
        let mut runs: Vec<ImageRun> = Vec::new();
        for &number in self.0.keys() {
            match runs.last_mut() {
                Some(last) if last.first + last.pages == number => last.pages += 1,
                _ => runs.push(ImageRun {
                    first: number,
                    pages: 1,
                }),
            }
        }
        let gap = |pair: &[ImageRun]| pair[1].first - (pair[0].first + pair[0].pages);
        let mut gaps: Vec<u32> = runs.windows(2).map(gap).collect();
        gaps.sort_unstable();
        let filled = (gaps.len() + 1).saturating_sub(IMAGE_RUNS_MAX);
        let Some(longest) = filled.checked_sub(1).and_then(|last| gaps.get(last)) else {
            return Some(runs);
        };
        let mut joined: Vec<ImageRun> = Vec::new();
        for run in runs {
            match joined.last_mut() {
                Some(last) if run.first - (last.first + last.pages) <= *longest => {
                    last.pages = run.first + run.pages - last.first;
                }
                _ => joined.push(run),
            }
        }
        let stored: usize = joined.iter().map(|run| run.pages as usize).sum();
        (stored <= 2 * self.count() + FILLING_PAGES).then_some(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::ImagePages;
    use crate::digest::Digest;
    use crate::image::{IMAGE_PAGE_BYTES, Image, ImageRun, patches};

    fn run(first: u32, pages: u32) -> ImageRun {
        ImageRun { first, pages }
    }

    #[test]
    fn later_segments_overwrite_earlier_ones_and_zeros_are_no_pages() {
        let page = IMAGE_PAGE_BYTES as u32;
        let long = [7; IMAGE_PAGE_BYTES];
        let segments: [(u32, &[u8]); 4] = [
            (page - 1, &long),
            (page, b"ab"),
            (5 * page, b"\0\0"),
            (9 * page, b"x"),
        ];
        let pages = ImagePages::of(&segments, 1).expect("they fit");
        assert_eq!(pages.count(), 3);
        assert_eq!(
            pages.page(0).expect("it is written")[IMAGE_PAGE_BYTES - 1],
            7
        );
        assert_eq!(pages.page(1).expect("it is written")[..3], *b"ab\x07");
        assert_eq!(pages.page(5), None);
        assert_eq!(pages.runs(), Some(vec![run(0, 2), run(9, 1)]));
        assert!(ImagePages::of(&[(65_535, b"ab")], 1).is_none());
        assert!(ImagePages::of(&[(u32::MAX, b"ab")], 65_536).is_none());
    }

    #[test]
    fn a_base_is_used_where_it_makes_the_image_small() {
        let data: Vec<u8> = (0..40_000).map(|at| (at % 251) as u8).collect();
        let image = |segments: &[(u32, &[u8])], base: Option<&[u8]>| {
            let pages = ImagePages::of(segments, 1).expect("they fit");
            let made = pages.image(Digest::of(b"engine"), base, 1, [], 0, Vec::new());
            made.map(|made| made.expect("they lie close").1)
        };
        let base = patches::between(&[], &data);
        let own: [(u32, &[u8]); 2] = [(0, &data), (39_000, b"own")];
        let whole = image(&own, None).expect("it needs no base");
        let over = image(&own, Some(&base)).expect("it fits");
        assert_eq!(whole.len(), 11 * IMAGE_PAGE_BYTES);
        assert_eq!(over.len(), 52 + 8 + 3);
        for bytes in [whole, over] {
            let image = Image::decode(&bytes, bytes.len() as u64).expect("it is one");
            let mut memory = vec![0; 65_536];
            let filled = image.fill(&bytes[image.contents_start()..], Some(&base), &mut memory);
            assert_eq!(filled, Ok(()));
            assert_eq!(&memory[..39_000], &data[..39_000]);
            assert_eq!(&memory[39_000..39_003], b"own");
        }
        let other = image(&[(50_000, &data[..9000])], Some(&base)).expect("it fits");
        assert_eq!(other[7], 1, "it has little of the base");
        let far = patches::between(&[], &[1; 65_537]);
        assert!(image(&own, Some(&far)).is_err(), "the base is larger");
        assert!(image(&own, Some(b"no base")).is_err());
    }

    #[test]
    fn the_smallest_gaps_are_filled() {
        let at = |pages: &[u32]| {
            let segments: Vec<(u32, &[u8])> = pages
                .iter()
                .map(|page| (page * IMAGE_PAGE_BYTES as u32, &b"x"[..]))
                .collect();
            ImagePages::of(&segments, 1000).expect("they fit").runs()
        };
        assert_eq!(
            at(&[0, 2, 10, 15, 40, 50]),
            Some(vec![run(0, 3), run(10, 6), run(40, 1), run(50, 1)])
        );
        assert_eq!(at(&[0, 1000, 2000, 3000, 4000]), None, "too many zeros");
    }
}
