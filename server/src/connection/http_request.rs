//! Requests of web browsers, which a page can make them send to any port of the machine.
//!
//! The lines of such a request are inline commands: its head is refused one by one, and then its
//! body, which the page has chosen, would be run with the rights of a client on this machine. So the
//! connection is closed at the first line. Redis and Valkey do that too, at `POST` and `Host:`.

use ferrite_protocol::resp::RequestScanner;

/// Returns true if a request is a line of an HTTP request: `POST …` or `Host: …`, or a request line of
/// any method if it is the connection's `first` request.
pub(super) fn is_http(scanner: &RequestScanner, arguments: &[&[u8]], first: bool) -> bool {
    let Some(word) = arguments.first() else {
        return false;
    };
    if word.eq_ignore_ascii_case(b"POST") || word.eq_ignore_ascii_case(b"HOST:") {
        return true;
    }
    // A client that speaks RESP sends arrays, and may well send such words in them.
    first
        && scanner.is_inline()
        && matches!(arguments, [_, _, version] if version.len() >= 6 && version[..5].eq_ignore_ascii_case(b"HTTP/"))
}

#[cfg(test)]
mod tests {
    use ferrite_protocol::resp::{RequestBounds, RequestScanner};

    use super::is_http;

    fn is(request: &[u8], first: bool) -> bool {
        let mut scanner = RequestScanner::new(RequestBounds::default());
        scanner.scan(request).expect("a whole request");
        let arguments: Vec<_> = scanner.arguments(request).collect();
        is_http(&scanner, &arguments, first)
    }

    #[test]
    fn lines_of_http_are_known() {
        for line in ["POST / HTTP/1.1", "post", "Host: 127.0.0.1:6380", "HOST:"] {
            assert!(is(format!("{line}\r\n").as_bytes(), false), "{line}");
        }
        for method in ["GET", "PUT", "DELETE", "OPTIONS", "COPY", "PRI", "X-Y"] {
            let line = format!("{method} /a?b=c HTTP/1.1\r\n");
            assert!(is(line.as_bytes(), true), "{line}");
        }
    }

    #[test]
    fn commands_are_not() {
        for line in ["PING", "GET /", "SET / HTTP", "SET a HTTP/", "SET a b", ""] {
            assert!(!is(format!("{line}\r\n").as_bytes(), true), "{line}");
        }
        assert!(!is(b"SET a HTTP/1.1\r\n", false));
        let array = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$8\r\nHTTP/1.1\r\n";
        assert!(!is(array, true));
    }
}
