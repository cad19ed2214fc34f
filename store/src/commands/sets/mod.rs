//! Sets.

pub(crate) mod algebra;

use super::random;
use super::spec::{Answer, Argv, BLIND, DENYOOM, FAST, Keys, Out, READONLY, WRITE, commands};
use crate::commands::keys::scan::{self, ScanOptions, Scanned};
use crate::commands::keys::tell_all;
use crate::error::StoreError;
use crate::execution::view::{Missing, View};
use crate::value::Set;
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use ferrite_protocol::budget::{ELEMENT, LOOKUP, lookups};

commands! {
    "sadd", -3, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => sadd,
        "set", "key member [member ...]",
        "Adds to a set.";
    "srem", -3, WRITE | FAST | BLIND, Keys::FIRST => srem,
        "set", "key member [member ...]",
        "Removes from a set.";
    "smembers", 2, READONLY, Keys::FIRST => smembers,
        "set", "key",
        "Returns a set.";
    "sismember", 3, READONLY | FAST, Keys::FIRST => sismember,
        "set", "key member",
        "Tells whether a set has a member.";
    "smismember", -3, READONLY | FAST, Keys::FIRST => smismember,
        "set", "key member [member ...]",
        "Tells which members a set has.";
    "scard", 2, READONLY | FAST, Keys::FIRST => scard,
        "set", "key",
        "Counts the members of a set.";
    "spop", -2, WRITE | FAST, Keys::FIRST => spop,
        "set", "key [count]",
        "Takes any members of a set.";
    "srandmember", -2, READONLY, Keys::FIRST => srandmember,
        "set", "key [count]",
        "Returns any members of a set.";
    "smove", 4, WRITE | FAST, Keys::TWO => smove,
        "set", "source destination member",
        "Moves a member from one set to another.";
    "sscan", -3, READONLY, Keys::FIRST => sscan,
        "set", "key cursor [MATCH pattern] [COUNT count]",
        "Goes through a set, some members at a time.";
}

fn sadd<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    view.charge(lookups(argv.len() - 2))?;
    let added = view.update::<Set, i64>(argv[1], Missing::Create, |set| {
        Ok(argv[2..]
            .iter()
            .map(|member| i64::from(set.insert(member)))
            .sum())
    })?;
    out.int(added.unwrap_or(0));
    Ok(())
}

fn srem<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    view.charge(lookups(argv.len() - 2))?;
    let removed = view.update::<Set, i64>(argv[1], Missing::Skip, |set| {
        Ok(argv[2..]
            .iter()
            .map(|member| i64::from(set.remove(member)))
            .sum())
    })?;
    out.int(removed.unwrap_or(0));
    Ok(())
}

fn smembers<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let set = view.read::<Set>(argv[1])?;
    out.set(set.map_or(0, Set::len));
    for (member, ()) in set.into_iter().flat_map(Set::iter) {
        out.charge(ELEMENT)?;
        out.bulk(member);
    }
    Ok(())
}

fn sismember<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let is_member = view
        .read::<Set>(argv[1])?
        .is_some_and(|set| set.contains(argv[2]));
    out.int(i64::from(is_member));
    Ok(())
}

fn smismember<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let set = view.read::<Set>(argv[1])?;
    out.array(argv.len() - 2);
    for member in &argv[2..] {
        out.charge(LOOKUP)?;
        out.int(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

fn scard<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.int(view.read::<Set>(argv[1])?.map_or(0, Set::len) as i64);
    Ok(())
}

fn spop<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    match argv[2..] {
        [] => {
            let popped = view.update::<Set, _>(argv[1], Missing::Skip, |set| {
                let member = set
                    .at(fastrand::usize(..set.len()))
                    .map(|(member, ())| member.clone());
                if let Some(member) = &member {
                    set.remove(member);
                }
                Ok(member)
            })?;
            out.bulk_or_null(popped.flatten().as_deref());
        }
        [text] => {
            let count = super::arguments::count(text)?;
            let popped = view.update::<Set, _>(argv[1], Missing::Skip, |set| {
                // Drawn, found, copied and removed.
                out.charge(3 * lookups(count.min(set.len())))?;
                let chosen = random::distinct(set.len(), count);
                let members: Vec<Blob> = chosen
                    .filter_map(|at| set.at(at).map(|(member, ())| member.clone()))
                    .collect();
                for member in &members {
                    set.remove(member);
                }
                Ok(members)
            })?;
            let popped = popped.unwrap_or_default();
            out.set(popped.len());
            for member in &popped {
                out.charge(ELEMENT)?;
                out.bulk(member);
            }
        }
        _ => return Err(StoreError::Syntax),
    }
    Ok(())
}

fn srandmember<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    match argv[2..] {
        [] => {
            let member = view
                .read::<Set>(argv[1])?
                .and_then(|set| set.at(fastrand::usize(..set.len())))
                .map(|(member, ())| member.as_slice());
            out.bulk_or_null(member);
        }
        [text] => {
            let count = random::count(text)?;
            let Some(set) = view.read::<Set>(argv[1])? else {
                out.array(0);
                return Ok(());
            };
            let chosen = random::choose(set.len(), count, out)?;
            out.array(chosen.len());
            for (member, ()) in chosen.filter_map(|at| set.at(at)) {
                out.charge(LOOKUP)?;
                out.bulk(member);
            }
        }
        _ => return Err(StoreError::Syntax),
    }
    Ok(())
}

fn smove<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let [source, destination, member] = [argv[1], argv[2], argv[3]];
    let Some(set) = view.read::<Set>(source)? else {
        out.int(0);
        return Ok(());
    };
    let is_member = set.contains(member);
    view.read::<Set>(destination)?;
    if is_member && source != destination {
        view.charge(2 * LOOKUP)?;
        view.update::<Set, _>(source, Missing::Skip, |set| Ok(set.remove(member)))?;
        view.update::<Set, _>(destination, Missing::Create, |set| Ok(set.insert(member)))?;
    }
    out.int(i64::from(is_member));
    Ok(())
}

fn sscan<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let cursor = scan::cursor(argv[2])?;
    let Some(set) = view.read::<Set>(argv[1])? else {
        scan::tell_nothing(out);
        return Ok(());
    };
    let options = ScanOptions::parse(cursor, &argv[3..], Scanned::Set)?;
    let mut found = Vec::new();
    let next = scan::in_slices(&options, out, |cursor, count| {
        set.scan(cursor, count, |member, ()| found.push(member))
    })?;
    let mut shown = Vec::new();
    for member in found {
        if options.matches(member, out)? {
            shown.push(member);
        }
    }
    out.array(2);
    out.bulk(itoa::Buffer::new().format(next).as_bytes());
    tell_all(shown, out)
}

/// Stores a set and replies its size; an empty one removes the key.
pub(super) fn store<V: View>(view: &mut V, key: &[u8], set: Set, out: Out<'_>) -> Answer {
    let len = set.len();
    view.put(key, set.into(), Deadline::NEVER)?;
    out.int(len as i64);
    Ok(())
}
