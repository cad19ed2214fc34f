//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]` and `\` before a literal byte.

/// Returns true if `text` matches `pattern` as a whole.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        // Redis matches no star against the empty text, except where `*` is the whole pattern.
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut pattern, mut text) = (pattern, text);
    // Where to continue after a mismatch, when the last star takes one more byte.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            pattern = rest;
            retry = Some((rest, text));
            continue;
        }
        if let [byte, text_rest @ ..] = text {
            if let Some(pattern_rest) = matches_one(pattern, *byte) {
                (pattern, text) = (pattern_rest, text_rest);
                continue;
            }
        } else if pattern.is_empty() {
            return true;
        }
        match retry {
            Some((after_star, [_, later @ ..])) => {
                (pattern, text) = (after_star, later);
                retry = Some((after_star, later));
            }
            _ => return false,
        }
    }
}

/// Returns the rest of the pattern if its first element matches `byte`.
fn matches_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'\\', literal, rest @ ..] => (*literal == byte).then_some(rest),
        [b'[', class @ ..] => matches_class(class, byte),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

fn matches_class(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        class = match class {
            [] => return (found != negated).then_some(class),
            [b']', rest @ ..] => return (found != negated).then_some(rest),
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [low, b'-', high, rest @ ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::matches;

    /// Pattern, text, and true if they match in Valkey. Each character stands for one byte.
    #[test]
    fn patterns_match_as_in_valkey() {
        let table = include_str!("../../../../glob-cases.json");
        let cases: Vec<(String, String, bool)> =
            serde_json::from_str(table).expect("the table is JSON");
        let bytes = |text: &str| -> Vec<u8> {
            let byte = |character| u8::try_from(character).expect("no character above U+00FF");
            text.chars().map(byte).collect()
        };
        for (pattern, text, expected) in cases {
            assert_eq!(
                matches(&bytes(&pattern), &bytes(&text)),
                expected,
                "{pattern:?} {text:?}"
            );
        }
    }
}
