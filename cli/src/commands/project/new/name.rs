//! Checks the name of a project.

use crate::language::Language;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Names that cargo refuses for a package: keywords, and crates that come with the compiler.
const RUST_TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Checks a name for a language; the error says what is wrong with it.
pub(super) fn check(name: &str, language: Language) -> Result<(), String> {
    let shown = name.escape_debug();
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "a project's name has 1 to {NAME_BYTES_MAX} characters, and `{shown}` has {}",
            name.len()
        ));
    }
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.bytes().all(fits) {
        return Err(format!(
            "`{shown}` cannot be a project's name: a name starts with a letter from a to z, and \
             consists of such letters, digits, _ and -"
        ));
    }
    if language == Language::Rust && RUST_TAKEN.contains(&name)
        || language == Language::Go && ["std", "cmd", "main", "example"].contains(&name)
    {
        return Err(format!(
            "`{name}` means something else in {}; choose another name",
            language.name()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::language::Language;

    #[test]
    fn names_are_those_that_every_toolchain_takes() {
        for name in ["limits", "rate-limits", "a1_b"] {
            assert_eq!(check(name, Language::Rust), Ok(()), "{name}");
        }
        for name in [
            "",
            "1a",
            "Limits",
            "a b",
            "../a",
            "-x",
            "ü",
            &"a".repeat(65),
        ] {
            assert!(check(name, Language::C).is_err(), "{name}");
        }
        assert!(check("match", Language::Rust).is_err());
        assert_eq!(check("match", Language::C), Ok(()));
        assert!(check("std", Language::Go).is_err());
    }
}
