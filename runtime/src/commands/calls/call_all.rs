//! `WASM.CALLALL`: runs an entry on every node over that node's own keys, and another one over the
//! replies.
//!
//! The host brings the request to its nodes and gathers their replies. What all hosts share stands
//! here: the words, the calls, and what becomes of the replies.

use std::time::Duration;

use ferrite_protocol::resp::Encoder;
use ferrite_protocol::resp::tree::{Token, Tokens};

use crate::call::request::CallRequest;
use crate::commands::Command;
use crate::commands::error::CommandError;
use crate::commands::grammar::options::{Options, time};
use crate::commands::spec::{Keys, Right, Runs, Spec};
use crate::error::{CallError, Quoted};

const REDUCE: &str = "REDUCE";
const TIMEOUT: &str = "TIMEOUT";
const PARTIAL: &str = "PARTIAL";
const ARGS: &str = "ARGS";

pub(in crate::commands) static SPEC: Spec = Spec {
    name: "WASM.CALLALL",
    arity: -2,
    flags: &["readonly", "noscript"],
    keys: Keys::None,
    right: Right::Call,
    runs: Runs::Async,
    summary: "Calls a function on every node over the node's own keys, and an entry over the replies; both may only read.",
    syntax: "name[.entry] [REDUCE entry] [TIMEOUT milliseconds] [PARTIAL] [ARGS arg …]",
    parse,
};

/// A parsed request; nothing is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAll<'a> {
    /// The function, optionally with an entry: `name` or `name.entry`.
    pub function: &'a [u8],
    /// The entry that gets the replies of all nodes as its arguments.
    pub reduce: Option<&'a [u8]>,
    /// Longest duration of everything together.
    pub timeout: Option<Duration>,
    /// True if the replies of some nodes are better than an error.
    pub partial: bool,
    /// The arguments on every node.
    pub args: &'a [&'a [u8]],
}

fn parse<'a>(spec: &'static Spec, argv: &'a [&'a [u8]]) -> Result<Command<'a>, CommandError> {
    let mut options = Options::new(spec, argv, 2);
    let (mut reduce, mut timeout, mut partial) = (None, None, false);
    let mut args: &[&[u8]] = &[];
    while let Some(option) = options.next(&[REDUCE, TIMEOUT, PARTIAL, ARGS])? {
        match option {
            REDUCE => options.value(option, &mut reduce)?,
            TIMEOUT => options.value(option, &mut timeout)?,
            PARTIAL => options.flag(option, &mut partial)?,
            _ => {
                args = options.rest();
                break;
            }
        }
    }
    let timeout = match timeout {
        None => None,
        Some(text) => {
            let timeout = time(spec.name, TIMEOUT, text)?;
            if timeout < Duration::from_millis(1) {
                return Err(CommandError::Zero {
                    command: spec.name,
                    option: TIMEOUT,
                });
            }
            Some(timeout)
        }
    };
    if let Some(entry) = reduce
        && (entry.is_empty() || entry.contains(&b'.'))
    {
        return Err(CallError::invalid(format!(
            "REDUCE names an entry of the same function, without the function's name; {} is none",
            Quoted(entry)
        ))
        .into());
    }
    Ok(Command::CallAll(CallAll {
        function: argv[1],
        reduce,
        timeout,
        partial,
        args,
    }))
}

impl<'a> CallAll<'a> {
    /// Returns the name of the function, without the entry.
    #[must_use]
    pub fn function_name(&self) -> &'a [u8] {
        CallRequest::new(self.function, &[], &[]).name_and_entry().0
    }

    /// Returns the name and entry that get the replies.
    #[must_use]
    pub fn reduce_function(&self) -> Option<Vec<u8>> {
        self.reduce
            .map(|entry| [self.function_name(), b".", entry].concat())
    }

    /// Returns the call that every node runs over its own keys.
    #[must_use]
    pub fn map_request(&self, database: u32) -> CallRequest<'a> {
        map_request(self.function, self.args, self.timeout, database)
    }
}

/// Returns the call of a function that a node runs over its own keys.
///
/// It only reads, and its reads need not agree with each other: it goes through many keys, and neither
/// waits for writers nor keeps them waiting.
#[must_use]
pub fn map_request<'a>(
    function: &'a [u8],
    args: &'a [&'a [u8]],
    timeout: Option<Duration>,
    database: u32,
) -> CallRequest<'a> {
    CallRequest {
        timeout,
        database,
        read_only: true,
        reads_latest: true,
        ..CallRequest::new(function, &[], args)
    }
}

/// Returns the call of the entry that gets the replies.
#[must_use]
pub fn reduce_request<'a>(
    function: &'a [u8],
    replies: &'a [&'a [u8]],
    timeout: Option<Duration>,
    database: u32,
) -> CallRequest<'a> {
    CallRequest {
        timeout,
        database,
        read_only: true,
        ..CallRequest::new(function, &[], replies)
    }
}

/// Returns a node's reply as an argument of the entry that gets all of them: a string's bytes, a
/// number's digits, nothing for null, and RESP2 for anything with elements. `reply` is RESP2.
#[must_use]
pub fn reply_as_argument(reply: &[u8]) -> Vec<u8> {
    match Tokens::new(reply).next() {
        Some(Token::Simple(text) | Token::Bulk(text)) => text.to_vec(),
        Some(Token::Int(number)) => number.to_string().into_bytes(),
        Some(Token::Null) => Vec::new(),
        _ => reply.to_vec(),
    }
}

/// Returns the text of an error reply; `None` for another reply.
#[must_use]
pub fn error_of_reply(reply: &[u8]) -> Option<&[u8]> {
    match Tokens::new(reply).next() {
        Some(Token::Error(text)) => Some(text),
        _ => None,
    }
}

/// Returns the error of a node as the error of the whole: its code, the node, and the rest of its text.
#[must_use]
pub fn error_of_node(node: &str, error: &[u8]) -> String {
    let error = String::from_utf8_lossy(error);
    let (code, text) = error.split_once(' ').unwrap_or((&error, ""));
    format!("{code} node {node}: {text}")
}

/// A node whose reply is missing, or cannot be relied on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingNode {
    /// Id of the node.
    pub node: String,
    /// Reason, as the text of an error: a code and what happened.
    pub reason: String,
}

/// Writes the reply of a request without `REDUCE`: an array with node and reply of each.
pub fn write_replies<'r>(
    replies: impl ExactSizeIterator<Item = (&'r str, &'r [u8])>,
    reply: &mut Encoder,
) {
    reply.array(replies.len());
    for (node, bytes) in replies {
        reply.array(2);
        reply.bulk(node.as_bytes());
        reply.raw(bytes);
    }
}

/// Writes the reply of a request with `PARTIAL`: an array of the reply and of what is missing.
pub fn write_partial(whole: &[u8], missing: &[MissingNode], reply: &mut Encoder) {
    reply.array(2);
    reply.raw(whole);
    reply.array(missing.len());
    for MissingNode { node, reason } in missing {
        reply.array(2);
        reply.bulk(node.as_bytes());
        reply.bulk(reason.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use ferrite_protocol::resp::Encoder;

    use super::{
        MissingNode, error_of_node, error_of_reply, reply_as_argument, write_partial, write_replies,
    };

    #[test]
    fn replies_become_arguments() {
        for (reply, argument) in [
            (&b"$3\r\na\r\n\r\n"[..], &b"a\r\n"[..]),
            (b"+OK\r\n", b"OK"),
            (b":-7\r\n", b"-7"),
            (b"$-1\r\n", b""),
            (b"*1\r\n:1\r\n", b"*1\r\n:1\r\n"),
        ] {
            assert_eq!(reply_as_argument(reply), argument);
            assert_eq!(error_of_reply(reply), None);
        }
        assert_eq!(error_of_reply(b"-ERR no\r\n"), Some(&b"ERR no"[..]));
        assert_eq!(error_of_node("a", b"ERR no way"), "ERR node a: no way");
    }

    #[test]
    fn replies_and_what_is_missing_are_written() {
        let mut whole = Encoder::default();
        write_replies([("a", &b":1\r\n"[..])].into_iter(), &mut whole);
        assert_eq!(whole.bytes(), b"*1\r\n*2\r\n$1\r\na\r\n:1\r\n");
        let mut reply = Encoder::default();
        let missing = [MissingNode {
            node: "b".to_owned(),
            reason: "GONE".to_owned(),
        }];
        write_partial(b":1\r\n", &missing, &mut reply);
        assert_eq!(
            reply.bytes(),
            b"*2\r\n:1\r\n*1\r\n*2\r\n$1\r\nb\r\n$4\r\nGONE\r\n"
        );
    }
}
