//! Logs who changed which function: `WASM.LOAD` and the other commands that manage functions.

use crate::clients::caller::Caller;
use crate::observability::from_outside::for_log;

/// Target of the lines, so that they can be filtered and sent elsewhere.
const TARGET: &str = "ferrite::changes";

/// Writes the line of a command that manages functions. `reply` is what it replied: an error, or
/// nothing but the digest, `OK` or a count.
pub(crate) fn record(caller: &Caller, command: &'static str, name: Option<&[u8]>, reply: &[u8]) {
    let Caller {
        client,
        peer,
        labels,
    } = caller;
    let function = for_log(name.unwrap_or_default());
    let text = shown(reply);
    let user = &labels.user;
    if reply.starts_with(b"-") {
        tracing::warn!(
            target: TARGET,
            command, %function, client, %peer, user, error = %for_log(text), "not changed"
        );
    } else {
        tracing::info!(
            target: TARGET,
            command, %function, client, %peer, user, reply = %for_log(text), "changed"
        );
    }
}

/// Returns the text of a reply of one line, or of a bulk string.
fn shown(reply: &[u8]) -> &[u8] {
    let mut lines = reply.split(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let line = match first.first() {
        Some(b'$') => lines.next().unwrap_or_default(),
        _ => first.get(1..).unwrap_or_default(),
    };
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn replies_are_shown_without_their_frame() {
        for (reply, text) in [
            ("+OK\r\n", "OK"),
            (":3\r\n", "3"),
            ("$3\r\nabc\r\n", "abc"),
            ("-NOFUNC no\r\n", "NOFUNC no"),
            ("", ""),
        ] {
            assert_eq!(shown(reply.as_bytes()), text.as_bytes());
        }
    }
}
