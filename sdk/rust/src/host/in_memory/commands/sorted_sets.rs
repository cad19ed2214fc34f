//! Commands on sorted sets.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Outcome, count, float, number_text, range, size, syntax, whole, word};
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
    "ZMSCORE",
];

/// Members and scores in the order of the set.
type Ranked<'a> = Vec<(&'a Vec<u8>, f64)>;

pub(super) fn run(keyspace: &mut Keyspace, name: &str, arguments: &[&[u8]]) -> Option<Outcome> {
    Some(match (name, arguments) {
        ("ZADD", [key, rest @ ..]) if rest.len() >= 2 => {
            Addition::parse(rest).and_then(|(addition, pairs)| addition.run(keyspace, key, pairs))
        }
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
        ("ZMSCORE", [key, members @ ..]) if !members.is_empty() => keyspace
            .sorted_set(key)
            .map(|set| {
                let score = |member: &&[u8]| {
                    let score = set.and_then(|set| set.get(*member));
                    score.map_or(Value::Null, |score| score_text(*score))
                };
                Value::Array(members.iter().map(score).collect())
            })
            .map_err(Into::into),
        ("ZPOPMIN" | "ZPOPMAX", [key]) => pop(keyspace, key, name == "ZPOPMAX", 1),
        ("ZPOPMIN" | "ZPOPMAX", [key, wanted]) => {
            size(wanted).and_then(|wanted| pop(keyspace, key, name == "ZPOPMAX", wanted))
        }
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

/// Options of `ZADD`.
#[derive(Default)]
struct Addition {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
    changed: bool,
    increment: bool,
}

impl Addition {
    /// Reads the options; returns what follows them: scores and members.
    fn parse<'a>(arguments: &'a [&'a [u8]]) -> Result<(Self, &'a [&'a [u8]]), String> {
        let mut addition = Self::default();
        let mut arguments = arguments;
        while let [option, rest @ ..] = arguments {
            match word(option).as_str() {
                "NX" => addition.absent = true,
                "XX" => addition.present = true,
                "GT" => addition.greater = true,
                "LT" => addition.less = true,
                "CH" => addition.changed = true,
                "INCR" => addition.increment = true,
                _ => break,
            }
            arguments = rest;
        }
        if arguments.is_empty() || arguments.len() % 2 != 0 {
            return Err(syntax());
        }
        let limited = addition.greater || addition.less;
        if addition.absent && addition.present {
            return Err("ERR XX and NX options at the same time are not compatible".into());
        }
        if addition.absent && limited || addition.greater && addition.less {
            return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
        }
        if addition.increment && arguments.len() > 2 {
            return Err("ERR INCR option supports a single increment-element pair".into());
        }
        Ok((addition, arguments))
    }

    fn run(&self, keyspace: &mut Keyspace, key: &[u8], pairs: &[&[u8]]) -> Outcome {
        let pairs = pairs
            .chunks(2)
            .map(|pair| Ok((float(pair[0])?, pair[1])))
            .collect::<Result<Vec<_>, String>>()?;
        Ok(keyspace.edit_sorted_set(key, |set| {
            let (mut new, mut updated, mut sum) = (0, 0, Value::Null);
            for (number, member) in pairs {
                let old = set.get(member).copied();
                let score = match old {
                    Some(old) if self.increment => old + number,
                    _ => number,
                };
                let refused = match old {
                    Some(old) => {
                        self.absent || self.greater && score <= old || self.less && score >= old
                    }
                    None => self.present,
                };
                if refused {
                    continue;
                }
                new += usize::from(old.is_none());
                updated += usize::from(old.is_some_and(|old| old != score));
                set.insert(member.into(), score);
                sum = score_text(score);
            }
            match self {
                Self {
                    increment: true, ..
                } => sum,
                Self { changed: true, .. } => count(new + updated),
                _ => count(new),
            }
        })?)
    }
}

fn increment(keyspace: &mut Keyspace, key: &[u8], delta: &[u8], member: &[u8]) -> Outcome {
    let addition = Addition {
        increment: true,
        ..Addition::default()
    };
    addition.run(keyspace, key, &[delta, member])
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

fn pop(keyspace: &mut Keyspace, key: &[u8], max: bool, wanted: usize) -> Outcome {
    let mut found: Vec<_> = ranked(keyspace.sorted_set(key)?)
        .into_iter()
        .map(|(member, score)| (member.clone(), score))
        .collect();
    if max {
        found.reverse();
    }
    found.truncate(wanted);
    keyspace.edit_sorted_set(key, |set| {
        for (member, _) in &found {
            set.remove(member);
        }
    })?;
    let flat = found
        .into_iter()
        .flat_map(|(member, score)| [Value::Bulk(member), score_text(score)]);
    Ok(Value::Array(flat.collect()))
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

/// An end of a range of scores.
struct Bound {
    score: f64,
    /// True if the score is not part of the range.
    open: bool,
}

impl Bound {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let rest = text.strip_prefix(b"(");
        let score = float(rest.unwrap_or(text));
        Ok(Self {
            score: score.map_err(|_| "ERR min or max is not a float")?,
            open: rest.is_some(),
        })
    }

    fn is_below(&self, score: f64) -> bool {
        score > self.score || score == self.score && !self.open
    }

    fn is_above(&self, score: f64) -> bool {
        score < self.score || score == self.score && !self.open
    }
}

fn between<'a>(
    keyspace: &'a Keyspace,
    key: &[u8],
    min: &[u8],
    max: &[u8],
) -> Result<Ranked<'a>, String> {
    let (min, max) = (Bound::parse(min)?, Bound::parse(max)?);
    let mut found = ranked(keyspace.sorted_set(key)?);
    found.retain(|(_, score)| min.is_below(*score) && max.is_above(*score));
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
        if self.limit.is_some() && !self.by_score {
            return Err("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX".into());
        }
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
