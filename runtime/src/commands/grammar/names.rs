//! Names in requests: of functions with an entry, and of what calls functions.

use crate::error::CallError;
use crate::registry::record::FunctionName;

/// Reads the name of a thing that follows the rules for names of functions; errors call it `what`.
pub(in crate::commands) fn name_like_functions(
    word: &[u8],
    what: &str,
) -> Result<FunctionName, CallError> {
    FunctionName::parse(word)
        .map_err(|error| CallError::invalid(error.to_string().replace("function's name", what)))
}

/// Returns the name of a function that may be followed by the name of an entry.
pub(in crate::commands) fn without_entry(function: &[u8]) -> &[u8] {
    let dot = function.iter().position(|&byte| byte == b'.');
    &function[..dot.unwrap_or(function.len())]
}

/// Returns the word for where a trigger or a schedule comes from.
pub(in crate::commands) const fn origin(declared: bool) -> &'static str {
    if declared { "module" } else { "command" }
}

#[cfg(test)]
mod tests {
    use super::{name_like_functions, without_entry};

    #[test]
    fn an_error_names_the_thing() {
        let error = name_like_functions(b"a b", "schedule's id").expect_err("a space");
        let text = error.to_string();
        assert!(
            text.contains("schedule's id") && !text.contains("function"),
            "{text}"
        );
        assert!(name_like_functions(b"a-b", "schedule's id").is_ok());
    }

    #[test]
    fn an_entry_is_left_out() {
        for (whole, name) in [("f.run", "f"), ("f", "f"), ("f.a.b", "f"), ("", "")] {
            assert_eq!(without_entry(whole.as_bytes()), name.as_bytes());
        }
    }
}
