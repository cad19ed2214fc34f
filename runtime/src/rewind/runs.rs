//! Groups pages into runs of neighbours, so that one system call serves a run.

use smallvec::SmallVec;

use super::{HOST_PAGE, PAGES_MAX};

/// A run of neighbouring pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    first: u32,
    count: usize,
}

impl Run {
    /// Returns the offset of the first byte.
    pub(super) fn start(self) -> usize {
        self.first as usize * HOST_PAGE
    }

    /// Returns the number of bytes.
    pub(super) fn len(self) -> usize {
        self.count * HOST_PAGE
    }
}

/// The runs of some pages, in rising order.
pub(super) struct Runs {
    pages: SmallVec<[u32; PAGES_MAX]>,
    next: usize,
}

impl Runs {
    /// Groups `pages`, of which none comes twice.
    pub(super) fn new(pages: impl IntoIterator<Item = u32>) -> Self {
        let mut pages: SmallVec<_> = pages.into_iter().collect();
        pages.sort_unstable();
        Self { pages, next: 0 }
    }
}

impl Iterator for Runs {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let rest = self.pages.get(self.next..)?;
        let first = *rest.first()?;
        let count = rest
            .iter()
            .zip(first..)
            .take_while(|&(&page, expected)| page == expected)
            .count();
        self.next += count;
        Some(Run { first, count })
    }
}

#[cfg(test)]
mod tests {
    use super::{Run, Runs};

    #[test]
    fn neighbours_form_runs() {
        assert_eq!(Runs::new([]).next(), None);
        let runs: Vec<_> = Runs::new([9, 1, 7, 2, 10, 3]).collect();
        assert_eq!(
            runs,
            [
                Run { first: 1, count: 3 },
                Run { first: 7, count: 1 },
                Run { first: 9, count: 2 },
            ]
        );
    }
}
