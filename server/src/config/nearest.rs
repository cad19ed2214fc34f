//! Suggests a known name for a mistyped one.

/// Returns the name in `known` with the fewest edits from `typed`, if they are at most a third of
/// its length.
///
/// Edits are insertions, removals, replacements and swaps of neighbours. Case, and `-`, `_` or `.`
/// in place of each other, do not count.
pub(super) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let typed = fold(typed);
    known
        .into_iter()
        .map(|name| (edits(&typed, &fold(name)), name))
        .min_by_key(|&(edits, _)| edits)
        .filter(|&(edits, name)| edits <= name.len().max(3) / 3)
        .map(|(_, name)| name)
}

fn fold(name: &str) -> Vec<char> {
    name.chars()
        .map(|letter| match letter {
            '-' | '.' => '_',
            letter => letter.to_ascii_lowercase(),
        })
        .collect()
}

/// Computes the optimal string alignment distance, with three rows of the usual table.
fn edits(left: &[char], right: &[char]) -> usize {
    let mut before_last: Vec<usize> = vec![0; right.len() + 1];
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, &letter) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &other) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != other);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && letter == right[column - 1] && left[row - 1] == other {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = last;
        last = current;
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const KNOWN: [&str; 4] = [
        "server.port",
        "server.bind",
        "wasm.limits.max_memory",
        "wasm.enabled",
    ];

    #[test]
    fn small_slips_are_recognised() {
        for (typed, meant) in [
            ("server.prot", "server.port"),
            ("server.Bind", "server.bind"),
            ("wasm.limits.max-memory", "wasm.limits.max_memory"),
            ("wasm.limit.max_memory", "wasm.limits.max_memory"),
            ("wasm.enable", "wasm.enabled"),
        ] {
            assert_eq!(nearest(typed, KNOWN), Some(meant), "{typed}");
        }
    }

    #[test]
    fn nothing_is_suggested_for_something_else() {
        assert_eq!(nearest("colour", KNOWN), None);
        assert_eq!(nearest("", KNOWN), None);
    }
}
