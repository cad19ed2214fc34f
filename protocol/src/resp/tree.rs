//! Reads RESP that the server or the runtime wrote: one token after the other, or as a tree.

/// One piece of a reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// A status line.
    Simple(&'a [u8]),
    /// An error line.
    Error(&'a [u8]),
    /// An integer.
    Int(i64),
    /// A bulk string.
    Bulk(&'a [u8]),
    /// Null, or the null bulk string.
    Null,
    /// The null array of RESP2.
    NullArray,
    /// The head of an array; this many elements follow.
    Array(usize),
    /// The head of a map; this many pairs follow.
    Map(usize),
    /// The head of a set; this many elements follow.
    Set(usize),
    /// A boolean.
    Bool(bool),
    /// A double.
    Double(f64),
    /// An integer of any size, as decimal digits.
    BigNumber(&'a [u8]),
    /// Text, with its three-letter format.
    Verbatim([u8; 3], &'a [u8]),
}

/// The tokens of a reply, in order; ends early where it is no RESP.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// Reads the tokens of `reply`.
    pub const fn new(reply: &'a [u8]) -> Self {
        Self { rest: reply }
    }

    fn line(&mut self) -> Option<(u8, &'a [u8])> {
        let (&kind, rest) = self.rest.split_first()?;
        let end = rest.iter().position(|&byte| byte == b'\r')?;
        self.rest = rest.get(end + 2..)?;
        Some((kind, &rest[..end]))
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.rest.get(..len)?;
        self.rest = self.rest.get(len.checked_add(2)?..)?;
        Some(bytes)
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (kind, line) = self.line()?;
        Some(match kind {
            b'+' => Token::Simple(line),
            b'-' => Token::Error(line),
            b':' => Token::Int(number(line)?),
            b'$' if line == b"-1" => Token::Null,
            b'$' => Token::Bulk(self.bytes(number(line)?)?),
            b'*' if line == b"-1" => Token::NullArray,
            b'*' | b'>' => Token::Array(number(line)?),
            b'%' => Token::Map(number(line)?),
            b'~' => Token::Set(number(line)?),
            b'_' => Token::Null,
            b'#' => Token::Bool(line == b"t"),
            b',' => Token::Double(number(line)?),
            b'(' => Token::BigNumber(line),
            b'=' => {
                let text = self.bytes(number(line)?)?;
                let (format, text) = text.split_first_chunk::<4>()?;
                Token::Verbatim([format[0], format[1], format[2]], text)
            }
            _ => return None,
        })
    }
}

/// A reply as a tree. Only for what the server itself says, which is not deep.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree<'a> {
    /// Anything but an aggregate.
    Leaf(Token<'a>),
    /// An array, a set, or the keys and values of a map in turn.
    List(Vec<Tree<'a>>),
}

impl<'a> Tree<'a> {
    /// Deeper than any reply that is read this way.
    const DEPTH_MAX: usize = 16;

    /// Reads one whole reply; `None` where it is cut short, malformed or too deep.
    pub fn read(reply: &'a [u8]) -> Option<Self> {
        Self::next(&mut Tokens::new(reply), Self::DEPTH_MAX)
    }

    fn next(tokens: &mut Tokens<'a>, depth: usize) -> Option<Self> {
        let token = tokens.next()?;
        let len = match token {
            Token::Array(len) | Token::Set(len) => len,
            Token::Map(pairs) => pairs.checked_mul(2)?,
            leaf => return Some(Self::Leaf(leaf)),
        };
        let depth = depth.checked_sub(1)?;
        (0..len)
            .map(|_| Self::next(tokens, depth))
            .collect::<Option<_>>()
            .map(Self::List)
    }

    /// The elements of an aggregate; none for a leaf.
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(elements) => elements,
            Self::Leaf(_) => &[],
        }
    }

    /// The bytes of a status line or a bulk string.
    pub fn text(&self) -> Option<&'a [u8]> {
        match self {
            Self::Leaf(Token::Simple(text) | Token::Bulk(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of an integer.
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
