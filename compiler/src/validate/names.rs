//! Names in messages: safe to display, and the nearest existing name.

/// Most characters of a name that a message shows.
const SHOWN_CHARS_MAX: usize = 80;

/// Escapes control characters in a name from a module, and shortens it.
pub(super) fn display_name(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if name.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// Returns the candidate with the smallest edit distance, if that is at most a third of the name.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = (name.len() / 3).max(1);
    candidates
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= most)
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: the number of bytes to insert, delete or replace.
///
/// `row` is one row of the usual table; `diagonal` is the cell above and to the left.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{display_name, distance, nearest};

    #[test]
    fn distances_are_those_of_the_textbook() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"abc", b""), 3);
        assert_eq!(distance(b"same", b"same"), 0);
    }

    #[test]
    fn only_near_names_are_offered() {
        let names = ["get", "hget", "reply_bulk", "time_millis"];
        assert_eq!(nearest("replybulk", names.into_iter()), Some("reply_bulk"));
        assert_eq!(nearest("gett", names.into_iter()), Some("get"));
        assert_eq!(nearest("fopen", names.into_iter()), None);
    }

    #[test]
    fn names_are_shown_without_control_characters_and_bounded() {
        assert_eq!(display_name("a\r\n\u{1b}[2J"), "a\\r\\n\\u{1b}[2J");
        assert!(display_name(&"x".repeat(1_000)).len() < 100);
    }
}
