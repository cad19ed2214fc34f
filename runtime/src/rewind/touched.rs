//! Finds the pages of a memory that were ever touched; the others are zeros and need not be read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::HOST_PAGE;

/// Bits of a page in memory or swapped out (`Documentation/admin-guide/mm/pagemap.rst` of Linux,
/// bits 63 and 62).
const PRESENT_OR_SWAPPED: u64 = (1 << 63) | (1 << 62);

/// Bytes of a page map entry.
const ENTRY: usize = size_of::<u64>();

/// Number of entries read at once; enough for 16 MiB of memory.
const ENTRIES: usize = 4096;

/// Returns the numbers of the pages of `memory` that may hold something other than zeros.
///
/// `memory` must be private, without a file mapped into it. Returns all pages if the kernel gives no
/// page map, or if the memory does not begin at a page. Reading a page that was never touched costs a
/// fault, and a module that grows has hundreds of them from its start.
pub(super) fn touched(memory: &[u8]) -> Vec<usize> {
    let count = memory.len().div_ceil(HOST_PAGE);
    told(memory, count).unwrap_or_else(|_| (0..count).collect())
}

fn told(memory: &[u8], count: usize) -> io::Result<Vec<usize>> {
    if !memory.as_ptr().addr().is_multiple_of(HOST_PAGE) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let map = File::open("/proc/self/pagemap")?;
    let first = memory.as_ptr().addr() / HOST_PAGE;
    let mut pages = Vec::new();
    let mut entries = vec![0; ENTRY * count.min(ENTRIES)];
    let mut page = 0;
    while page < count {
        let entries = &mut entries[..ENTRY * (count - page).min(ENTRIES)];
        map.read_exact_at(entries, ((first + page) * ENTRY) as u64)?;
        let (entries, _) = entries.as_chunks();
        for entry in entries {
            if u64::from_ne_bytes(*entry) & PRESENT_OR_SWAPPED != 0 {
                pages.push(page);
            }
            page += 1;
        }
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use memmap2::MmapMut;

    use super::super::HOST_PAGE;
    use super::{ENTRIES, told, touched};

    #[test]
    fn pages_that_were_written_are_among_those_touched() {
        let count = ENTRIES + 100;
        let mut memory = MmapMut::map_anon(count * HOST_PAGE).expect("address space");
        let written = [0, 7, ENTRIES - 1, ENTRIES, count - 1];
        for page in written {
            memory[page * HOST_PAGE + 5] = 1;
        }
        let pages = touched(&memory);
        assert!(written.iter().all(|page| pages.contains(page)));
        assert!(pages.is_sorted());
        // If the kernel reports touched pages, the others are not read.
        if told(&memory, count).is_ok() {
            assert!(pages.len() < count / 2, "{}", pages.len());
        }
        let askew = touched(&memory[1..]);
        assert_eq!(askew.len(), count, "what is no page is looked at");
    }
}
