//! Lists.

pub(crate) mod search;

use super::arguments::{count, counted_keys, end, index_range, indexes, pop_count, symmetric};
use super::spec::{
    Answer, Argv, BLIND, DENYOOM, FAST, Keys, MOVABLEKEYS, Out, READONLY, WRITE, commands,
};
use crate::blocking::Wish;
use crate::commands::arguments::integer;
use crate::commands::keys::tell_all;
use crate::error::StoreError;
use crate::execution::pop::{move_element, pop_one, pop_some};
use crate::execution::view::{Missing, View};
use crate::value::blob::Blob;
use crate::value::list::{End, List};
use ferrite_protocol::budget::{ELEMENT, bytes, elements, lookups};
use ferrite_protocol::resp::ReplyWriter;

commands! {
    "lpush", -3, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => lpush,
        "list", "key element [element ...]",
        "Adds to the head of a list.";
    "rpush", -3, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => rpush,
        "list", "key element [element ...]",
        "Adds to the end of a list.";
    "lpushx", -3, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => lpushx,
        "list", "key element [element ...]",
        "Adds to the head of a list that is there.";
    "rpushx", -3, WRITE | DENYOOM | FAST | BLIND, Keys::FIRST => rpushx,
        "list", "key element [element ...]",
        "Adds to the end of a list that is there.";
    "lpop", -2, WRITE | FAST, Keys::FIRST => lpop,
        "list", "key [count]",
        "Takes from the head of a list.";
    "rpop", -2, WRITE | FAST, Keys::FIRST => rpop,
        "list", "key [count]",
        "Takes from the end of a list.";
    "llen", 2, READONLY | FAST, Keys::FIRST => llen,
        "list", "key",
        "Counts the elements of a list.";
    "lindex", 3, READONLY, Keys::FIRST => lindex,
        "list", "key index",
        "Returns an element of a list.";
    "lset", 4, WRITE | DENYOOM | BLIND, Keys::FIRST => lset,
        "list", "key index element",
        "Writes over an element of a list.";
    "lrange", 4, READONLY, Keys::FIRST => lrange,
        "list", "key start stop",
        "Returns a part of a list.";
    "ltrim", 4, WRITE | BLIND, Keys::FIRST => ltrim,
        "list", "key start stop",
        "Removes all but a part of a list.";
    "lrem", 4, WRITE | BLIND, Keys::FIRST => lrem,
        "list", "key count element",
        "Removes elements of a list that equal one.";
    "linsert", 5, WRITE | DENYOOM | BLIND, Keys::FIRST => linsert,
        "list", "key BEFORE|AFTER pivot element",
        "Adds an element beside another one.";
    "lmove", 5, WRITE | DENYOOM, Keys::TWO => lmove,
        "list", "source destination LEFT|RIGHT LEFT|RIGHT",
        "Moves an element from one list to another.";
    "rpoplpush", 3, WRITE | DENYOOM, Keys::TWO => rpoplpush,
        "list", "source destination",
        "Moves the last element of a list to the head of another.";
    "lmpop", -4, WRITE | MOVABLEKEYS, Keys::Counted { count: 1, also: 0 } => lmpop,
        "list", "numkeys key [key ...] LEFT|RIGHT [COUNT count]",
        "Takes from the first list that has any.";
}

fn push<V: View>(view: &mut V, argv: Argv<'_>, end: End, missing: Missing, out: Out<'_>) -> Answer {
    view.charge(lookups(argv.len() - 2))?;
    let len = view.update::<List, _>(argv[1], missing, |list| {
        argv[2..]
            .iter()
            .for_each(|element| list.push(end, Blob::new(element)));
        Ok(list.len())
    })?;
    out.int(len.unwrap_or(0) as i64);
    Ok(())
}

fn lpush<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    push(view, argv, End::Left, Missing::Create, out)
}

fn rpush<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    push(view, argv, End::Right, Missing::Create, out)
}

fn lpushx<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    push(view, argv, End::Left, Missing::Skip, out)
}

fn rpushx<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    push(view, argv, End::Right, Missing::Skip, out)
}

fn pop<V: View>(view: &mut V, argv: Argv<'_>, name: &str, end: End, out: Out<'_>) -> Answer {
    match argv[2..] {
        [] => {
            out.bulk_or_null(pop_one(view, argv[1], end)?.as_deref());
        }
        [text] => {
            let wanted = count(text)?;
            let popped = if wanted == 0 {
                view.read::<List>(argv[1])?.map(|_| Vec::new())
            } else {
                pop_some(view, argv[1], end, wanted)?
            };
            match popped {
                Some(elements) => tell_all(&elements, out)?,
                None => out.null_array(),
            }
        }
        _ => return Err(StoreError::Arity(name.into())),
    }
    Ok(())
}

fn lpop<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    pop(view, argv, "lpop", End::Left, out)
}

fn rpop<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    pop(view, argv, "rpop", End::Right, out)
}

fn llen<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    out.int(view.read::<List>(argv[1])?.map_or(0, List::len) as i64);
    Ok(())
}

/// The position of an index, if it is inside the list.
fn position(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 {
        index.checked_add(len as i64)?
    } else {
        index
    };
    usize::try_from(index).ok().filter(|index| *index < len)
}

fn lindex<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let Some(list) = view.read::<List>(argv[1])? else {
        out.null();
        return Ok(());
    };
    let at = position(integer(argv[2])?, list.len());
    out.bulk_or_null(at.and_then(|at| list.get(at)).map(Blob::as_slice));
    Ok(())
}

fn lset<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    view.update::<List, _>(argv[1], Missing::Skip, |list| {
        let at = position(integer(argv[2])?, list.len()).ok_or(StoreError::IndexOutOfRange)?;
        list.set(at, Blob::new(argv[3]));
        Ok(())
    })?
    .ok_or(StoreError::NoSuchKey)?;
    out.ok();
    Ok(())
}

fn lrange<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (start, stop) = indexes(argv[2], argv[3])?;
    let Some(list) = view.read::<List>(argv[1])? else {
        out.array(0);
        return Ok(());
    };
    let (start, end) = index_range(start, stop, list.len());
    tell_all(list.range(start, end), out)
}

fn ltrim<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (start, stop) = indexes(argv[2], argv[3])?;
    view.update::<List, _>(argv[1], Missing::Skip, |list| {
        let (start, end) = index_range(start, stop, list.len());
        let kept = end.saturating_sub(start);
        // Either what goes is removed one by one, or what stays is copied.
        out.charge(lookups(list.len() - kept) + elements(kept.min(list.len() / 2)))?;
        list.keep(start, end);
        Ok(())
    })?;
    out.ok();
    Ok(())
}

/// Compares an element with one that is looked for.
pub(super) fn is_same(
    element: &Blob,
    wanted: &[u8],
    out: &mut dyn ReplyWriter,
) -> Result<bool, StoreError> {
    let same_len = element.len() == wanted.len();
    let compared = if same_len { wanted.len() } else { 0 };
    out.charge(ELEMENT + bytes(compared as u64))?;
    Ok(same_len && element.as_slice() == wanted)
}

fn lrem<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let wanted = symmetric(argv[2])?;
    let most = if wanted == 0 {
        usize::MAX
    } else {
        wanted.unsigned_abs() as usize
    };
    let removed = view.update::<List, _>(argv[1], Missing::Skip, |list| {
        let mut found: Vec<usize> = Vec::new();
        let mut elements = list.iter().enumerate();
        while found.len() < most {
            let next = if wanted < 0 {
                elements.next_back()
            } else {
                elements.next()
            };
            let Some((at, element)) = next else { break };
            if is_same(element, argv[3], out)? {
                found.push(at);
            }
        }
        out.charge(lookups(found.len()))?;
        found.sort_unstable();
        list.remove_all(&found);
        Ok(found.len())
    })?;
    out.int(removed.unwrap_or(0) as i64);
    Ok(())
}

fn linsert<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let after = if argv[2].eq_ignore_ascii_case(b"after") {
        1
    } else if argv[2].eq_ignore_ascii_case(b"before") {
        0
    } else {
        return Err(StoreError::Syntax);
    };
    let len = view.update::<List, _>(argv[1], Missing::Skip, |list| {
        let mut pivot = None;
        for (at, element) in list.iter().enumerate() {
            if is_same(element, argv[3], out)? {
                pivot = Some(at);
                break;
            }
        }
        let Some(pivot) = pivot else {
            return Ok(-1);
        };
        list.insert(pivot + after, Blob::new(argv[4]));
        Ok(list.len() as i64)
    })?;
    out.int(len.unwrap_or(0));
    Ok(())
}

fn lmove<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (from, to) = (end(argv[3])?, end(argv[4])?);
    let moved = move_element(view, argv[1], argv[2], from, to)?;
    out.bulk_or_null(moved.as_deref());
    Ok(())
}

fn rpoplpush<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let moved = move_element(view, argv[1], argv[2], End::Right, End::Left)?;
    out.bulk_or_null(moved.as_deref());
    Ok(())
}

fn lmpop<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (keys, rest) = counted_keys(argv, 1)?;
    let wish = Wish::PopSome(end(rest[0])?, pop_count(&rest[1..])?);
    for key in keys {
        if let Some(served) = wish.take(view, key)? {
            served.write(out);
            return Ok(());
        }
    }
    out.null_array();
    Ok(())
}
