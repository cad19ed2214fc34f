//! Formats commands and replies as `redis-cli` shows them on a terminal.

use ferrite_tests::Reply;

/// A command as typed: words that need quotes get them.
pub(crate) fn command<A: AsRef<[u8]>>(words: &[A]) -> String {
    words
        .iter()
        .map(|word| typed(word.as_ref()))
        .collect::<Vec<_>>()
        .join(" ")
}

fn typed(word: &[u8]) -> String {
    let text = String::from_utf8_lossy(word);
    let special = |byte: &u8| matches!(byte, b' ' | b'"' | b'\'' | b'\\');
    if !word.is_empty()
        && word
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !special(byte))
    {
        text.into_owned()
    } else if word.contains(&b'"')
        && word
            .iter()
            .all(|byte| matches!(byte, b' '..=b'&' | b'('..=b'[' | b']'..=b'~'))
    {
        // Easier to read than a backslash before every quote.
        format!("'{text}'")
    } else {
        quoted(word)
    }
}

/// A reply, on one or several lines.
pub(crate) fn reply(reply: &Reply) -> String {
    let mut text = String::new();
    show(reply, 0, &mut text);
    text
}

fn show(reply: &Reply, indent: usize, text: &mut String) {
    match reply {
        Reply::Simple(words) => text.push_str(words),
        Reply::Error(error) => text.push_str(&format!("(error) {error}")),
        Reply::Int(number) => text.push_str(&format!("(integer) {number}")),
        Reply::Double(number) => text.push_str(&format!("(double) {number}")),
        Reply::Bool(value) => text.push_str(if *value { "(true)" } else { "(false)" }),
        Reply::Bulk(bytes) => text.push_str(&quoted(bytes)),
        Reply::Verbatim(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
        Reply::BigNumber(digits) => text.push_str(digits),
        Reply::Null => text.push_str("(nil)"),
        Reply::Array(items) | Reply::Push(items) => {
            show_items(items, ')', "(empty array)", indent, text);
        }
        Reply::Set(items) => show_items(items, '~', "(empty set)", indent, text),
        Reply::Map(pairs) if pairs.is_empty() => text.push_str("(empty hash)"),
        Reply::Map(pairs) => {
            let width = pairs.len().to_string().len();
            for (index, (key, value)) in pairs.iter().enumerate() {
                start_line(index, '#', width, indent, text);
                show(key, indent + width + 2, text);
                text.push_str(" => ");
                show(value, indent + width + 2, text);
            }
        }
    }
}

fn show_items(items: &[Reply], mark: char, empty: &str, indent: usize, text: &mut String) {
    if items.is_empty() {
        text.push_str(empty);
    }
    let width = items.len().to_string().len();
    for (index, item) in items.iter().enumerate() {
        start_line(index, mark, width, indent, text);
        show(item, indent + width + 2, text);
    }
}

fn start_line(index: usize, mark: char, width: usize, indent: usize, text: &mut String) {
    if index > 0 {
        text.push('\n');
        text.push_str(&" ".repeat(indent));
    }
    text.push_str(&format!("{:>width$}{mark} ", index + 1));
}

/// Bytes in quotes; escapes everything that is not printable ASCII.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn words_are_quoted_where_they_must_be() {
        assert_eq!(
            command(&["SET", "a:1", "", "{\"b\": 1}", "it's", "\u{e9}"]),
            r#"SET a:1 "" '{"b": 1}' "it's" "\xc3\xa9""#
        );
    }

    #[test]
    fn single_replies() {
        assert_eq!(reply(&Reply::Simple("OK".to_owned())), "OK");
        assert_eq!(
            reply(&Reply::Error("NOFUNC no".to_owned())),
            "(error) NOFUNC no"
        );
        assert_eq!(reply(&Reply::Int(-3)), "(integer) -3");
        assert_eq!(reply(&Reply::Null), "(nil)");
        assert_eq!(reply(&bulk("a\"\\\n\u{e9}")), r#""a\"\\\n\xc3\xa9""#);
    }

    #[test]
    fn nested_replies_are_numbered_and_indented() {
        assert_eq!(reply(&Reply::Array(vec![])), "(empty array)");
        let inner = Reply::Array(vec![
            bulk("x"),
            Reply::Array(vec![Reply::Int(1), Reply::Null]),
        ]);
        let outer = Reply::Array(vec![bulk("a"), inner]);
        assert_eq!(
            reply(&outer),
            "1) \"a\"\n2) 1) \"x\"\n   2) 1) (integer) 1\n      2) (nil)"
        );
        let ten = Reply::Array((1..=10).map(Reply::Int).collect());
        assert!(reply(&ten).starts_with(" 1) (integer) 1\n 2) (integer) 2\n"));
        let map = Reply::Map(vec![
            (bulk("k"), Reply::Bool(true)),
            (bulk("l"), Reply::Set(vec![Reply::Int(1)])),
        ]);
        assert_eq!(
            reply(&map),
            "1# \"k\" => (true)\n2# \"l\" => 1~ (integer) 1"
        );
    }
}
