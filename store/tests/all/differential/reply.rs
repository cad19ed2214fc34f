//! Replies as trees, for comparison.

use std::fmt;

/// A RESP reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reply {
    /// A simple or bulk string, a number, an error, a null…: its mark and its bytes.
    Leaf(u8, Vec<u8>),
    /// An array, set, map or push: its mark and its elements; a map alternates keys and values.
    Node(u8, Vec<Reply>),
}

impl Reply {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (reply, rest) = Self::parse_one(bytes)?;
        rest.is_empty().then_some(reply)
    }

    fn parse_one(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let (mark, line, rest) = (bytes[0], &bytes[1..end], &bytes[end + 2..]);
        let number: i64 = std::str::from_utf8(line)
            .ok()
            .and_then(|l| l.parse().ok())
            .unwrap_or(-1);
        match mark {
            b'$' | b'=' if number >= 0 => {
                let (content, rest) = rest.split_at_checked(number as usize)?;
                Some((
                    Self::Leaf(mark, content.to_vec()),
                    rest.strip_prefix(b"\r\n")?,
                ))
            }
            b'*' | b'~' | b'>' | b'%' if number >= 0 => {
                let count = if mark == b'%' { number * 2 } else { number };
                let mut rest = rest;
                let mut elements = Vec::new();
                for _ in 0..count {
                    let (element, more) = Self::parse_one(rest)?;
                    elements.push(element);
                    rest = more;
                }
                Some((Self::Node(mark, elements), rest))
            }
            b'$' | b'*' => Some((Self::Leaf(mark, b"nil".to_vec()), rest)),
            _ => Some((Self::Leaf(mark, line.to_vec()), rest)),
        }
    }

    pub(super) fn is_error(&self) -> bool {
        matches!(self, Self::Leaf(b'-', _))
    }

    /// The same with the elements of the outermost array, set or map in a fixed order; groups of
    /// `width` elements stay together.
    pub(super) fn sorted(&self, width: usize) -> Self {
        match self {
            Self::Node(mark, elements) => {
                let mut groups: Vec<&[Self]> = elements.chunks(width).collect();
                groups.sort();
                Self::Node(*mark, groups.concat())
            }
            leaf => leaf.clone(),
        }
    }

    /// The mark, and the number of elements or of bytes.
    pub(super) fn shape(&self) -> (u8, usize) {
        match self {
            Self::Leaf(mark, bytes) => (*mark, bytes.len()),
            Self::Node(mark, elements) => (*mark, elements.len()),
        }
    }

    pub(super) fn elements(&self) -> &[Self] {
        match self {
            Self::Leaf(..) => &[],
            Self::Node(_, elements) => elements,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Leaf(_, bytes) => bytes,
            Self::Node(..) => &[],
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf(mark, bytes) => {
                write!(formatter, "{}{}", char::from(*mark), bytes.escape_ascii())
            }
            Self::Node(mark, elements) => {
                write!(formatter, "{}[", char::from(*mark))?;
                for (at, element) in elements.iter().enumerate() {
                    write!(formatter, "{}{element}", if at > 0 { ", " } else { "" })?;
                }
                write!(formatter, "]")
            }
        }
    }
}
