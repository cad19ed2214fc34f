//! Takes elements off lists and sorted sets, for commands and for blocked clients.

use crate::blocking::{Served, Wish};
use crate::error::StoreError;
use crate::execution::view::{Missing, View};
use crate::value::blob::Blob;
use crate::value::list::{End, List};
use crate::value::zset::Zset;
use ferrite_protocol::budget::lookups;

impl Wish {
    /// Tries to serve this wish from one key.
    pub(crate) fn take<V: View>(
        &self,
        view: &mut V,
        key: &[u8],
    ) -> Result<Option<Served>, StoreError> {
        let name = || Blob::new(key);
        Ok(match self {
            Self::Pop(end) => pop_one(view, key, *end)?.map(|element| Served::Element {
                key: name(),
                element,
            }),
            Self::PopSome(end, count) => {
                pop_some(view, key, *end, *count)?.map(|elements| Served::Elements {
                    key: name(),
                    elements,
                })
            }
            Self::Move {
                from,
                to,
                destination,
            } => move_element(view, key, destination, *from, *to)?.map(Served::Moved),
            Self::PopScored(end) => pop_scored(view, key, *end, 1)?
                .and_then(|mut members| members.pop())
                .map(|(member, score)| Served::Member {
                    key: name(),
                    member,
                    score,
                }),
            Self::PopSomeScored(end, count) => {
                pop_scored(view, key, *end, *count)?.map(|members| Served::Members {
                    key: name(),
                    members,
                })
            }
        })
    }

    /// Returns true if the key's value can serve this wish.
    pub(crate) fn can_take<V: View>(&self, view: &mut V, key: &[u8]) -> bool {
        match self {
            Self::Pop(_) | Self::PopSome(..) | Self::Move { .. } => {
                matches!(view.read::<List>(key), Ok(Some(_)))
            }
            Self::PopScored(_) | Self::PopSomeScored(..) => {
                matches!(view.read::<Zset>(key), Ok(Some(_)))
            }
        }
    }
}

/// Takes up to `count` elements from one end; `None` if the key does not exist.
pub(crate) fn pop_some<V: View>(
    view: &mut V,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<Option<Vec<Blob>>, StoreError> {
    let len = view.read::<List>(key)?.map_or(0, List::len);
    view.charge(lookups(count.min(len)))?;
    view.update::<List, _>(key, Missing::Skip, |list| {
        let count = count.min(list.len());
        if count == list.len() {
            let mut elements: Vec<Blob> = list.iter().cloned().collect();
            if end == End::Right {
                elements.reverse();
            }
            list.keep(0, 0);
            return Ok(elements);
        }
        Ok((0..count).filter_map(|_| list.pop(end)).collect())
    })
}

/// Takes one element from one end; `None` if the key does not exist.
pub(crate) fn pop_one<V: View>(
    view: &mut V,
    key: &[u8],
    end: End,
) -> Result<Option<Blob>, StoreError> {
    Ok(view
        .update::<List, _>(key, Missing::Skip, |list| Ok(list.pop(end)))?
        .flatten())
}

/// Moves an element from one list to another; `None` if there is none.
pub(crate) fn move_element<V: View>(
    view: &mut V,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
) -> Result<Option<Blob>, StoreError> {
    if view.read::<List>(source)?.is_none() {
        return Ok(None);
    }
    view.read::<List>(destination)?;
    if source == destination {
        // In one step, so that a list of one element is not removed in between.
        let moved = view.update::<List, _>(source, Missing::Skip, |list| {
            let element = list.pop(from);
            element
                .iter()
                .for_each(|element| list.push(to, element.clone()));
            Ok(element)
        })?;
        return Ok(moved.flatten());
    }
    let Some(element) = pop_one(view, source, from)? else {
        return Ok(None);
    };
    view.count_written(element.len())?;
    view.update::<List, _>(destination, Missing::Create, |list| {
        list.push(to, element.clone());
        Ok(())
    })?;
    Ok(Some(element))
}

/// Takes up to `count` members from the low or the high end; `None` if the key does not exist.
pub(crate) fn pop_scored<V: View>(
    view: &mut V,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<Option<Vec<(Blob, f64)>>, StoreError> {
    let len = view.read::<Zset>(key)?.map_or(0, Zset::len);
    view.charge(2 * lookups(count.min(len)))?;
    view.update::<Zset, _>(key, Missing::Skip, |zset| {
        let count = count.min(zset.len());
        let own = |(member, score): (&Blob, f64)| (member.clone(), score);
        let members: Vec<_> = match end {
            End::Left => zset.range(0, count).map(own).collect(),
            End::Right => zset
                .range(zset.len() - count, zset.len())
                .rev()
                .map(own)
                .collect(),
        };
        for (member, _) in &members {
            zset.remove(member);
        }
        Ok(members)
    })
}
