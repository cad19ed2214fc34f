//! Pops that wait: `BLPOP`, `BZPOPMIN` and the like.

use std::time::Duration;

use ferrite_protocol::resp::ReplyWriter;

use super::arguments::{counted_keys, end, pop_count, timeout};
use super::spec::{Answer, Argv, BLOCKING, FAST, Keys, MOVABLEKEYS, Out, WRITE, commands};
use super::zsets::low_or_high;
use crate::blocking::{BlockedRequest, Wish};
use crate::error::StoreError;
use crate::execution::view::View;
use crate::value::blob::Blob;
use crate::value::list::End;

const BEFORE_TIMEOUT: Keys = Keys::Positions {
    first: 1,
    last: -2,
    step: 1,
};

commands! {
    "blpop", -3, WRITE | BLOCKING, BEFORE_TIMEOUT => blpop,
        "list", "key [key ...] timeout",
        "Takes from the head of the first list that has any, or waits.";
    "brpop", -3, WRITE | BLOCKING, BEFORE_TIMEOUT => brpop,
        "list", "key [key ...] timeout",
        "Takes from the end of the first list that has any, or waits.";
    "blmove", 6, WRITE | BLOCKING, Keys::TWO => blmove,
        "list", "source destination LEFT|RIGHT LEFT|RIGHT timeout",
        "Moves an element from one list to another, or waits.";
    "brpoplpush", 4, WRITE | BLOCKING, Keys::TWO => brpoplpush,
        "list", "source destination timeout",
        "Moves the last element of a list to the head of another, or waits.";
    "blmpop", -5, WRITE | BLOCKING | MOVABLEKEYS, Keys::Counted { count: 2, also: 0 } => blmpop,
        "list", "timeout numkeys key [key ...] LEFT|RIGHT [COUNT count]",
        "Takes from the first list that has any, or waits.";
    "bzpopmin", -3, WRITE | BLOCKING | FAST, BEFORE_TIMEOUT => bzpopmin,
        "sorted-set", "key [key ...] timeout",
        "Takes the member of the lowest score of the first sorted set that has any, or waits.";
    "bzpopmax", -3, WRITE | BLOCKING | FAST, BEFORE_TIMEOUT => bzpopmax,
        "sorted-set", "key [key ...] timeout",
        "Takes the member of the highest score of the first sorted set that has any, or waits.";
    "bzmpop", -5, WRITE | BLOCKING | MOVABLEKEYS, Keys::Counted { count: 2, also: 0 } => bzmpop,
        "sorted-set", "timeout numkeys key [key ...] MIN|MAX [COUNT count]",
        "Takes from the first sorted set that has any, or waits.";
}

fn pop<V: View>(view: &mut V, argv: Argv<'_>, wish: Wish, out: Out<'_>) -> Answer {
    let last = argv.len() - 1;
    let timeout = timeout(view, argv[last])?;
    run(view, &argv[1..last], wish, timeout, out)
}

/// Runs a blocking command: takes an element, waits for one, or replies that there is none.
fn run<V: View>(
    view: &mut V,
    keys: &[&[u8]],
    wish: Wish,
    timeout: Option<Duration>,
    out: &mut dyn ReplyWriter,
) -> Result<(), StoreError> {
    for key in keys {
        if let Some(served) = wish.take(view, key)? {
            served.write(out);
            return Ok(());
        }
    }
    let wait = BlockedRequest {
        database: view.database(),
        keys: keys.iter().map(|key| Blob::new(key)).collect(),
        wish,
        timeout,
    };
    if let Some(wait) = view.block(wait) {
        wait.wish.refuse(out);
    }
    Ok(())
}

fn blpop<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    pop(view, argv, Wish::Pop(End::Left), out)
}

fn brpop<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    pop(view, argv, Wish::Pop(End::Right), out)
}

fn bzpopmin<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    pop(view, argv, Wish::PopScored(End::Left), out)
}

fn bzpopmax<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    pop(view, argv, Wish::PopScored(End::Right), out)
}

fn blmove<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (from, to) = (end(argv[3])?, end(argv[4])?);
    let timeout = timeout(view, argv[5])?;
    let wish = Wish::Move {
        from,
        to,
        destination: Blob::new(argv[2]),
    };
    run(view, &argv[1..2], wish, timeout, out)
}

fn brpoplpush<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let timeout = timeout(view, argv[3])?;
    let destination = Blob::new(argv[2]);
    let wish = Wish::Move {
        from: End::Right,
        to: End::Left,
        destination,
    };
    run(view, &argv[1..2], wish, timeout, out)
}

fn blmpop<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (keys, rest) = counted_keys(argv, 2)?;
    let wish = Wish::PopSome(end(rest[0])?, pop_count(&rest[1..])?);
    let timeout = timeout(view, argv[1])?;
    run(view, keys, wish, timeout, out)
}

fn bzmpop<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let (keys, rest) = counted_keys(argv, 2)?;
    let wish = Wish::PopSomeScored(low_or_high(rest[0])?, pop_count(&rest[1..])?);
    let timeout = timeout(view, argv[1])?;
    run(view, keys, wish, timeout, out)
}
