//! Glob patterns with exactly the meaning they have in Redis.

/// Whether `text` matches `pattern`: `*`, `?`, `[set]`, `[^set]`, ranges and `\` escapes.
///
/// Behaves as `stringmatchlen` of Redis does, odd corners included: a range may be given upside
/// down, an unclosed set ends with the pattern, and a set's last character may be a literal `\`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // A star only ever needs to be retried at the last one met: everything before it has matched
    // in the shortest way, which leaves the most for the rest. So this is a loop, and hostile
    // patterns cost at most pattern times text.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() {
            if pattern[p] == b'*' {
                p += 1;
                star = Some((p, t));
                continue;
            }
            let (matched, next) = match_one(pattern, p, text[t]);
            if matched {
                p = next;
                t += 1;
                continue;
            }
        }
        match star {
            Some((after, from)) => {
                star = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
            None => return false,
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// Matches one byte against the pattern's element at `p`; returns where the next element begins.
fn match_one(pattern: &[u8], p: usize, byte: u8) -> (bool, usize) {
    match pattern[p] {
        b'?' => (true, p + 1),
        b'[' => match_set(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte, p + 2),
        literal => (literal == byte, p + 1),
    }
}

/// Matches one byte against the set whose inside begins at `p`.
fn match_set(pattern: &[u8], mut p: usize, byte: u8) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    let mut found = false;
    loop {
        match &pattern[p..] {
            // The pattern ended inside the set.
            [] => return (found != negated, p),
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                p += 2;
            }
            [b']', ..] => return (found != negated, p + 1),
            [from, b'-', to, ..] => {
                let (low, high) = if from <= to {
                    (*from, *to)
                } else {
                    (*to, *from)
                };
                found |= (low..=high).contains(&byte);
                p += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                p += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_mean_what_they_mean_in_redis() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("h?llo", "hello", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[b-a]llo", "hallo", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\", "\\", true),
            ("[abc", "b", true),
            ("[abc", "d", false),
            ("[]", "a", false),
            ("[^]", "a", true),
            ("[a-]", "-", false),
            ("[\\]]", "]", true),
            ("a**b", "ab", true),
            ("*?", "", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                *expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let pattern = "a*".repeat(2_000) + "b";
        let text = "a".repeat(20_000);
        assert!(!matches(pattern.as_bytes(), text.as_bytes()));
    }
}
