//! Reads RESP written by a server or the runtime: token by token, or as a tree.

use crate::resp::reader::Reader;
pub use crate::resp::reader::Token;

/// The tokens of a reply, in order. The iterator ends early at bytes that are not RESP, and at
/// attributes, which hosts of functions never write.
pub struct Tokens<'a> {
    reader: Reader<'a>,
}

impl<'a> Tokens<'a> {
    /// Creates an iterator over the tokens of `reply`.
    pub const fn new(reply: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(reply),
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.reader.token().ok().flatten()?;
        (!matches!(token, Token::Attribute(_))).then_some(token)
    }
}

/// A reply as a tree. Only for replies of the server itself, which are not deep.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree<'a> {
    /// Anything but an aggregate.
    Leaf(Token<'a>),
    /// An array, a set, or the keys and values of a map in turn.
    List(Vec<Tree<'a>>),
}

impl<'a> Tree<'a> {
    /// Deeper than any reply read this way.
    const DEPTH_MAX: usize = 16;

    /// Reads one whole reply; `None` if it is cut short, malformed or too deep.
    pub fn read(reply: &'a [u8]) -> Option<Self> {
        Self::next(&mut Tokens::new(reply), Self::DEPTH_MAX)
    }

    fn next(tokens: &mut Tokens<'a>, depth: usize) -> Option<Self> {
        let token = tokens.next()?;
        let len = match token {
            Token::Array(len) | Token::Set(len) | Token::Push(len) => len,
            Token::Map(pairs) => pairs.checked_mul(2)?,
            Token::Attribute(_) => return None,
            leaf => return Some(Self::Leaf(leaf)),
        };
        let depth = depth.checked_sub(1)?;
        (0..len)
            .map(|_| Self::next(tokens, depth))
            .collect::<Option<_>>()
            .map(Self::List)
    }

    /// Returns the elements of an aggregate; none for a leaf.
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(elements) => elements,
            Self::Leaf(_) => &[],
        }
    }

    /// Returns the bytes of a status line or a bulk string.
    pub fn text(&self) -> Option<&'a [u8]> {
        match self {
            Self::Leaf(Token::Simple(text) | Token::Bulk(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns the value of an integer.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Leaf(Token::Int(value)) => Some(*value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Token, Tokens, Tree};

    #[test]
    fn every_token_is_read() {
        let reply = b"*9\r\n+OK\r\n-ERR no\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n%1\r\n#t\r\n,0.5\r\n=7\r\ntxt:abc\r\n(12\r\n_\r\n";
        let tokens: Vec<_> = Tokens::new(reply).collect();
        assert_eq!(
            tokens,
            [
                Token::Array(9),
                Token::Simple(b"OK"),
                Token::Error(b"ERR no"),
                Token::Int(-7),
                Token::Bulk(b"a\r\n"),
                Token::Null,
                Token::Map(1),
                Token::Bool(true),
                Token::Double(0.5),
                Token::Verbatim(*b"txt", b"abc"),
                Token::BigNumber(b"12"),
                Token::Null,
            ]
        );
    }

    #[test]
    fn what_is_cut_short_ends() {
        let reply = b"*2\r\n$3\r\nabc\r\n:1\r\n";
        for end in 0..reply.len() {
            assert_eq!(Tree::read(&reply[..end]), None, "{end}");
        }
        let whole = Tree::read(reply).expect("it is whole");
        assert_eq!(whole.list()[0].text(), Some(&b"abc"[..]));
        assert_eq!(whole.list()[1].int(), Some(1));
        assert_eq!(Tree::read(&b"*1\r\n".repeat(100)), None, "too deep");
        assert_eq!(Tree::read(b"$99999999999999999999\r\n"), None);
    }
}
