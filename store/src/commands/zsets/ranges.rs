//! Sorted sets: ranges by rank, score and lexical order.

use crate::commands::arguments::integer;
use crate::commands::arguments::{index_range, indexes};
use crate::commands::spec::{
    Answer, Argv, BLIND, DENYOOM, FAST, Keys, Out, READONLY, WRITE, commands,
};
use crate::commands::zsets::bounds::{lexical_range, score_range};
use crate::commands::zsets::tell_scored;
use crate::error::StoreError;
use crate::execution::view::{Missing, View};
use crate::value::deadline::Deadline;
use crate::value::zset::{Members, Zset};
use ferrite_protocol::budget::{ELEMENT, LOOKUP, lookups};

commands! {
    "zrange", -4, READONLY, Keys::FIRST => zrange,
        "sorted-set", "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        "Returns members by place, score or name.";
    "zrangestore", -5, WRITE | DENYOOM, Keys::TWO => zrangestore,
        "sorted-set", "dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]",
        "Stores members by place, score or name.";
    "zrevrange", -4, READONLY, Keys::FIRST => zrevrange,
        "sorted-set", "key start stop [WITHSCORES]",
        "Returns members by place, from the highest score.";
    "zrangebyscore", -4, READONLY, Keys::FIRST => zrangebyscore,
        "sorted-set", "key min max [WITHSCORES] [LIMIT offset count]",
        "Returns members by score.";
    "zrevrangebyscore", -4, READONLY, Keys::FIRST => zrevrangebyscore,
        "sorted-set", "key max min [WITHSCORES] [LIMIT offset count]",
        "Returns members by score, from the highest.";
    "zrangebylex", -4, READONLY, Keys::FIRST => zrangebylex,
        "sorted-set", "key min max [LIMIT offset count]",
        "Returns members by name, where scores are equal.";
    "zrevrangebylex", -4, READONLY, Keys::FIRST => zrevrangebylex,
        "sorted-set", "key max min [LIMIT offset count]",
        "Returns members by name backwards, where scores are equal.";
    "zcount", 4, READONLY | FAST, Keys::FIRST => zcount,
        "sorted-set", "key min max",
        "Counts members by score.";
    "zlexcount", 4, READONLY | FAST, Keys::FIRST => zlexcount,
        "sorted-set", "key min max",
        "Counts members by name, where scores are equal.";
    "zremrangebyrank", 4, WRITE | BLIND, Keys::FIRST => zremrangebyrank,
        "sorted-set", "key start stop",
        "Removes members by place.";
    "zremrangebyscore", 4, WRITE | BLIND, Keys::FIRST => zremrangebyscore,
        "sorted-set", "key min max",
        "Removes members by score.";
    "zremrangebylex", 4, WRITE | BLIND, Keys::FIRST => zremrangebylex,
        "sorted-set", "key min max",
        "Removes members by name, where scores are equal.";
}

/// Meaning of a range's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// Maps a sorted set to the first and past-the-last position of a range.
type Resolve<'a> = Box<dyn Fn(&Zset) -> (usize, usize) + 'a>;

/// A selection of members of a sorted set, in an order.
struct Selection<'a> {
    by: By,
    reversed: bool,
    /// The bounds as typed.
    start: &'a [u8],
    stop: &'a [u8],
    skip: i64,
    /// Most members; negative for all.
    most: i64,
    with_scores: bool,
}

impl<'a> Selection<'a> {
    /// Reads bounds and options. Options may set `by` and `reversed` if these are `None`.
    fn parse(
        argv: &'a [&'a [u8]],
        by: Option<By>,
        reversed: Option<bool>,
        storing: bool,
    ) -> Result<Self, StoreError> {
        let mut selection = Self {
            by: by.unwrap_or(By::Rank),
            reversed: reversed.unwrap_or(false),
            start: argv[0],
            stop: argv[1],
            skip: 0,
            most: -1,
            with_scores: false,
        };
        let mut limited = false;
        let mut options = argv[2..].iter();
        while let Some(option) = options.next() {
            match option.to_ascii_lowercase().as_slice() {
                b"withscores" if !storing => selection.with_scores = true,
                b"limit" if options.len() >= 2 => {
                    let mut number = || integer(options.next().copied().unwrap_or_default());
                    selection.skip = number()?;
                    selection.most = number()?;
                    limited = true;
                }
                b"byscore" if by.is_none() => selection.by = By::Score,
                b"bylex" if by.is_none() => selection.by = By::Lex,
                b"rev" if reversed.is_none() => selection.reversed = true,
                _ => return Err(StoreError::Syntax),
            }
        }
        if limited && selection.most != -1 && selection.by == By::Rank {
            return Err(StoreError::Refused(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
                 BYLEX",
            ));
        }
        if selection.by == By::Rank {
            // What is left is a limit that does not limit; its offset has no effect either.
            selection.skip = 0;
        }
        if selection.with_scores && selection.by == By::Lex {
            return Err(StoreError::Refused(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        Ok(selection)
    }

    /// The range before `LIMIT`. Parses the bounds, so bad ones are an error even without the key.
    fn resolve(&self) -> Result<Resolve<'a>, StoreError> {
        let (low, high) = match self.reversed && self.by != By::Rank {
            true => (self.stop, self.start),
            false => (self.start, self.stop),
        };
        Ok(match self.by {
            By::Rank => {
                let (start, stop) = indexes(low, high)?;
                let reversed = self.reversed;
                Box::new(move |zset| {
                    let (start, end) = index_range(start, stop, zset.len());
                    if reversed {
                        (zset.len() - end, zset.len() - start)
                    } else {
                        (start, end)
                    }
                })
            }
            By::Score => Box::new(score_range(low, high)?),
            By::Lex => Box::new(lexical_range(low, high)?),
        })
    }

    /// The members of a range in the requested order.
    fn members<'z>(&self, zset: &'z Zset, (start, end): (usize, usize)) -> Wanted<'z> {
        let len = end.saturating_sub(start);
        let skip = usize::try_from(self.skip).unwrap_or(len).min(len);
        let most = usize::try_from(self.most).unwrap_or(len).min(len - skip);
        if self.reversed {
            Wanted {
                members: zset.range(end - skip - most, end - skip),
                reversed: true,
            }
        } else {
            Wanted {
                members: zset.range(start + skip, start + skip + most),
                reversed: false,
            }
        }
    }
}

struct Wanted<'z> {
    members: Members<'z>,
    reversed: bool,
}

impl<'z> Iterator for Wanted<'z> {
    type Item = (&'z crate::value::blob::Blob, f64);

    fn next(&mut self) -> Option<Self::Item> {
        if self.reversed {
            self.members.next_back()
        } else {
            self.members.next()
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.members.size_hint()
    }
}

impl ExactSizeIterator for Wanted<'_> {}

fn tell<V: View>(view: &mut V, key: &[u8], selection: &Selection<'_>, out: Out<'_>) -> Answer {
    let resolve = selection.resolve()?;
    let Some(zset) = view.read::<Zset>(key)? else {
        out.array(0);
        return Ok(());
    };
    let members = selection.members(zset, resolve(zset));
    if selection.with_scores {
        return tell_scored(members, out);
    }
    out.array(members.len());
    for (member, _) in members {
        out.charge(ELEMENT)?;
        out.bulk(member);
    }
    Ok(())
}

fn zrange<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell(
        view,
        argv[1],
        &Selection::parse(&argv[2..], None, None, false)?,
        out,
    )
}

fn zrevrange<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell(
        view,
        argv[1],
        &Selection::parse(&argv[2..], Some(By::Rank), Some(true), false)?,
        out,
    )
}

fn zrangebyscore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell(
        view,
        argv[1],
        &Selection::parse(&argv[2..], Some(By::Score), Some(false), false)?,
        out,
    )
}

fn zrevrangebyscore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell(
        view,
        argv[1],
        &Selection::parse(&argv[2..], Some(By::Score), Some(true), false)?,
        out,
    )
}

fn zrangebylex<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell(
        view,
        argv[1],
        &Selection::parse(&argv[2..], Some(By::Lex), Some(false), false)?,
        out,
    )
}

fn zrevrangebylex<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    tell(
        view,
        argv[1],
        &Selection::parse(&argv[2..], Some(By::Lex), Some(true), false)?,
        out,
    )
}

fn zrangestore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    let selection = Selection::parse(&argv[3..], None, None, true)?;
    let resolve = selection.resolve()?;
    let mut stored = Zset::default();
    if let Some(zset) = view.read::<Zset>(argv[2])? {
        for (member, score) in selection.members(zset, resolve(zset)) {
            out.charge(2 * LOOKUP)?;
            stored.insert(member, score);
        }
    }
    let len = stored.len();
    view.put(argv[1], stored.into(), Deadline::NEVER)?;
    out.int(len as i64);
    Ok(())
}

fn count<V: View>(view: &mut V, argv: Argv<'_>, by: By, out: Out<'_>) -> Answer {
    let resolve = Selection::parse(&argv[2..], Some(by), Some(false), true)?.resolve()?;
    let count = view.read::<Zset>(argv[1])?.map_or(0, |zset| {
        let (start, end) = resolve(zset);
        end.saturating_sub(start)
    });
    out.int(count as i64);
    Ok(())
}

fn zcount<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    count(view, argv, By::Score, out)
}

fn zlexcount<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    count(view, argv, By::Lex, out)
}

fn remove<V: View>(view: &mut V, argv: Argv<'_>, by: By, out: Out<'_>) -> Answer {
    let resolve = Selection::parse(&argv[2..], Some(by), Some(false), true)?.resolve()?;
    let removed = view.update::<Zset, _>(argv[1], Missing::Skip, |zset| {
        let (start, end) = resolve(zset);
        out.charge(2 * lookups(end - start))?;
        let members: Vec<_> = zset
            .range(start, end)
            .map(|(member, _)| member.clone())
            .collect();
        for member in &members {
            zset.remove(member);
        }
        Ok(members.len())
    })?;
    out.int(removed.unwrap_or(0) as i64);
    Ok(())
}

fn zremrangebyrank<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    remove(view, argv, By::Rank, out)
}

fn zremrangebyscore<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    remove(view, argv, By::Score, out)
}

fn zremrangebylex<V: View>(view: &mut V, argv: Argv<'_>, out: Out<'_>) -> Answer {
    remove(view, argv, By::Lex, out)
}
