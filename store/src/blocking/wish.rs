//! The request of a blocked client, and the reply once it is served.

use std::time::Duration;

use crate::error::StoreError;
use crate::value::blob::Blob;
use crate::value::list::End;
use ferrite_protocol::resp::ReplyWriter;

/// A blocking command that found nothing.
#[derive(Clone, Debug)]
pub(crate) struct BlockedRequest {
    pub(crate) database: u32,
    /// In the order to try them.
    pub(crate) keys: Vec<Blob>,
    pub(crate) wish: Wish,
    /// `None` waits for ever.
    pub(crate) timeout: Option<Duration>,
}

/// Action on the first key that holds something.
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

/// Elements taken for a client.
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
    /// The command without waiting that does the same, for the names of its events.
    pub(crate) fn as_request(&self) -> (&'static str, [&'static [u8]; 5]) {
        let end = |end: &End| -> &'static [u8] {
            match end {
                End::Left => b"left",
                End::Right => b"right",
            }
        };
        let none: &[u8] = b"";
        let popped = |name| (name, [none; 5]);
        match self {
            Self::Pop(End::Left) | Self::PopSome(End::Left, _) => popped("lpop"),
            Self::Pop(End::Right) | Self::PopSome(End::Right, _) => popped("rpop"),
            Self::PopScored(End::Left) | Self::PopSomeScored(End::Left, _) => popped("zpopmin"),
            Self::PopScored(End::Right) | Self::PopSomeScored(End::Right, _) => popped("zpopmax"),
            Self::Move { from, to, .. } => ("lmove", [none, none, none, end(from), end(to)]),
        }
    }

    /// Writes the reply of a client that may not wait.
    pub(crate) fn refuse(&self, out: &mut dyn ReplyWriter) {
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
