//! What a blocked client waits for, and the reply when it comes.

use std::time::Duration;

use crate::blob::Blob;
use crate::commands::{lists, zsets};
use crate::error::StoreError;
use crate::reply::ReplyWriter;
use crate::value::list::{End, List};
use crate::value::zset::Zset;
use crate::view::View;

/// A blocking command that found nothing.
#[derive(Clone, Debug)]
pub(crate) struct Await {
    pub(crate) database: u32,
    /// In the order in which they are looked at.
    pub(crate) keys: Vec<Blob>,
    pub(crate) wish: Wish,
    /// `None` waits for ever.
    pub(crate) timeout: Option<Duration>,
}

/// What to do with the first key that holds something.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// One element: `BLPOP`, `BRPOP`.
    Pop(End),
    /// Several elements: `BLMPOP`.
    PopSome(End, usize),
    /// One element, into another list: `BLMOVE`, `BRPOPLPUSH`.
    Move {
        from: End,
        to: End,
        destination: Blob,
    },
    /// One member with its score: `BZPOPMIN`, `BZPOPMAX`.
    PopScored(End),
    /// Several members with their scores: `BZMPOP`.
    PopSomeScored(End, usize),
}

/// What was taken for a client.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    Element {
        key: Blob,
        element: Blob,
    },
    Elements {
        key: Blob,
        elements: Vec<Blob>,
    },
    Moved(Blob),
    Member {
        key: Blob,
        member: Blob,
        score: f64,
    },
    Members {
        key: Blob,
        members: Vec<(Blob, f64)>,
    },
    Error(StoreError),
}

impl Wish {
    /// Tries to take what is wished for from one key.
    pub(crate) fn take<V: View>(
        &self,
        view: &mut V,
        key: &[u8],
    ) -> Result<Option<Served>, StoreError> {
        let name = || Blob::new(key);
        Ok(match self {
            Self::Pop(end) => lists::pop_one(view, key, *end)?.map(|element| Served::Element {
                key: name(),
                element,
            }),
            Self::PopSome(end, count) => {
                lists::pop_some(view, key, *end, *count)?.map(|elements| Served::Elements {
                    key: name(),
                    elements,
                })
            }
            Self::Move {
                from,
                to,
                destination,
            } => lists::move_element(view, key, destination, *from, *to)?.map(Served::Moved),
            Self::PopScored(end) => zsets::pop_some(view, key, *end, 1)?
                .and_then(|mut members| members.pop())
                .map(|(member, score)| Served::Member {
                    key: name(),
                    member,
                    score,
                }),
            Self::PopSomeScored(end, count) => {
                zsets::pop_some(view, key, *end, *count)?.map(|members| Served::Members {
                    key: name(),
                    members,
                })
            }
        })
    }

    /// Whether a key holds what can be taken for this wish.
    pub(super) fn can_take<V: View>(&self, view: &mut V, key: &[u8]) -> bool {
        match self {
            Self::Pop(_) | Self::PopSome(..) | Self::Move { .. } => {
                matches!(view.read::<List>(key), Ok(Some(_)))
            }
            Self::PopScored(_) | Self::PopSomeScored(..) => {
                matches!(view.read::<Zset>(key), Ok(Some(_)))
            }
        }
    }

    /// The reply of a client that may not wait.
    fn refuse(&self, out: &mut dyn ReplyWriter) {
        match self {
            Self::Move { .. } => out.null(),
            _ => out.null_array(),
        }
    }
}

impl Served {
    pub(crate) fn write(&self, out: &mut dyn ReplyWriter) {
        match self {
            Self::Element { key, element } => {
                out.array(2);
                out.bulk(key);
                out.bulk(element);
            }
            Self::Elements { key, elements } => {
                out.array(2);
                out.bulk(key);
                out.array(elements.len());
                elements.iter().for_each(|element| out.bulk(element));
            }
            Self::Moved(element) => out.bulk(element),
            Self::Member { key, member, score } => {
                out.array(3);
                out.bulk(key);
                out.bulk(member);
                out.double(*score);
            }
            Self::Members { key, members } => {
                out.array(2);
                out.bulk(key);
                out.array(members.len());
                for (member, score) in members {
                    out.array(2);
                    out.bulk(member);
                    out.double(*score);
                }
            }
            Self::Error(error) => out.error(&error.to_string()),
        }
    }
}

/// Runs a blocking command: takes what is there, or waits, or says that there is nothing.
pub(crate) fn run<V: View>(
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
    let wait = Await {
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
