//! Intersections, unions and differences of sets.

use crate::commands::arguments::positive;
use crate::commands::sets::store;
use crate::commands::spec::{
    Answer, Argv, DENYOOM, Keys, MOVABLEKEYS, Out, READONLY, WRITE, commands,
};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::Set;
use ferrite_protocol::budget::{ELEMENT, LOOKUP, lookups};
use ferrite_protocol::number::parse_integer;

commands! {
    "sinter", -2, READONLY, Keys::EVERY => sinter,
        "set", "key [key ...]",
        "Returns what all sets have.";
    "sunion", -2, READONLY, Keys::EVERY => sunion,
        "set", "key [key ...]",
        "Returns what any of the sets has.";
    "sdiff", -2, READONLY, Keys::EVERY => sdiff,
        "set", "key [key ...]",
        "Returns what the first set has and the others do not.";
    "sinterstore", -3, WRITE | DENYOOM, Keys::EVERY => sinterstore,
        "set", "destination key [key ...]",
        "Stores what all sets have.";
    "sunionstore", -3, WRITE | DENYOOM, Keys::EVERY => sunionstore,
        "set", "destination key [key ...]",
        "Stores what any of the sets has.";
    "sdiffstore", -3, WRITE | DENYOOM, Keys::EVERY => sdiffstore,
        "set", "destination key [key ...]",
        "Stores what the first set has and the others do not.";
    "sintercard", -3, READONLY | MOVABLEKEYS, Keys::Counted { count: 1, also: 0 } => sintercard,
        "set", "numkeys key [key ...] [LIMIT limit]",
        "Counts what all sets have.";
}

/// Shared copies of the sets; a missing key gives an empty set.
fn sets<V: View>(view: &mut V, keys: &[&[u8]]) -> Result<Vec<Set>, StoreError> {
    keys.iter()
        .map(|key| Ok(view.read::<Set>(key)?.cloned().unwrap_or_default()))
        .collect()
}

/// The members that are in all sets, up to `limit` of them.
fn intersection(mut sets: Vec<Set>, limit: usize, out: Out<'_>) -> Result<Set, StoreError> {
    let mut common = Set::default();
    sets.sort_by_key(Set::len);
    if let Some((smallest, others)) = sets.split_first() {
        for (member, ()) in smallest.iter() {
            if common.len() == limit {
                break;
            }
            out.charge(lookups(2 + others.len()))?;
            if others.iter().all(|other| other.contains(member)) {
                common.insert(member, ());
            }
        }
    }
    Ok(common)
}

fn union(sets: Vec<Set>, out: Out<'_>) -> Result<Set, StoreError> {
    let mut sets = sets.into_iter();
    let mut all = sets.next().unwrap_or_default();
    for set in sets {
        for (member, ()) in set.iter() {
            out.charge(2 * LOOKUP)?;
            all.insert(member, ());
        }
    }
    Ok(all)
}

/// Members of the first set that no other set has.
fn difference(sets: &[Set], out: Out<'_>) -> Result<Set, StoreError> {
    let mut rest = Set::default();
    if let Some((first, others)) = sets.split_first() {
        for (member, ()) in first.iter() {
            out.charge(lookups(2 + others.len()))?;
            if !others.iter().any(|other| other.contains(member)) {
                rest.insert(member, ());
            }
        }
    }
    Ok(rest)
}

fn tell(set: &Set, out: Out<'_>) -> Answer {
    out.set(set.len());
    for (member, ()) in set.iter() {
        out.charge(ELEMENT)?;
        out.bulk(member);
    }
    Ok(())
}

fn sinter<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let common = intersection(sets(view, &argv[1..])?, usize::MAX, out)?;
    tell(&common, out)
}

fn sunion<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let all = union(sets(view, &argv[1..])?, out)?;
    tell(&all, out)
}

fn sdiff<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let rest = difference(&sets(view, &argv[1..])?, out)?;
    tell(&rest, out)
}

fn sinterstore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let common = intersection(sets(view, &argv[2..])?, usize::MAX, out)?;
    store(view, argv[1], common, out)
}

fn sunionstore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let all = union(sets(view, &argv[2..])?, out)?;
    store(view, argv[1], all, out)
}

fn sdiffstore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let rest = difference(&sets(view, &argv[2..])?, out)?;
    store(view, argv[1], rest, out)
}

/// Reads a limit; zero means no limit.
pub(in crate::commands) fn limit_argument(text: &[u8]) -> Result<usize, StoreError> {
    let limit = parse_integer(text)
        .and_then(|limit| usize::try_from(limit).ok())
        .ok_or(StoreError::Refused("ERR LIMIT can't be negative"))?;
    Ok(if limit == 0 { usize::MAX } else { limit })
}

fn sintercard<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let count = positive(argv[1], "ERR numkeys should be greater than 0")?;
    let rest = &argv[2..];
    if count > rest.len() {
        return Err(StoreError::Refused(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let (keys, options) = rest.split_at(count);
    let mut limit = usize::MAX;
    for pair in options.chunks(2) {
        match pair {
            [name, text] if name.eq_ignore_ascii_case(b"limit") => limit = limit_argument(text)?,
            _ => return Err(StoreError::Syntax),
        }
    }
    let common = intersection(sets(view, keys)?, limit, out)?;
    out.int(common.len() as i64);
    Ok(())
}
