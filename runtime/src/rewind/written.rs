//! Asks the kernel which pages of a private mapping were written.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;

use super::HOST_PAGE;

/// `PAGEMAP_SCAN` of Linux 6.7: `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: u64 = (3 << 30) | ((size_of::<ScanRequest>() as u64) << 16) | (0x66 << 8) | 16;

/// Most ranges that one scan returns.
const RANGES_MAX: usize = 256;

/// Most pages that one scan returns: to copy more takes longer than to map them anew.
const PAGES_MAX: u64 = 512;

/// Categories of pages (`include/uapi/linux/fs.h`).
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_ZERO_PAGE: u64 = 1 << 5;

/// `struct pm_scan_arg` of the kernel.
#[repr(C)]
#[derive(Debug, Default)]
struct ScanRequest {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// The page map of this process.
#[derive(Debug)]
pub(super) struct PageMap(File);

/// The pages of a mapping that were written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Ranges of addresses, in rising order.
    pub(super) ranges: Vec<Range<usize>>,
    /// False if there are more.
    pub(super) is_complete: bool,
}

impl PageMap {
    /// Opens it; `None` if the kernel does not give it.
    pub(super) fn open() -> Option<Self> {
        let map = Self(File::open("/proc/self/pagemap").ok()?);
        // An empty range costs nothing and tells if the kernel knows the request.
        map.written(0..HOST_PAGE).ok().map(|_| map)
    }

    /// Returns the pages of a private mapping that have contents of their own, in memory or swapped out. A page
    /// that was only read still has those of the file.
    pub(super) fn written(&self, addresses: Range<usize>) -> io::Result<Written> {
        let mut regions = [Region::default(); RANGES_MAX];
        let mut request = ScanRequest {
            size: size_of::<ScanRequest>() as u64,
            start: addresses.start as u64,
            end: addresses.end as u64,
            vec: regions.as_mut_ptr().expose_provenance() as u64,
            vec_len: RANGES_MAX as u64,
            max_pages: PAGES_MAX,
            category_inverted: IS_FILE | IS_ZERO_PAGE,
            category_mask: IS_FILE | IS_ZERO_PAGE,
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            ..ScanRequest::default()
        };
        // SAFETY: the request has the layout and the size that the kernel expects; it reads it, and writes into
        // it and into at most `vec_len` regions, both of which outlive the call.
        let found = unsafe { libc::ioctl(self.0.as_raw_fd(), PAGEMAP_SCAN as _, &raw mut request) };
        let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
        let address = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Written {
            ranges: regions[..found.min(RANGES_MAX)]
                .iter()
                .map(|region| address(region.start)..address(region.end))
                .collect(),
            is_complete: address(request.walk_end) >= addresses.end,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use memmap2::MmapOptions;

    use super::{HOST_PAGE, PAGES_MAX, PageMap, RANGES_MAX};

    #[test]
    fn pages_that_were_written_are_told_from_those_that_were_read() {
        let Some(map) = PageMap::open() else {
            return;
        };
        let pages = 4 * RANGES_MAX;
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&vec![1; pages * HOST_PAGE])
            .expect("there is room");
        // SAFETY: the file is this test's alone.
        let mapping = unsafe { MmapOptions::new().map_copy(&file) };
        let mut mapping = mapping.expect("it can be mapped");
        let start = mapping.as_ptr().addr();
        let all = start..start + pages * HOST_PAGE;
        let page = |number: usize| start + number * HOST_PAGE;
        assert_eq!(mapping[7 * HOST_PAGE], 1, "read only");
        for written in [2, 3, pages - 1] {
            mapping[written * HOST_PAGE + 5] = 9;
        }
        let written = map.written(all.clone()).expect("it did so before");
        assert_eq!(written.ranges, [page(2)..page(4), page(pages - 1)..all.end]);
        assert!(written.is_complete);
        // More ranges than one answer has.
        for number in (0..pages).step_by(2) {
            mapping[number * HOST_PAGE] = 9;
        }
        let written = map.written(all.clone()).expect("it did so before");
        assert!(written.ranges.len() <= RANGES_MAX);
        assert!(!written.is_complete);
        // More pages.
        mapping.fill(3);
        let written = map.written(all.clone()).expect("it did so before");
        let first = page(0)..page(PAGES_MAX as usize);
        assert_eq!(written.ranges.first(), Some(&first));
        assert_eq!(written.ranges.len(), 1);
        assert!(!written.is_complete);
    }
}
