//! The bounds of ranges by score and by lexical order.

use crate::error::StoreError;
use crate::value::zset::Zset;

const NOT_A_FLOAT: StoreError = StoreError::Refused("ERR min or max is not a float");
const NOT_A_STRING: StoreError = StoreError::Refused("ERR min or max not valid string range item");

/// A score, and true if the score itself is excluded.
#[derive(Clone, Copy)]
struct ScoreBound {
    score: f64,
    excluded: bool,
}

impl ScoreBound {
    fn parse(text: &[u8]) -> Result<Self, StoreError> {
        let (excluded, number) = match text {
            [b'(', number @ ..] => (true, number),
            number => (false, number),
        };
        // Like `strtod`, reads numbers out of range as infinite, and an empty text as 0.
        let score = if number.is_empty() {
            0.0
        } else {
            std::str::from_utf8(number)
                .ok()
                .and_then(|number| number.parse::<f64>().ok())
                .filter(|score| !score.is_nan())
                .ok_or(NOT_A_FLOAT)?
        };
        Ok(Self { score, excluded })
    }
}

/// The positions of the members between two scores.
pub(in crate::commands) fn score_range(
    low: &[u8],
    high: &[u8],
) -> Result<impl Fn(&Zset) -> (usize, usize) + use<>, StoreError> {
    let (low, high) = (ScoreBound::parse(low)?, ScoreBound::parse(high)?);
    Ok(move |zset: &Zset| {
        let start = zset
            .partition_point(|score, _| score < low.score || (low.excluded && score == low.score));
        let end = zset.partition_point(|score, _| {
            score < high.score || (!high.excluded && score == high.score)
        });
        (start, end.max(start))
    })
}

/// A bound in lexical order.
#[derive(Clone, Copy)]
enum LexBound<'a> {
    Lowest,
    Highest,
    At { member: &'a [u8], excluded: bool },
}

impl<'a> LexBound<'a> {
    fn parse(text: &'a [u8]) -> Result<Self, StoreError> {
        match text {
            b"-" => Ok(Self::Lowest),
            b"+" => Ok(Self::Highest),
            [b'(', member @ ..] => Ok(Self::At {
                member,
                excluded: true,
            }),
            [b'[', member @ ..] => Ok(Self::At {
                member,
                excluded: false,
            }),
            _ => Err(NOT_A_STRING),
        }
    }

    /// Returns true if a member comes before this bound; returns `at_itself` for a member that
    /// equals a bound that is not excluded.
    fn is_above(self, member: &[u8], at_itself: bool) -> bool {
        match self {
            Self::Lowest => false,
            Self::Highest => true,
            Self::At {
                member: bound,
                excluded,
            } => member < bound || (member == bound && at_itself != excluded),
        }
    }
}

/// The positions of the members between two bounds, for members of equal scores.
pub(in crate::commands) fn lexical_range<'a>(
    low: &'a [u8],
    high: &'a [u8],
) -> Result<impl Fn(&Zset) -> (usize, usize) + use<'a>, StoreError> {
    let (low, high) = (LexBound::parse(low)?, LexBound::parse(high)?);
    Ok(move |zset: &Zset| {
        let start = zset.partition_point(|_, member| low.is_above(member, false));
        let end = zset.partition_point(|_, member| high.is_above(member, true));
        (start, end.max(start))
    })
}
