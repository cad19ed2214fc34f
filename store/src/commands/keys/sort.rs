//! `SORT`.

use std::cmp::Ordering;

use crate::commands::arguments::index_range;
use crate::commands::arguments::integer;
use crate::commands::spec::{
    Answer, Argv, DENYOOM, Keys, MOVABLEKEYS, Out, READONLY, WRITE, commands,
};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::list::List;
use crate::value::text::Text;
use crate::value::{Hash, Value};
use ferrite_protocol::budget::{ELEMENT, LOOKUP, bytes, elements as elements_units};
use ferrite_protocol::number::parse_double;
use ferrite_protocol::resp::ReplyWriter;

commands! {
    "sort", -2, WRITE | DENYOOM | MOVABLEKEYS, Keys::Sort => sort,
        "generic", "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA] [STORE destination]",
        "Sorts a list, a set or a sorted set.";
    "sort_ro", -2, READONLY | MOVABLEKEYS, Keys::Sort => sort_ro,
        "generic", "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA]",
        "Sorts a list, a set or a sorted set, and stores nothing.";
}

/// The options of `SORT`.
#[derive(Default)]
struct Options<'a> {
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    limit: Option<(i64, i64)>,
    descending: bool,
    alphabetical: bool,
    destination: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(argv: &'a [&'a [u8]], may_store: bool) -> Result<Self, StoreError> {
        let mut options = Self::default();
        let mut rest = argv.iter();
        while let Some(option) = rest.next() {
            match option.to_ascii_lowercase().as_slice() {
                b"asc" => options.descending = false,
                b"desc" => options.descending = true,
                b"alpha" => options.alphabetical = true,
                b"limit" if rest.len() >= 2 => {
                    let mut number = || integer(rest.next().copied().unwrap_or_default());
                    options.limit = Some((number()?, number()?));
                }
                b"by" if rest.len() >= 1 => options.by = rest.next().copied(),
                b"get" if rest.len() >= 1 => options.get.extend(rest.next()),
                b"store" if may_store && rest.len() >= 1 => {
                    options.destination = rest.next().copied();
                }
                _ => return Err(StoreError::Syntax),
            }
        }
        Ok(options)
    }
}

/// Looks up the value that a pattern names for an element: a key's, or a field's after `->`.
fn look_up<V: View>(
    view: &mut V,
    pattern: &[u8],
    element: &Blob,
) -> Result<Option<Blob>, StoreError> {
    if pattern == b"#" {
        return Ok(Some(element.clone()));
    }
    let Some(star) = pattern.iter().position(|byte| *byte == b'*') else {
        return Ok(None);
    };
    let (before, after) = (&pattern[..star], &pattern[star + 1..]);
    // An arrow names a field only if something follows it.
    let arrow = after
        .windows(2)
        .position(|pair| pair == b"->")
        .filter(|arrow| arrow + 2 < after.len());
    let (after, field) = match arrow {
        Some(arrow) => (&after[..arrow], Some(&after[arrow + 2..])),
        None => (after, None),
    };
    view.charge(LOOKUP + bytes((pattern.len() + element.len()) as u64))?;
    let key = [before, element, after].concat();
    let Some(live) = view.get(&key)? else {
        return Ok(None);
    };
    if let Some(field) = field {
        let hash = live.cast::<Hash>().ok();
        return Ok(hash.and_then(|hash| hash.get(field)).cloned());
    }
    let Ok(text) = live.cast::<Text>().cloned() else {
        return Ok(None);
    };
    view.charge(bytes(text.len() as u64))?;
    Ok(Some(Blob::new(text.as_slice())))
}

fn elements<V: View>(view: &mut V, key: &[u8], out: Out<'_>) -> Result<Vec<Blob>, StoreError> {
    let value = view.get(key)?.map(|live| live.value);
    let elements: Box<dyn Iterator<Item = &Blob>> = match value {
        None => return Ok(Vec::new()),
        Some(Value::List(list)) => Box::new(list.data.iter()),
        Some(Value::Set(set)) => Box::new(set.data.iter().map(|(member, ())| member)),
        Some(Value::Zset(zset)) => Box::new(zset.data.iter().map(|(member, _)| member)),
        Some(_) => return Err(StoreError::WrongType),
    };
    let mut found = Vec::new();
    for element in elements {
        out.charge(ELEMENT)?;
        found.push(element.clone());
    }
    Ok(found)
}

/// Reads a weight, which ends at the first byte of zero, as in C.
fn number(text: &[u8]) -> Option<f64> {
    let end = text.iter().position(|byte| *byte == 0);
    parse_double(&text[..end.unwrap_or(text.len())])
}

/// Sorts the elements.
fn order<V: View>(
    view: &mut V,
    elements: Vec<Blob>,
    options: &Options<'_>,
    out: Out<'_>,
) -> Result<Vec<Blob>, StoreError> {
    let weight = |view: &mut V, element: &Blob| match options.by {
        Some(pattern) => look_up(view, pattern, element),
        None => Ok(Some(element.clone())),
    };
    let direct = |ordering: Ordering| {
        if options.descending {
            ordering.reverse()
        } else {
            ordering
        }
    };
    if options.alphabetical {
        let mut weighted = Vec::with_capacity(elements.len());
        for element in elements {
            out.charge(ELEMENT)?;
            weighted.push((weight(view, &element)?, element));
        }
        let len = |weighted: &(Option<Blob>, Blob)| {
            weighted
                .0
                .as_ref()
                .map_or(0, |weight| weight.len())
                .max(weighted.1.len())
        };
        let weighted = sorted(weighted, len, out, |left, right| {
            let by_bytes = || {
                if options.by.is_none() {
                    Ordering::Equal
                } else {
                    left.1.cmp(&right.1)
                }
            };
            direct(left.0.cmp(&right.0).then_with(by_bytes))
        })?;
        return Ok(weighted.into_iter().map(|(_, element)| element).collect());
    }
    let mut weighted = Vec::with_capacity(elements.len());
    for element in elements {
        let score = match weight(view, &element)? {
            Some(text) => {
                out.charge(LOOKUP + text.len() as u64)?;
                number(&text).ok_or(StoreError::Refused(
                    "ERR One or more scores can't be converted into double",
                ))?
            }
            None => 0.0,
        };
        weighted.push((score, element));
    }
    let len = |weighted: &(f64, Blob)| weighted.1.len();
    let weighted = sorted(weighted, len, out, |left, right| {
        let by_score = left.0.partial_cmp(&right.0).unwrap_or(Ordering::Equal);
        direct(by_score.then_with(|| left.1.cmp(&right.1)))
    })?;
    Ok(weighted.into_iter().map(|(_, element)| element).collect())
}

/// Sorts stably: short runs first, which are then merged, with a charge before each piece of work.
/// `len` returns the bytes of an element that a comparison may go through.
fn sorted<T>(
    elements: Vec<T>,
    len: impl Fn(&T) -> usize,
    out: Out<'_>,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, StoreError> {
    /// Comparisons of each element of a run: its binary logarithm.
    const COMPARISONS: u64 = RUN_LEN.ilog2() as u64;
    const RUN_LEN: usize = 256;
    let mut runs: Vec<Vec<T>> = Vec::new();
    let mut rest = elements.into_iter();
    loop {
        let mut run: Vec<T> = rest.by_ref().take(RUN_LEN).collect();
        if run.is_empty() {
            break;
        }
        let compared: u64 = run
            .iter()
            .map(|element| ELEMENT + bytes(len(element) as u64))
            .sum();
        out.charge(COMPARISONS * compared)?;
        run.sort_by(&compare);
        runs.push(run);
    }
    // Neighbours are merged, round by round.
    while runs.len() > 1 {
        let mut unmerged = runs.into_iter();
        let mut longer = Vec::new();
        while let Some(left) = unmerged.next() {
            longer.push(match unmerged.next() {
                Some(right) => merged(left, right, &len, out, &compare)?,
                None => left,
            });
        }
        runs = longer;
    }
    Ok(runs.pop().unwrap_or_default())
}

/// Merges two sorted runs; of equal elements, those of the left one come first.
fn merged<T>(
    left: Vec<T>,
    right: Vec<T>,
    len: &impl Fn(&T) -> usize,
    out: &mut dyn ReplyWriter,
    compare: &impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, StoreError> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let from_left = match (left.peek(), right.peek()) {
            (Some(one), Some(other)) => {
                out.charge(ELEMENT + bytes(len(one).min(len(other)) as u64))?;
                compare(one, other) != Ordering::Greater
            }
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return Ok(merged),
        };
        let next = if from_left { left.next() } else { right.next() };
        merged.extend(next);
    }
}

fn run<V: View>(view: &mut V, key: &[u8], options: &Options<'_>, out: Out<'_>) -> Answer {
    let mut found = elements(view, key, out)?;
    // A pattern without a star gives all elements the same weight, so they keep their order.
    let unsorted = options.by.is_some_and(|pattern| !pattern.contains(&b'*'));
    let is_set = matches!(view.get(key)?, Some(live) if matches!(live.value, Value::Set(_)));
    if !unsorted {
        found = order(view, found, options, out)?;
    } else if is_set && options.destination.is_some() {
        // A set has no order to keep, and what is stored should not depend on chance.
        found = sorted(found, |element| element.len(), out, Blob::cmp)?;
        if options.descending {
            found.reverse();
        }
    } else if options.descending && !is_set {
        found.reverse();
    }
    if let Some((skip, most)) = options.limit {
        let stop = if most < 0 {
            -1
        } else {
            skip.max(0).saturating_add(most) - 1
        };
        let (start, end) = if most == 0 {
            (0, 0)
        } else {
            index_range(skip.max(0), stop, found.len())
        };
        found = found[start..end].to_vec();
    }
    let mut results = Vec::with_capacity(found.len() * options.get.len().max(1));
    for element in found {
        if options.get.is_empty() {
            results.push(Some(element));
        } else {
            for pattern in &options.get {
                out.charge(ELEMENT)?;
                results.push(look_up(view, pattern, &element)?);
            }
        }
    }
    match options.destination {
        None => {
            out.array(results.len());
            for result in &results {
                out.charge(ELEMENT)?;
                out.bulk_or_null(result.as_deref());
            }
        }
        Some(destination) => {
            out.charge(elements_units(results.len()))?;
            let list: List = results.into_iter().map(Option::unwrap_or_default).collect();
            let len = list.len();
            view.put(destination, list.into(), Deadline::NEVER)?;
            out.int(len as i64);
        }
    }
    Ok(())
}

fn sort<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    run(view, argv[1], &Options::parse(&argv[2..], true)?, out)
}

fn sort_ro<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    run(view, argv[1], &Options::parse(&argv[2..], false)?, out)
}
