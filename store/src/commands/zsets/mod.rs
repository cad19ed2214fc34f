//! Sorted sets: members and their scores.

pub(crate) mod algebra;
pub(crate) mod bounds;
pub(crate) mod ranges;

use super::spec::{
    Answer, Argv, BLIND, BLIND_BUT_INCR, DENYOOM, FAST, Keys, MOVABLEKEYS, Out, READONLY, WRITE,
    commands,
};
use super::{arguments, random};
use crate::blocking::Wish;
use crate::commands::arguments::double;
use crate::commands::keys::scan::{self, ScanOptions, Scanned};
use crate::error::StoreError;
use crate::execution::edit::Edit;
use crate::execution::pop::pop_scored;
use crate::execution::view::{Missing, View};
use crate::value::blob::Blob;
use crate::value::list::End;
use crate::value::zset::Zset;
use ferrite_protocol::budget::{LOOKUP, bytes};
use ferrite_protocol::number::format_double;
use ferrite_protocol::resp::Protocol;

commands! {
    "zadd", -4, WRITE | DENYOOM | FAST | BLIND_BUT_INCR, Keys::FIRST => zadd,
        "sorted-set", "key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]",
        "Adds to a sorted set, or changes scores.";
    "zincrby", 4, WRITE | DENYOOM | FAST, Keys::FIRST => zincrby,
        "sorted-set", "key increment member",
        "Adds to a score.";
    "zrem", -3, WRITE | FAST | BLIND, Keys::FIRST => zrem,
        "sorted-set", "key member [member ...]",
        "Removes from a sorted set.";
    "zscore", 3, READONLY | FAST, Keys::FIRST => zscore,
        "sorted-set", "key member",
        "Returns a score.";
    "zmscore", -3, READONLY | FAST, Keys::FIRST => zmscore,
        "sorted-set", "key member [member ...]",
        "Returns several scores.";
    "zcard", 2, READONLY | FAST, Keys::FIRST => zcard,
        "sorted-set", "key",
        "Counts the members of a sorted set.";
    "zrank", -3, READONLY | FAST, Keys::FIRST => zrank,
        "sorted-set", "key member [WITHSCORE]",
        "Tells a member's place, from the lowest score.";
    "zrevrank", -3, READONLY | FAST, Keys::FIRST => zrevrank,
        "sorted-set", "key member [WITHSCORE]",
        "Tells a member's place, from the highest score.";
    "zpopmin", -2, WRITE | FAST, Keys::FIRST => zpopmin,
        "sorted-set", "key [count]",
        "Takes the members of the lowest scores.";
    "zpopmax", -2, WRITE | FAST, Keys::FIRST => zpopmax,
        "sorted-set", "key [count]",
        "Takes the members of the highest scores.";
    "zmpop", -4, WRITE | MOVABLEKEYS, Keys::Counted { count: 1, also: 0 } => zmpop,
        "sorted-set", "numkeys key [key ...] MIN|MAX [COUNT count]",
        "Takes from the first sorted set that has any.";
    "zrandmember", -2, READONLY, Keys::FIRST => zrandmember,
        "sorted-set", "key [count [WITHSCORES]]",
        "Returns any members of a sorted set.";
    "zscan", -3, READONLY, Keys::FIRST => zscan,
        "sorted-set", "key cursor [MATCH pattern] [COUNT count] [NOSCORES]",
        "Goes through a sorted set, some members at a time.";
}

/// The options of `ZADD`.
#[derive(Default)]
pub(super) struct AddOptions {
    if_absent: bool,
    if_present: bool,
    if_greater: bool,
    if_less: bool,
    count_changes: bool,
    increment: bool,
}

impl AddOptions {
    /// Reads options up to the first score; returns their number.
    fn parse(argv: &[&[u8]]) -> (Self, usize) {
        Self::parse_up_to(argv, usize::MAX)
    }

    /// Reads the options of `GEOADD`, which takes fewer.
    pub(super) fn parse_geo(argv: &[&[u8]]) -> (Self, usize) {
        let is_option = |argument: &&[u8]| {
            let names: [&[u8]; 3] = [b"nx", b"xx", b"ch"];
            names.iter().any(|name| argument.eq_ignore_ascii_case(name))
        };
        let most = argv
            .iter()
            .take_while(|argument| is_option(argument))
            .count();
        Self::parse_up_to(argv, most)
    }

    /// Returns true if no member could ever be added or changed.
    pub(super) fn is_contradictory(&self) -> bool {
        self.if_absent && self.if_present
    }

    fn parse_up_to(argv: &[&[u8]], most: usize) -> (Self, usize) {
        let mut options = Self::default();
        let mut read = 0;
        for argument in argv.iter().take(most) {
            let flag = match argument.to_ascii_lowercase().as_slice() {
                b"nx" => &mut options.if_absent,
                b"xx" => &mut options.if_present,
                b"gt" => &mut options.if_greater,
                b"lt" => &mut options.if_less,
                b"ch" => &mut options.count_changes,
                b"incr" => &mut options.increment,
                _ => break,
            };
            *flag = true;
            read += 1;
        }
        (options, read)
    }

    fn check(&self, pairs: usize) -> Result<(), StoreError> {
        if self.if_absent && self.if_present {
            return Err(StoreError::Refused(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        let directed = u8::from(self.if_greater) + u8::from(self.if_less);
        if directed + u8::from(self.if_absent) > 1 {
            return Err(StoreError::Refused(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.increment && pairs > 1 {
            return Err(StoreError::Refused(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok(())
    }

    /// The score a member gets, or `None` if an option forbids it.
    fn score(&self, old: Option<f64>, given: f64) -> Result<Option<f64>, StoreError> {
        let Some(old) = old else {
            return Ok((!self.if_present).then_some(given));
        };
        if self.if_absent {
            return Ok(None);
        }
        let score = if self.increment { old + given } else { given };
        if score.is_nan() {
            return Err(StoreError::Refused(
                "ERR resulting score is not a number (NaN)",
            ));
        }
        let forbidden = (self.if_greater && score <= old) || (self.if_less && score >= old);
        Ok((!forbidden).then_some(score))
    }
}

/// Charges for members that are added, removed or found by their order. Members of the same score
/// are compared byte by byte, some twenty times in a large set.
fn charge_members<'a, V: View>(
    view: &mut V,
    members: impl Iterator<Item = &'a &'a [u8]>,
) -> Result<(), StoreError> {
    for member in members {
        view.charge(2 * LOOKUP + 8 * bytes(member.len() as u64))?;
    }
    Ok(())
}

fn add<V: View>(
    view: &mut V,
    key: &[u8],
    options: &AddOptions,
    pairs: &[&[u8]],
    out: Out<'_>,
) -> Answer {
    charge_members(view, pairs.iter().skip(1).step_by(2))?;
    let scored: Vec<(f64, &[u8])> = pairs
        .chunks_exact(2)
        .map(|pair| Ok((double(pair[0])?, pair[1])))
        .collect::<Result<_, StoreError>>()?;
    add_scored(view, key, options, &scored, out)
}

/// Adds members with their scores, and replies as `ZADD` does.
pub(super) fn add_scored<V: View>(
    view: &mut V,
    key: &[u8],
    options: &AddOptions,
    scored: &[(f64, &[u8])],
    out: Out<'_>,
) -> Answer {
    let missing = if options.if_present {
        Missing::Skip
    } else {
        Missing::Create
    };
    let (mut added, mut updated, mut last) = (0, 0, None);
    view.update::<Zset, _>(key, missing, |zset: &mut Edit<'_, Zset>| {
        for (score, member) in scored {
            let old = zset.score(member);
            last = options.score(old, *score)?;
            let Some(score) = last else { continue };
            zset.insert(member, score);
            match old {
                None => added += 1,
                Some(old) => updated += i64::from(old != score),
            }
        }
        Ok(())
    })?;
    match (options.increment, last) {
        (true, Some(score)) => out.double(score),
        (true, None) => out.null(),
        (false, _) if options.count_changes => out.int(added + updated),
        (false, _) => out.int(added),
    }
    Ok(())
}

fn zadd<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (options, read) = AddOptions::parse(&argv[2..]);
    let pairs = &argv[2 + read..];
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(StoreError::Syntax);
    }
    options.check(pairs.len() / 2)?;
    add(view, argv[1], &options, pairs, out)
}

fn zincrby<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let options = AddOptions {
        increment: true,
        ..AddOptions::default()
    };
    add(view, argv[1], &options, &argv[2..], out)
}

fn zrem<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    charge_members(view, argv[2..].iter())?;
    let removed = view.update::<Zset, i64>(argv[1], Missing::Skip, |zset| {
        Ok(argv[2..]
            .iter()
            .map(|member| i64::from(zset.remove(member).is_some()))
            .sum())
    })?;
    out.int(removed.unwrap_or(0));
    Ok(())
}

fn tell_score(score: Option<f64>, out: Out<'_>) {
    match score {
        Some(score) => out.double(score),
        None => out.null(),
    }
}

fn zscore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let score = view
        .read::<Zset>(argv[1])?
        .and_then(|zset| zset.score(argv[2]));
    tell_score(score, out);
    Ok(())
}

fn zmscore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let zset = view.read::<Zset>(argv[1])?;
    out.array(argv.len() - 2);
    for member in &argv[2..] {
        out.charge(LOOKUP)?;
        tell_score(zset.and_then(|zset| zset.score(member)), out);
    }
    Ok(())
}

fn zcard<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.int(view.read::<Zset>(argv[1])?.map_or(0, Zset::len) as i64);
    Ok(())
}

fn rank<V: View>(view: &mut V, argv: Argv<'_>, name: &str, reversed: bool, out: Out<'_>) -> Answer {
    let with_score = match argv[3..] {
        [] => false,
        [option] if option.eq_ignore_ascii_case(b"withscore") => true,
        [_] => return Err(StoreError::Syntax),
        _ => return Err(StoreError::Arity(name.into())),
    };
    let found = view.read::<Zset>(argv[1])?.and_then(|zset| {
        let rank = zset.rank(argv[2])?;
        let rank = if reversed {
            zset.len() - 1 - rank
        } else {
            rank
        };
        Some((rank as i64, zset.score(argv[2])?))
    });
    match (found, with_score) {
        (Some((rank, _)), false) => out.int(rank),
        (Some((rank, score)), true) => {
            out.array(2);
            out.int(rank);
            out.double(score);
        }
        (None, false) => out.null(),
        (None, true) => out.null_array(),
    }
    Ok(())
}

fn zrank<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    rank(view, argv, "zrank", false, out)
}

fn zrevrank<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    rank(view, argv, "zrevrank", true, out)
}

/// Writes members with their scores: pairs in RESP3, one flat array in RESP2.
pub(super) fn tell_scored<'m>(
    members: impl ExactSizeIterator<Item = (&'m Blob, f64)>,
    out: Out<'_>,
) -> Answer {
    let nested = out.protocol() == Protocol::Resp3;
    out.array(if nested {
        members.len()
    } else {
        members.len() * 2
    });
    for (member, score) in members {
        // A double takes as long to print as to find.
        out.charge(LOOKUP)?;
        if nested {
            out.array(2);
        }
        out.bulk(member);
        out.double(score);
    }
    Ok(())
}

fn pop<V: View>(view: &mut V, argv: Argv<'_>, end: End, out: Out<'_>) -> Answer {
    let count = match argv[2..] {
        [] => None,
        [text] => Some(arguments::count(text)?),
        _ => return Err(StoreError::Syntax),
    };
    let popped = match count {
        Some(0) => view.read::<Zset>(argv[1])?.map(|_| Vec::new()),
        count => pop_scored(view, argv[1], end, count.unwrap_or(1))?,
    };
    let popped = popped.unwrap_or_default();
    if count.is_some() {
        tell_scored(popped.iter().map(|(member, score)| (member, *score)), out)?;
    } else {
        out.array(popped.len() * 2);
        for (member, score) in &popped {
            out.bulk(member);
            out.double(*score);
        }
    }
    Ok(())
}

fn zpopmin<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    pop(view, argv, End::Left, out)
}

fn zpopmax<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    pop(view, argv, End::Right, out)
}

/// Reads `MIN` or `MAX`.
pub(super) fn low_or_high(text: &[u8]) -> Result<End, StoreError> {
    if text.eq_ignore_ascii_case(b"min") {
        Ok(End::Left)
    } else if text.eq_ignore_ascii_case(b"max") {
        Ok(End::Right)
    } else {
        Err(StoreError::Syntax)
    }
}

fn zmpop<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (keys, rest) = arguments::counted_keys(argv, 1)?;
    let wish = Wish::PopSomeScored(low_or_high(rest[0])?, arguments::pop_count(&rest[1..])?);
    for key in keys {
        if let Some(served) = wish.take(view, key)? {
            served.write(out);
            return Ok(());
        }
    }
    out.null_array();
    Ok(())
}

fn zrandmember<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (count, with_scores) = match argv[2..] {
        [] => {
            let zset = view.read::<Zset>(argv[1])?;
            let chosen = zset.and_then(|zset| zset.at(fastrand::usize(..zset.len())));
            out.bulk_or_null(chosen.map(|(member, _)| member.as_slice()));
            return Ok(());
        }
        _ => random::count_and_word(&argv[2..], b"withscores")?,
    };
    let Some(zset) = view.read::<Zset>(argv[1])? else {
        out.array(0);
        return Ok(());
    };
    let chosen = random::choose(zset.len(), count, out)?;
    let nested = random::begin(chosen.len(), with_scores, out);
    for (member, score) in chosen.filter_map(|at| zset.at(at)) {
        out.charge(2 * LOOKUP)?;
        if nested {
            out.array(2);
        }
        out.bulk(member);
        if with_scores {
            out.double(score);
        }
    }
    Ok(())
}

fn zscan<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let cursor = scan::cursor(argv[2])?;
    let Some(zset) = view.read::<Zset>(argv[1])? else {
        scan::tell_nothing(out);
        return Ok(());
    };
    let options = ScanOptions::parse(cursor, &argv[3..], Scanned::Zset)?;
    let mut found = Vec::new();
    let next = scan::in_slices(&options, out, |cursor, count| {
        zset.scan(cursor, count, |member, score| found.push((member, score)))
    })?;
    let mut shown = Vec::new();
    for pair in found {
        if options.matches(pair.0, out)? {
            shown.push(pair);
        }
    }
    out.array(2);
    out.bulk(itoa::Buffer::new().format(next).as_bytes());
    let width = if options.no_values { 1 } else { 2 };
    out.array(shown.len() * width);
    for (member, score) in shown {
        out.charge(LOOKUP)?;
        out.bulk(member);
        if !options.no_values {
            // A string in both protocols, unlike all other scores.
            out.bulk(format_double(score).as_bytes());
        }
    }
    Ok(())
}
