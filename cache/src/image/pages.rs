//! The pages of a memory as its data segments leave it, and the image that is made of them.

use std::collections::BTreeMap;

use super::{IMAGE_PAGE_BYTES, IMAGE_RUNS_MAX, Image, ImageInfo, ImageRun, ImageValue};
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

    /// Makes an image for an engine: encoded, and its description. `globals` are the values of all globals that
    /// calls can change; `back` and `entries` are those of [`ImageInfo`]. Returns `None` if the pages lie too far
    /// apart.
    #[must_use]
    pub fn image(
        &self,
        engine: Digest,
        memory_pages: u32,
        globals: impl IntoIterator<Item = ImageValue>,
        back: i64,
        entries: Vec<u32>,
    ) -> Option<(ImageInfo, Vec<u8>)> {
        let globals = (0..).zip(globals).filter(|(_, value)| !value.is_zero());
        let image = Image {
            engine,
            memory_pages,
            runs: self.runs()?,
            globals: globals.collect(),
        };
        let bytes = image.encode(|page| self.page(page));
        let info = ImageInfo {
            engine,
            digest: Digest::of(&bytes),
            len: bytes.len() as u64,
            back,
            entries,
        };
        Some((info, bytes))
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
    use crate::image::{IMAGE_PAGE_BYTES, ImageRun};

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
