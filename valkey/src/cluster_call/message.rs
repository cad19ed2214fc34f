//! The messages of a call on all nodes, as arrays of strings in RESP.

use std::time::Duration;

use ferrite_protocol::resp::tree::Tree;
use ferrite_protocol::resp::{Encoder, Protocol};

/// Name of the command that the messages belong to.
pub(crate) const COMMAND: &str = "WASM.CALLALL";

/// Kind of a message that asks a node to run a call over its own keys.
pub(crate) const RUN: u8 = 16;
/// Kind of a message with the reply of such a call.
pub(crate) const REPLY: u8 = 17;
/// Kind of a message by which the asking node ends a call, and forgets its reply.
pub(crate) const END: u8 = 18;

/// Version of the messages; a node refuses others.
const VERSION: &[u8] = b"1";

/// Longest message, in bytes. The bus also carries the signs of life of the nodes, which a longer one
/// would hold up.
pub(crate) const BYTES_MAX: usize = 1 << 20;

/// Bytes of a message besides the reply that it carries, at most.
const HEAD_BYTES_MAX: usize = 256;

/// Longest reply of a node, in bytes.
pub(crate) const REPLY_BYTES_MAX: usize = BYTES_MAX - HEAD_BYTES_MAX;

/// Asks a node to run a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunRequest {
    /// Number of the call, unique on the asking node.
    pub(crate) id: u64,
    /// The caller's user; `None` for the server itself.
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) database: u32,
    pub(crate) protocol: Protocol,
    /// Time that is left.
    pub(crate) timeout: Duration,
    /// The slots that the asking node believes the other to have.
    pub(crate) slots: String,
    pub(crate) function: Vec<u8>,
    pub(crate) args: Vec<Vec<u8>>,
}

/// The reply of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunReply {
    pub(crate) id: u64,
    /// True if the node had the expected slots from beginning to end.
    pub(crate) slots_held: bool,
    /// The reply of the function, in the protocol that was asked for.
    pub(crate) reply: Vec<u8>,
}

impl RunRequest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        const FIELDS: usize = 8;
        let Self {
            id,
            user,
            database,
            protocol,
            timeout,
            slots,
            function,
            args,
        } = self;
        let mut message = Encoder::default();
        message.array(FIELDS + args.len());
        message.bulk(VERSION);
        message.bulk_display(id);
        match user {
            Some(user) => message.bulk(user),
            None => message.null(),
        }
        message.bulk_display(database);
        message.bulk(match protocol {
            Protocol::Resp2 => b"2",
            Protocol::Resp3 => b"3",
        });
        message.bulk_display(&timeout.as_millis());
        message.bulk(slots.as_bytes());
        message.bulk(function);
        for word in args {
            message.bulk(word);
        }
        message.take()
    }

    /// Reads a message; `None` if it is none of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let tree = Tree::read(bytes)?;
        let [
            version,
            id,
            user,
            database,
            protocol,
            timeout,
            slots,
            function,
            args @ ..,
        ] = tree.list()
        else {
            return None;
        };
        if version.text() != Some(VERSION) {
            return None;
        }
        Some(Self {
            id: number(id)?,
            user: user.text().map(<[u8]>::to_vec),
            database: u32::try_from(number(database)?).ok()?,
            protocol: match protocol.text()? {
                b"2" => Protocol::Resp2,
                b"3" => Protocol::Resp3,
                _ => return None,
            },
            timeout: Duration::from_millis(number(timeout)?),
            slots: String::from_utf8(slots.text()?.to_vec()).ok()?,
            function: function.text()?.to_vec(),
            args: args
                .iter()
                .map(|word| word.text().map(<[u8]>::to_vec))
                .collect::<Option<_>>()?,
        })
    }
}

impl RunReply {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut message = Encoder::default();
        message.array(4);
        message.bulk(VERSION);
        message.bulk_display(&self.id);
        message.bulk(if self.slots_held { b"1" } else { b"0" });
        message.bulk(&self.reply);
        message.take()
    }

    /// Reads a message; `None` if it is none of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let tree = Tree::read(bytes)?;
        let [version, id, slots_held, reply] = tree.list() else {
            return None;
        };
        (version.text() == Some(VERSION)).then_some(())?;
        Some(Self {
            id: number(id)?,
            slots_held: slots_held.text()? == b"1",
            reply: reply.text()?.to_vec(),
        })
    }
}

/// Writes the message that ends a call.
pub(crate) fn encode_end(id: u64) -> Vec<u8> {
    let mut message = Encoder::default();
    message.array(2);
    message.bulk(VERSION);
    message.bulk_display(&id);
    message.take()
}

/// Reads the number of the call that a message ends.
pub(crate) fn decode_end(bytes: &[u8]) -> Option<u64> {
    let tree = Tree::read(bytes)?;
    let [version, id] = tree.list() else {
        return None;
    };
    (version.text() == Some(VERSION)).then_some(())?;
    number(id)
}

fn number(tree: &Tree<'_>) -> Option<u64> {
    str::from_utf8(tree.text()?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ferrite_protocol::resp::Protocol;

    use super::{RunReply, RunRequest, decode_end, encode_end};
    use crate::damaged;

    fn request() -> RunRequest {
        RunRequest {
            id: 7,
            user: Some(b"app".to_vec()),
            database: 0,
            protocol: Protocol::Resp3,
            timeout: Duration::from_millis(1500),
            slots: "0-5460 7000".to_owned(),
            function: b"stats.map".to_vec(),
            args: vec![b"a\r\n".to_vec(), Vec::new()],
        }
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let request = request();
        assert_eq!(RunRequest::decode(&request.encode()), Some(request.clone()));
        let server = RunRequest {
            user: None,
            ..request
        };
        assert_eq!(RunRequest::decode(&server.encode()), Some(server));
        let reply = RunReply {
            id: 9,
            slots_held: true,
            reply: b"$1\r\na\r\n".to_vec(),
        };
        assert_eq!(RunReply::decode(&reply.encode()), Some(reply));
        assert_eq!(decode_end(&encode_end(3)), Some(3));
    }

    #[test]
    fn damaged_messages_are_refused_without_a_panic() {
        let whole = request().encode();
        for end in 0..whole.len() {
            assert_eq!(RunRequest::decode(&whole[..end]), None, "{end}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x11;
            let _ = RunRequest::decode(&damaged);
            let _ = RunReply::decode(&damaged);
            let _ = decode_end(&damaged);
        }
        let reply = RunReply {
            id: 9,
            slots_held: true,
            reply: b"$1\r\na\r\n".to_vec(),
        };
        let mut read = 0;
        for good in [whole.clone(), reply.encode(), encode_end(3)] {
            for damaged in damaged::copies(&good) {
                if let Some(one) = RunRequest::decode(&damaged) {
                    assert_eq!(RunRequest::decode(&one.encode()), Some(one));
                    read += 1;
                }
                if let Some(one) = RunReply::decode(&damaged) {
                    assert_eq!(RunReply::decode(&one.encode()), Some(one));
                    read += 1;
                }
                if let Some(id) = decode_end(&damaged) {
                    assert_eq!(decode_end(&encode_end(id)), Some(id));
                    read += 1;
                }
            }
        }
        assert!(read > 0, "some changes leave a message");
        let other = whole.strip_prefix(b"*10\r\n$1\r\n1").map(|rest| {
            let mut other = b"*10\r\n$1\r\n2".to_vec();
            other.extend_from_slice(rest);
            other
        });
        assert_eq!(RunRequest::decode(&other.expect("version 1")), None);
    }
}
