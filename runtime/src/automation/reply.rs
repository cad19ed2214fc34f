//! The reply of a call that no client reads.

/// Returns the text of a reply that is an error, in RESP2 or RESP3; `None` of any other.
pub(crate) fn error_of(reply: &[u8]) -> Option<String> {
    let text = match reply.split_first()? {
        (b'-', rest) => rest,
        // Its length stands on a line of its own.
        (b'!', rest) => rest.splitn(2, |&byte| byte == b'\n').nth(1)?,
        _ => return None,
    };
    let end = text.iter().position(|&byte| byte == b'\r');
    let text = &text[..end.unwrap_or(text.len())];
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::error_of;

    #[test]
    fn errors_are_told_from_other_replies() {
        for (reply, error) in [
            ("-TRAP it failed\r\n", Some("TRAP it failed")),
            ("!7\r\nERR two\r\n", Some("ERR two")),
            ("+OK\r\n", None),
            ("$1\r\n-\r\n", None),
            ("", None),
        ] {
            assert_eq!(error_of(reply.as_bytes()).as_deref(), error, "{reply}");
        }
    }
}
