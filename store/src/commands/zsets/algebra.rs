//! Unions, intersections and differences of sorted sets.

use crate::commands::arguments::integer;
use crate::commands::sets::algebra::limit_argument;
use crate::commands::spec::{
    Answer, Argv, DENYOOM, Keys, MOVABLEKEYS, Out, READONLY, WRITE, commands,
};
use crate::commands::zsets::tell_scored;
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::fields::Fields;
use crate::value::zset::Zset;
use crate::value::{Set, Value};
use ferrite_protocol::budget::{ELEMENT, LOOKUP, bytes, lookups};
use ferrite_protocol::number::parse_double;

const COUNTED: Keys = Keys::Counted { count: 1, also: 0 };
const STORING: Keys = Keys::Counted { count: 2, also: 1 };

commands! {
    "zunion", -3, READONLY | MOVABLEKEYS, COUNTED => zunion,
        "sorted-set", "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
        "Returns what any of the sorted sets has.";
    "zinter", -3, READONLY | MOVABLEKEYS, COUNTED => zinter,
        "sorted-set", "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]",
        "Returns what all sorted sets have.";
    "zdiff", -3, READONLY | MOVABLEKEYS, COUNTED => zdiff,
        "sorted-set", "numkeys key [key ...] [WITHSCORES]",
        "Returns what the first sorted set has and the others do not.";
    "zunionstore", -4, WRITE | DENYOOM | MOVABLEKEYS, STORING => zunionstore,
        "sorted-set", "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
        "Stores what any of the sorted sets has.";
    "zinterstore", -4, WRITE | DENYOOM | MOVABLEKEYS, STORING => zinterstore,
        "sorted-set", "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]",
        "Stores what all sorted sets have.";
    "zdiffstore", -4, WRITE | DENYOOM | MOVABLEKEYS, STORING => zdiffstore,
        "sorted-set", "destination numkeys key [key ...]",
        "Stores what the first sorted set has and the others do not.";
    "zintercard", -3, READONLY | MOVABLEKEYS, COUNTED => zintercard,
        "sorted-set", "numkeys key [key ...] [LIMIT limit]",
        "Counts what all sorted sets have.";
}

/// Rule that combines the scores of one member.
#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            // The sum of opposite infinities is zero.
            Self::Sum => not_nan(left + right),
            Self::Min if right < left => right,
            Self::Max if right > left => right,
            // Also if the second one is NaN.
            Self::Min | Self::Max => left,
        }
    }
}

fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One operand: a sorted set, or a set whose members all score 1.
enum Operand {
    Scored(Zset),
    Plain(Set),
}

impl Operand {
    fn read<V: View>(view: &mut V, key: &[u8]) -> Result<Self, StoreError> {
        match view.get(key)?.map(|live| live.value) {
            None => Ok(Self::Plain(Set::default())),
            Some(Value::Zset(zset)) => Ok(Self::Scored(zset.data.clone())),
            Some(Value::Set(set)) => Ok(Self::Plain(set.data.clone())),
            Some(_) => Err(StoreError::WrongType),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Scored(zset) => zset.len(),
            Self::Plain(set) => set.len(),
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Scored(zset) => zset.score(member),
            Self::Plain(set) => set.contains(member).then_some(1.0),
        }
    }

    fn members(&self) -> Box<dyn Iterator<Item = (&Blob, f64)> + '_> {
        match self {
            Self::Scored(zset) => Box::new(zset.iter()),
            Self::Plain(set) => Box::new(set.iter().map(|(member, ())| (member, 1.0))),
        }
    }
}

/// The operands of a request and how to combine them.
struct Request {
    operands: Vec<(Operand, f64)>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Most members to count.
    limit: usize,
}

/// Options that a command takes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Takes {
    weights: bool,
    scores: bool,
    limit: bool,
}

impl Request {
    fn parse<V: View>(
        view: &mut V,
        argv: &[&[u8]],
        name: &str,
        takes: Takes,
    ) -> Result<Self, StoreError> {
        let count = integer(argv[0])?;
        let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else {
            let text = format!("ERR at least 1 input key is needed for '{name}' command");
            return Err(StoreError::with(text));
        };
        let rest = &argv[1..];
        if count > rest.len() {
            return Err(StoreError::Syntax);
        }
        let (keys, mut options) = rest.split_at(count);
        let operands: Vec<Operand> = keys
            .iter()
            .map(|key| Operand::read(view, key))
            .collect::<Result<_, _>>()?;
        let mut weights = vec![1.0; count];
        let mut request = Self {
            operands: Vec::new(),
            aggregate: Aggregate::Sum,
            with_scores: false,
            limit: usize::MAX,
        };
        while let [option, more @ ..] = options {
            options = more;
            if option.eq_ignore_ascii_case(b"weights") && takes.weights && more.len() >= count {
                let (texts, more) = more.split_at(count);
                options = more;
                for (weight, text) in weights.iter_mut().zip(texts) {
                    *weight = parse_double(text)
                        .ok_or(StoreError::Refused("ERR weight value is not a float"))?;
                }
            } else if option.eq_ignore_ascii_case(b"aggregate")
                && takes.weights
                && let [name, more @ ..] = more
            {
                options = more;
                request.aggregate = match name.to_ascii_lowercase().as_slice() {
                    b"sum" => Aggregate::Sum,
                    b"min" => Aggregate::Min,
                    b"max" => Aggregate::Max,
                    _ => return Err(StoreError::Syntax),
                };
            } else if option.eq_ignore_ascii_case(b"withscores") && takes.scores {
                request.with_scores = true;
            } else if option.eq_ignore_ascii_case(b"limit")
                && takes.limit
                && let [text, more @ ..] = more
            {
                options = more;
                request.limit = limit_argument(text)?;
            } else {
                return Err(StoreError::Syntax);
            }
        }
        request.operands = operands.into_iter().zip(weights).collect();
        Ok(request)
    }

    fn union(&self, out: Out<'_>) -> Result<Zset, StoreError> {
        let mut scores: Fields<f64> = Fields::default();
        for (operand, weight) in &self.operands {
            for (member, score) in operand.members() {
                out.charge(2 * LOOKUP)?;
                let score = not_nan(score * weight);
                let score = match scores.get(member) {
                    Some(other) => self.aggregate.apply(*other, score),
                    None => score,
                };
                scores.insert(member, score);
            }
        }
        let mut union = Zset::default();
        for (member, score) in scores.iter() {
            insert(&mut union, member, *score, out)?;
        }
        Ok(union)
    }

    fn intersection(mut self, out: Out<'_>) -> Result<Zset, StoreError> {
        // Scores are aggregated in this order too, as in Redis.
        self.operands.sort_by_key(|(operand, _)| operand.len());
        let mut common = Zset::default();
        let Some(((smallest, weight), others)) = self.operands.split_first() else {
            return Ok(common);
        };
        for (member, score) in smallest.members() {
            out.charge(lookups(1 + others.len()))?;
            let mut total = Some(not_nan(score * weight));
            for (operand, weight) in others {
                total = total.zip(operand.score(member)).map(|(total, score)| {
                    // Unlike in a union, infinity times zero stays NaN until it is aggregated.
                    self.aggregate.apply(total, score * weight)
                });
                if total.is_none() {
                    break;
                }
            }
            if let Some(total) = total {
                insert(&mut common, member, total, out)?;
            }
        }
        Ok(common)
    }

    fn difference(&self, out: Out<'_>) -> Result<Zset, StoreError> {
        let mut rest = Zset::default();
        let Some(((first, _), others)) = self.operands.split_first() else {
            return Ok(rest);
        };
        for (member, score) in first.members() {
            out.charge(lookups(1 + others.len()))?;
            let elsewhere = others
                .iter()
                .any(|(operand, _)| operand.score(member).is_some());
            if !elsewhere {
                insert(&mut rest, member, score, out)?;
            }
        }
        Ok(rest)
    }
}

/// Adds a member to a result.
fn insert(zset: &mut Zset, member: &Blob, score: f64, out: Out<'_>) -> Answer {
    out.charge(2 * LOOKUP + bytes(member.len() as u64))?;
    zset.insert_exactly(member, score);
    Ok(())
}

fn tell(zset: &Zset, with_scores: bool, out: Out<'_>) -> Answer {
    if with_scores {
        return tell_scored(zset.iter(), out);
    }
    out.array(zset.len());
    for (member, _) in zset.iter() {
        out.charge(ELEMENT)?;
        out.bulk(member);
    }
    Ok(())
}

fn store<V: View>(view: &mut V, key: &[u8], zset: Zset, out: Out<'_>) -> Answer {
    let zset = zset.without_negative_zeros();
    let len = zset.len();
    view.put(key, zset.into(), Deadline::NEVER)?;
    out.int(len as i64);
    Ok(())
}

const TELLING: Takes = Takes {
    weights: true,
    scores: true,
    limit: false,
};
const TO_STORE: Takes = Takes {
    weights: true,
    scores: false,
    limit: false,
};

fn zunion<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let request = Request::parse(view, &argv[1..], "zunion", TELLING)?;
    let union = request.union(out)?;
    tell(&union, request.with_scores, out)
}

fn zinter<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let request = Request::parse(view, &argv[1..], "zinter", TELLING)?;
    let with_scores = request.with_scores;
    let common = request.intersection(out)?;
    tell(&common, with_scores, out)
}

fn zdiff<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let takes = Takes {
        weights: false,
        scores: true,
        limit: false,
    };
    let request = Request::parse(view, &argv[1..], "zdiff", takes)?;
    let rest = request.difference(out)?;
    tell(&rest, request.with_scores, out)
}

fn zunionstore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let union = Request::parse(view, &argv[2..], "zunionstore", TO_STORE)?.union(out)?;
    store(view, argv[1], union, out)
}

fn zinterstore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let common = Request::parse(view, &argv[2..], "zinterstore", TO_STORE)?.intersection(out)?;
    store(view, argv[1], common, out)
}

fn zdiffstore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let takes = Takes {
        weights: false,
        scores: false,
        limit: false,
    };
    let rest = Request::parse(view, &argv[2..], "zdiffstore", takes)?.difference(out)?;
    store(view, argv[1], rest, out)
}

fn zintercard<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let takes = Takes {
        weights: false,
        scores: false,
        limit: true,
    };
    let mut request = Request::parse(view, &argv[1..], "zintercard", takes)?;
    request.operands.sort_by_key(|(operand, _)| operand.len());
    let mut count = 0;
    if let Some(((smallest, _), others)) = request.operands.split_first() {
        for (member, _) in smallest.members() {
            if count == request.limit {
                break;
            }
            out.charge(lookups(1 + others.len()))?;
            let in_all = others
                .iter()
                .all(|(operand, _)| operand.score(member).is_some());
            count += usize::from(in_all);
        }
    }
    out.int(count as i64);
    Ok(())
}
