//! Commands on sorted sets.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Bound;

use super::{Outcome, count, float, number_text, range, syntax, whole, word};
use crate::host::in_memory::keyspace::{Keyspace, SortedSet};
use crate::value::Value;

pub(super) const NAMES: &[&str] = &[
    "ZADD",
    "ZREM",
    "ZSCORE",
    "ZCARD",
    "ZINCRBY",
    "ZRANK",
    "ZREVRANK",
    "ZRANGE",
    "ZREVRANGE",
    "ZRANGEBYSCORE",
    "ZREVRANGEBYSCORE",
    "ZCOUNT",
    "ZREMRANGEBYSCORE",
    "ZREMRANGEBYRANK",
    "ZPOPMIN",
    "ZPOPMAX",
];

/// Members and scores in the order of the set.
type Ranked<'a> = Vec<(&'a Vec<u8>, f64)>;

pub(super) fn run(keyspace: &mut Keyspace, name: &str, arguments: &[&[u8]]) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("ZADD", [key, rest @ ..]) if rest.len() >= 2 => add(keyspace, key, rest),
        ("ZREM", [key, members @ ..]) if !members.is_empty() => keyspace
            .edit_sorted_set(key, |set| {
                count(
                    members
                        .iter()
                        .filter(|member| set.remove(**member).is_some())
                        .count(),
                )
            })
            .map_err(Into::into),
        ("ZSCORE", [key, member]) => keyspace
            .sorted_set(key)
            .map(|set| {
                let score = set.and_then(|set| set.get(*member));
                score.map_or(Value::Null, |score| score_text(*score))
            })
            .map_err(Into::into),
        ("ZCARD", [key]) => keyspace
            .sorted_set(key)
            .map(|set| count(set.map_or(0, SortedSet::len)))
            .map_err(Into::into),
        ("ZINCRBY", [key, delta, member]) => increment(keyspace, key, delta, member),
        ("ZRANK" | "ZREVRANK", [key, member]) => rank(keyspace, key, member, name == "ZREVRANK"),
        ("ZRANGE", [key, start, stop, options @ ..]) => {
            Query::parse(options).and_then(|query| query.run(keyspace, key, start, stop))
        }
        ("ZREVRANGE", [key, start, stop, options @ ..]) => {
            Query::parse(options).and_then(|mut query| {
                query.reverse = true;
                query.run(keyspace, key, start, stop)
            })
        }
        ("ZRANGEBYSCORE" | "ZREVRANGEBYSCORE", [key, start, stop, options @ ..]) => {
            Query::parse(options).and_then(|mut query| {
                query.by_score = true;
                query.reverse = name == "ZREVRANGEBYSCORE";
                query.run(keyspace, key, start, stop)
            })
        }
        ("ZCOUNT", [key, min, max]) => {
            between(keyspace, key, min, max).map(|found| count(found.len()))
        }
        ("ZREMRANGEBYSCORE", [key, min, max]) => between(keyspace, key, min, max)
            .map(|found| {
                found
                    .into_iter()
                    .map(|(member, _)| member.clone())
                    .collect()
            })
            .and_then(|members: Vec<_>| remove_all(keyspace, key, &members)),
        ("ZREMRANGEBYRANK", [key, start, stop]) => {
            let query = Query::default();
            query
                .select(keyspace, key, start, stop)
                .map(|found| {
                    found
                        .into_iter()
                        .map(|(member, _)| member.clone())
                        .collect()
                })
                .and_then(|members: Vec<_>| remove_all(keyspace, key, &members))
        }
        ("ZPOPMIN" | "ZPOPMAX", [key]) => pop(keyspace, key, name == "ZPOPMAX"),
        _ => return None,
    })
}

fn score_text(score: f64) -> Value {
    Value::Bulk(number_text(score).into())
}

fn ranked(set: Option<&SortedSet>) -> Ranked<'_> {
    let mut ranked: Ranked<'_> = set
        .into_iter()
        .flatten()
        .map(|(member, score)| (member, *score))
        .collect();
    // The members are in order already, so that a stable sort by score gives the set's order.
    ranked.sort_by(|left, right| left.1.total_cmp(&right.1));
    ranked
}

fn add(keyspace: &mut Keyspace, key: &[u8], arguments: &[&[u8]]) -> Outcome {
    let (mut absent, mut present, mut greater, mut less, mut changed) =
        (false, false, false, false, false);
    let mut arguments = arguments;
    while let [option, rest @ ..] = arguments {
        match word(option).as_str() {
            "NX" => absent = true,
            "XX" => present = true,
            "GT" => greater = true,
            "LT" => less = true,
            "CH" => changed = true,
            _ => break,
        }
        arguments = rest;
    }
    if arguments.is_empty() || arguments.len() % 2 != 0 {
        return Err(syntax());
    }
    let pairs = arguments
        .chunks(2)
        .map(|pair| Ok((float(pair[0])?, pair[1])))
        .collect::<Result<Vec<_>, String>>()?;
    Ok(keyspace.edit_sorted_set(key, |set| {
        let (mut new, mut updated) = (0, 0);
        for (score, member) in pairs {
            match set.get_mut(member) {
                Some(old) => {
                    let refused = absent || greater && score <= *old || less && score >= *old;
                    if !refused && score != *old {
                        *old = score;
                        updated += 1;
                    }
                }
                None if present => {}
                None => {
                    set.insert(member.into(), score);
                    new += 1;
                }
            }
        }
        count(if changed { new + updated } else { new })
    })?)
}

fn increment(keyspace: &mut Keyspace, key: &[u8], delta: &[u8], member: &[u8]) -> Outcome {
    let delta = float(delta)?;
    Ok(keyspace.edit_sorted_set(key, |set| {
        let score = set.entry(member.into()).or_insert(0.0);
        *score += delta;
        score_text(*score)
    })?)
}

fn rank(keyspace: &Keyspace, key: &[u8], member: &[u8], reverse: bool) -> Outcome {
    let mut ranked = ranked(keyspace.sorted_set(key)?);
    if reverse {
        ranked.reverse();
    }
    let found = ranked
        .iter()
        .position(|(other, _)| other.as_slice() == member);
    Ok(found.map_or(Value::Null, count))
}

fn pop(keyspace: &mut Keyspace, key: &[u8], max: bool) -> Outcome {
    let ranked = ranked(keyspace.sorted_set(key)?);
    let end = if max { ranked.last() } else { ranked.first() };
    let Some((member, score)) = end.map(|(member, score)| ((*member).clone(), *score)) else {
        return Ok(Value::Array(Vec::new()));
    };
    keyspace.edit_sorted_set(key, |set| set.remove(&member))?;
    Ok(Value::Array(
        [Value::Bulk(member), score_text(score)].into(),
    ))
}

fn remove_all(keyspace: &mut Keyspace, key: &[u8], members: &[Vec<u8>]) -> Outcome {
    let removed = members.len();
    keyspace.edit_sorted_set(key, |set| {
        for member in members {
            set.remove(member);
        }
    })?;
    Ok(count(removed))
}

fn bound(text: &[u8]) -> Result<Bound<f64>, String> {
    let number = |text| float(text).map_err(|_| String::from("ERR min or max is not a float"));
    match text {
        b"-inf" | b"+inf" | b"inf" => Ok(Bound::Unbounded),
        [b'(', rest @ ..] => number(rest).map(Bound::Excluded),
        rest => number(rest).map(Bound::Included),
    }
}

fn between<'a>(
    keyspace: &'a Keyspace,
    key: &[u8],
    min: &[u8],
    max: &[u8],
) -> Result<Ranked<'a>, String> {
    let (min, max) = (bound(min)?, bound(max)?);
    let mut found = ranked(keyspace.sorted_set(key)?);
    found.retain(|(_, score)| {
        let above = match min {
            Bound::Unbounded => true,
            Bound::Included(min) => *score >= min,
            Bound::Excluded(min) => *score > min,
        };
        let below = match max {
            Bound::Unbounded => true,
            Bound::Included(max) => *score <= max,
            Bound::Excluded(max) => *score < max,
        };
        above && below
    });
    Ok(found)
}

/// Options of a range command beside the range.
#[derive(Default)]
struct Query {
    by_score: bool,
    reverse: bool,
    with_scores: bool,
    /// Number of members to leave out at the start, and most members to give.
    limit: Option<(usize, usize)>,
}

impl Query {
    fn parse(options: &[&[u8]]) -> Result<Self, String> {
        let mut query = Self::default();
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match word(option).as_str() {
                "BYSCORE" => query.by_score = true,
                "REV" => query.reverse = true,
                "WITHSCORES" => query.with_scores = true,
                "LIMIT" => {
                    let mut number = || whole(options.next().ok_or_else(syntax)?);
                    let offset = usize::try_from(number()?).unwrap_or(usize::MAX);
                    // A negative count is no limit.
                    let most = usize::try_from(number()?).unwrap_or(usize::MAX);
                    query.limit = Some((offset, most));
                }
                _ => return Err(syntax()),
            }
        }
        Ok(query)
    }

    fn select<'a>(
        &self,
        keyspace: &'a Keyspace,
        key: &[u8],
        start: &[u8],
        stop: &[u8],
    ) -> Result<Ranked<'a>, String> {
        let mut found = if self.by_score {
            let (min, max) = if self.reverse {
                (stop, start)
            } else {
                (start, stop)
            };
            between(keyspace, key, min, max)?
        } else {
            ranked(keyspace.sorted_set(key)?)
        };
        if self.reverse {
            found.reverse();
        }
        if !self.by_score {
            let range = range(whole(start)?, whole(stop)?, found.len());
            found.truncate(range.end);
            found.drain(..range.start);
        }
        if let Some((offset, most)) = self.limit {
            found.drain(..offset.min(found.len()));
            found.truncate(most);
        }
        Ok(found)
    }

    fn run(&self, keyspace: &Keyspace, key: &[u8], start: &[u8], stop: &[u8]) -> Outcome {
        let mut items = Vec::new();
        for (member, score) in self.select(keyspace, key, start, stop)? {
            items.push(Value::from(&member[..]));
            if self.with_scores {
                items.push(score_text(score));
            }
        }
        Ok(Value::Array(items))
    }
}
