//! Decodes RESP2, the reply format of the host's `call`, into [`Value`]s.

use alloc::string::String;
use alloc::vec::Vec;

use crate::value::Value;

/// Deepest nesting that is decoded. Replies of commands nest two or three levels deep; the bound
/// protects the stack.
const DEPTH_MAX: usize = 32;

/// Decodes one reply; `None` if the bytes are not exactly one.
pub(crate) fn decode(bytes: &[u8]) -> Option<Value> {
    let mut rest = bytes;
    let value = read(&mut rest, DEPTH_MAX)?;
    rest.is_empty().then_some(value)
}

fn read(rest: &mut &[u8], depth: usize) -> Option<Value> {
    let line = take_line(rest)?;
    let (&kind, text) = line.split_first()?;
    Some(match kind {
        b'+' => Value::Simple(String::from_utf8_lossy(text).into_owned()),
        b'-' => Value::Error(String::from_utf8_lossy(text).into_owned()),
        b':' => Value::Int(integer(text)?),
        b'$' => {
            let Ok(len) = usize::try_from(integer(text)?) else {
                return Some(Value::Null);
            };
            let bulk = rest.get(..len)?;
            *rest = rest[len..].strip_prefix(b"\r\n")?;
            Value::Bulk(bulk.into())
        }
        b'*' => {
            let Ok(count) = usize::try_from(integer(text)?) else {
                return Some(Value::Null);
            };
            let depth = depth.checked_sub(1)?;
            // An element takes at least 3 bytes, so a wrong count cannot claim much memory.
            let mut items = Vec::with_capacity(count.min(rest.len() / 3));
            for _ in 0..count {
                items.push(read(rest, depth)?);
            }
            Value::Array(items)
        }
        _ => return None,
    })
}

fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&byte| byte == b'\r')?;
    let line = &rest[..end];
    *rest = rest[end..].strip_prefix(b"\r\n")?;
    Some(line)
}

/// Reads the digits of a length or an integer reply.
fn integer(text: &[u8]) -> Option<i64> {
    /// So many digits fit into 64 bits without a sign, whatever they are.
    const DIGITS_MAX: usize = 19;
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut sum = 0_u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum * 10 + u64::from(digit);
    }
    if negative {
        0_i64.checked_sub_unsigned(sum)
    } else {
        i64::try_from(sum).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, decode};
    use crate::value::Value;
    use alloc::vec;

    #[test]
    fn every_kind_is_read() {
        let bytes = b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*0\r\n";
        assert_eq!(
            decode(bytes),
            Some(Value::Array(vec![
                Value::Simple("OK".into()),
                Value::Error("ERR no".into()),
                Value::Int(-7),
                Value::Bulk(b"a\r\n".to_vec()),
                Value::Null,
                Value::Array(vec![]),
            ]))
        );
        assert_eq!(decode(b"*-1\r\n"), Some(Value::Null));
        for number in [i64::MIN, -1, 0, 12, i64::MAX] {
            let reply = alloc::format!(":{number}\r\n");
            assert_eq!(decode(reply.as_bytes()), Some(Value::Int(number)));
        }
    }

    #[test]
    fn what_is_not_one_reply_is_refused() {
        for bytes in [
            &b""[..],
            b"+OK",
            b"+OK\r\n+OK\r\n",
            b"$5\r\nab\r\n",
            b"*9999999999\r\n:1\r\n",
            b"?what\r\n",
            b":12x\r\n",
            b":\r\n",
            b":-\r\n",
            b":9223372036854775808\r\n",
            b":-9223372036854775809\r\n",
            b":10000000000000000000000\r\n",
        ] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
        let deep = b"*1\r\n".repeat(DEPTH_MAX + 1);
        assert_eq!(decode(&[&deep[..], b":1\r\n"].concat()), None);
    }
}
