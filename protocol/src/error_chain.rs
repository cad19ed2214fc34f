//! Shows an error together with its sources on one line.

use std::error::Error;
use std::fmt;

/// Displays an error and its sources on one line, separated by `: `, as in
/// `cannot open the cache: permission denied`.
///
/// Leaves out a source whose text already ends the text of the error above it, so that an error
/// that quotes its source does not repeat it.
#[derive(Clone, Copy, Debug)]
pub struct ErrorChain<'a>(pub &'a dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        out.write_str(&last)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !last.ends_with(&text) {
                write!(out, ": {text}")?;
                last = text;
            }
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fmt;

    use super::ErrorChain;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (first, rest) = texts.split_first().expect("at least one text");
        Layer(first, (!rest.is_empty()).then(|| Box::new(layers(rest))))
    }

    #[test]
    fn sources_follow_on_one_line() {
        let error = layers(&["no cache", "cannot open /c", "denied"]);
        assert_eq!(
            ErrorChain(&error).to_string(),
            "no cache: cannot open /c: denied"
        );
    }

    #[test]
    fn a_source_that_the_error_quotes_is_not_repeated() {
        let error = layers(&["cannot open /c: denied", "denied", "denied", "errno 13"]);
        assert_eq!(
            ErrorChain(&error).to_string(),
            "cannot open /c: denied: errno 13"
        );
    }
}
