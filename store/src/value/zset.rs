//! Sorted sets.

use std::cmp::Ordering;

use crate::value::blob::Blob;
use crate::value::fields::Fields;
use crate::value::tree::{Iter, Tree};

/// Most members among which a score is found by a linear search.
const UNINDEXED_LEN_MAX: usize = 64;

/// A score: any double but NaN. Both zeros are equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Score(pub(crate) f64);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        // Commands refuse NaN before it gets here.
        self.0.partial_cmp(&other.0).unwrap_or(Ordering::Equal)
    }
}

/// Members in the order of their scores, then of their bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zset {
    order: Tree<(Score, Blob), ()>,
    /// Maps a member to its score, once there are many.
    scores: Option<Fields<f64>>,
}

impl Zset {
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.scores {
            Some(scores) => scores.get(member).copied(),
            None => self
                .order
                .iter()
                .find(|((_, other), ())| other.as_slice() == member)
                .map(|((score, _), ())| score.0),
        }
    }

    /// Number of members before this one.
    pub(crate) fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        self.position(score, member).ok()
    }

    fn position(&self, score: f64, member: &[u8]) -> Result<usize, usize> {
        self.order.rank(|(other_score, other)| {
            other_score
                .cmp(&Score(score))
                .then_with(|| other.as_slice().cmp(member))
        })
    }

    /// Sets a member's score; returns its old one. A score of -0 becomes 0, as in small sorted sets of
    /// Valkey.
    pub(crate) fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        self.insert_exactly(member, score + 0.0)
    }

    /// Turns scores of -0, which only [`Zset::insert_exactly`] makes, into 0.
    pub(crate) fn without_negative_zeros(mut self) -> Self {
        let negative: Vec<Blob> = self
            .iter()
            .filter(|(_, score)| *score == 0.0 && score.is_sign_negative())
            .map(|(member, _)| member.clone())
            .collect();
        for member in &negative {
            self.remove(member);
            self.insert(member, 0.0);
        }
        self
    }

    /// Sets a member's score, -0 included; returns its old one. For values that are only replied.
    pub(crate) fn insert_exactly(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let old = self.score(member);
        if old == Some(score) {
            return old;
        }
        let kept = old.and_then(|old| self.take_from_order(old, member));
        let member = kept.unwrap_or_else(|| Blob::new(member));
        if let Some(scores) = &mut self.scores {
            scores.insert(&member, score);
        } else if self.len() == UNINDEXED_LEN_MAX {
            let mut scores = Fields::default();
            for ((score, member), ()) in self.order.iter() {
                scores.insert(member, score.0);
            }
            scores.insert(&member, score);
            self.scores = Some(scores);
        }
        if let Err(at) = self.position(score, &member) {
            self.order.insert_at(at, (Score(score), member), ());
        }
        old
    }

    /// Removes a member; returns its score.
    pub(crate) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.score(member)?;
        if let Some(scores) = &mut self.scores {
            scores.remove(member);
        }
        self.take_from_order(score, member);
        Some(score)
    }

    fn take_from_order(&mut self, score: f64, member: &[u8]) -> Option<Blob> {
        let at = self.position(score, member).ok()?;
        self.order.remove_at(at).map(|((_, member), ())| member)
    }

    /// Number of members for which `is_before` returns true; they come first.
    pub(crate) fn partition_point(&self, is_before: impl Fn(f64, &[u8]) -> bool) -> usize {
        let found = self.order.rank(|(score, member)| {
            if is_before(score.0, member) {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        });
        match found {
            Ok(at) | Err(at) => at,
        }
    }

    /// The members at `start..end` with their scores, as an iterator from both ends.
    pub(crate) fn range(&self, start: usize, end: usize) -> Members<'_> {
        Members(self.order.range(start, end))
    }

    pub(crate) fn iter(&self) -> Members<'_> {
        self.range(0, self.len())
    }

    pub(crate) fn at(&self, index: usize) -> Option<(&Blob, f64)> {
        self.order
            .at(index)
            .map(|((score, member), ())| (member, score.0))
    }

    /// Scans like [`Fields::scan`]. If there are few members, visits them all at once.
    pub(crate) fn scan<'z>(
        &'z self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&'z Blob, f64),
    ) -> u64 {
        match &self.scores {
            Some(scores) => scores.scan(cursor, count, |member, score| visit(member, *score)),
            None => {
                self.iter().for_each(|(member, score)| visit(member, score));
                0
            }
        }
    }
}

/// Members of a sorted set in order, with their scores.
pub(crate) struct Members<'z>(Iter<'z, (Score, Blob), ()>);

impl<'z> Iterator for Members<'z> {
    type Item = (&'z Blob, f64);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|((score, member), ())| (member, score.0))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Members<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0
            .next_back()
            .map(|((score, member), ())| (member, score.0))
    }
}

impl ExactSizeIterator for Members<'_> {}
