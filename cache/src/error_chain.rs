//! An error with its causes, on one line.

use std::error::Error;
use std::fmt;

/// Writes an error and its causes on one line: `cannot open the cache: permission denied`.
///
/// ```
/// use ferrite_cache::{Digest, ErrorChain};
/// let error = "sha256:00".parse::<Digest>().unwrap_err();
/// assert!(ErrorChain(&error).to_string().starts_with("a digest starts with"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next = Some(self.0);
        let mut separator = "";
        while let Some(error) = next {
            f.write_str(separator)?;
            f.write_str(&error.to_string().replace('\n', " "))?;
            separator = ": ";
            next = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::ErrorChain;

    #[derive(Debug, thiserror::Error)]
    #[error("outer\nerror")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_follow_on_the_same_line() {
        let error = Outer(io::Error::other("inner"));
        assert_eq!(ErrorChain(&error).to_string(), "outer error: inner");
    }
}
