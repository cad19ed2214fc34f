//! Formats a reply as `redis-cli` prints it on a terminal.

use std::fmt::Write;

use super::Value;

/// Returns the text, with a line end.
pub(crate) fn format(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value, "");
    text
}

/// `prefix` is the indentation of all lines after the first.
fn write_value(out: &mut String, value: &Value, prefix: &str) {
    match value {
        Value::Null => out.push_str("(nil)\n"),
        Value::Bool(value) => line(out, format_args!("({value})")),
        Value::Integer(value) => line(out, format_args!("(integer) {value}")),
        Value::Double(text) => line(out, format_args!("(double) {text}")),
        Value::BigNumber(text) => line(out, format_args!("{text}")),
        Value::Status(text) | Value::Verbatim(text) => {
            line(out, format_args!("{}", String::from_utf8_lossy(text)));
        }
        Value::Error(text) => line(
            out,
            format_args!("(error) {}", String::from_utf8_lossy(text)),
        ),
        Value::Bulk(bytes) => {
            write_quoted(out, bytes);
            out.push('\n');
        }
        Value::Array(values) => write_values(out, values, prefix, ')', "(empty array)"),
        Value::Set(values) => write_values(out, values, prefix, '~', "(empty set)"),
        Value::Push(values) => write_values(out, values, prefix, ')', "(empty push)"),
        Value::Map(pairs) => write_map(out, pairs, prefix),
    }
}

fn write_values(out: &mut String, values: &[Value], prefix: &str, mark: char, empty: &str) {
    if values.is_empty() {
        return line(out, format_args!("{empty}"));
    }
    let width = digits(values.len());
    let inner = inner_prefix(prefix, width);
    for (index, value) in values.iter().enumerate() {
        write_number(out, prefix, index, width, mark);
        write_value(out, value, &inner);
    }
}

fn write_map(out: &mut String, pairs: &[(Value, Value)], prefix: &str) {
    if pairs.is_empty() {
        return line(out, format_args!("(empty hash)"));
    }
    let width = digits(pairs.len());
    let inner = inner_prefix(prefix, width);
    for (index, (key, value)) in pairs.iter().enumerate() {
        write_number(out, prefix, index, width, '#');
        write_value(out, key, &inner);
        // The value follows the key on the same line.
        out.pop();
        out.push_str(" => ");
        if takes_lines(value) {
            out.push('\n');
            out.push_str(&inner);
        }
        write_value(out, value, &inner);
    }
}

/// Returns true if the value takes more than one line.
fn takes_lines(value: &Value) -> bool {
    match value {
        Value::Array(values) | Value::Set(values) | Value::Push(values) => values.len() > 1,
        Value::Map(pairs) => pairs.len() > 1,
        _ => false,
    }
}

/// Writes the number before an element. The first element is on the line that its parent started.
fn write_number(out: &mut String, prefix: &str, index: usize, width: usize, mark: char) {
    if index > 0 {
        out.push_str(prefix);
    }
    let number = index + 1;
    let _ = write!(out, "{number:>width$}{mark} ");
}

/// Returns the indentation for nested elements: they start to the right of the number.
fn inner_prefix(prefix: &str, width: usize) -> String {
    format!("{prefix}{:width$}", "", width = width + 2)
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// Writes a string in quotes, with escapes for bytes that are not printable ASCII.
fn write_quoted(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push('"');
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::format;
    use crate::reply::read;

    fn shown(bytes: &[u8]) -> String {
        format(&read(bytes).expect("it is well-formed"))
    }

    #[test]
    fn scalars_look_like_those_of_redis_cli() {
        assert_eq!(shown(b"$-1\r\n"), "(nil)\n");
        assert_eq!(shown(b":5\r\n"), "(integer) 5\n");
        assert_eq!(shown(b"+OK\r\n"), "OK\n");
        assert_eq!(shown(b"-ERR no\r\n"), "(error) ERR no\n");
        assert_eq!(shown(b"$3\r\na\"\n\r\n"), "\"a\\\"\\n\"\n");
        assert_eq!(shown(b"$2\r\n\xff\x00\r\n"), "\"\\xff\\x00\"\n");
        assert_eq!(shown(b"*0\r\n"), "(empty array)\n");
    }

    #[test]
    fn aggregates_are_numbered_and_indented() {
        assert_eq!(
            shown(b"*2\r\n*2\r\n:1\r\n:2\r\n$1\r\na\r\n"),
            "1) 1) (integer) 1\n   2) (integer) 2\n2) \"a\"\n"
        );
        let ten: Vec<u8> = [&b"*10\r\n"[..], &b":0\r\n".repeat(10)].concat();
        let text = shown(&ten);
        assert!(text.starts_with(" 1) (integer) 0\n"));
        assert!(text.ends_with("\n10) (integer) 0\n"));
        assert_eq!(
            shown(b"%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*1\r\n_\r\n"),
            "1# \"a\" => (integer) 1\n2# \"b\" => 1) (nil)\n"
        );
        assert_eq!(
            shown(b"*1\r\n%1\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n"),
            "1) 1# \"a\" => \n      1) (integer) 1\n      2) (integer) 2\n"
        );
        assert_eq!(
            shown(b"*1\r\n*1\r\n*2\r\n:1\r\n$-1\r\n"),
            "1) 1) 1) (integer) 1\n      2) (nil)\n"
        );
    }
}
