//! Makes a binary module of other forms of a source: the text format, and programs in JavaScript.

use std::borrow::Cow;

use ferrite_cache::JavaScript;
use ferrite_cache::javascript::ProgramError;
use thiserror::Error;
use wast::lexer::{Lexer, TokenKind};
use wast::parser::{self, ParseBuffer};

use crate::javascript;
use crate::limits::SourceLimits;

/// A source is not a module.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TextError {
    /// The text is longer than the limit.
    #[error("{found} bytes of text, where at most {max} are allowed (`text_bytes_max`)")]
    Length {
        /// Bytes of the text.
        found: u64,
        /// The limit, in bytes.
        max: u64,
    },
    /// The text has a syntax error.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Message of the parser.
        message: String,
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// Offset in the text, in bytes.
        offset: u64,
    },
    /// A program in JavaScript is refused.
    #[error(transparent)]
    JavaScript(#[from] ProgramError),
}

impl TextError {
    /// Returns the offset of the fault in the text, in bytes.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Length { .. } => None,
            Self::Syntax { offset, .. } => Some(*offset),
            Self::JavaScript(error) => error.offset(),
        }
    }
}

/// Parses a module in the text format, and evaluates a [program in JavaScript](JavaScript); returns any
/// other input unchanged.
///
/// Input is text if, after blanks and comments, it starts with a parenthesis. Other input is left to
/// [`validate`](crate::validate()).
///
/// # Errors
///
/// The text is longer than `bounds` allow, or has a syntax error; or the program cannot be evaluated.
///
/// ```
/// use ferrite_compiler::{SourceLimits, to_wasm};
/// let wasm = to_wasm(b"(module)", &SourceLimits::default()).unwrap();
/// assert!(wasm.starts_with(b"\0asm"));
/// ```
pub fn to_wasm<'a>(source: &'a [u8], bounds: &SourceLimits) -> Result<Cow<'a, [u8]>, TextError> {
    if JavaScript::is(source) {
        return Ok(Cow::Owned(javascript::to_module(source)?));
    }
    let Some(text) = text(source) else {
        return Ok(Cow::Borrowed(source));
    };
    if source.len() as u64 > bounds.text_bytes_max {
        return Err(TextError::Length {
            found: source.len() as u64,
            max: bounds.text_bytes_max,
        });
    }
    parse(text)
        .map(Cow::Owned)
        .map_err(|error| syntax(text, &error))
}

/// Returns a source in the form that is stored, and whose digest identifies it: a module of the text format, and
/// anything else as it is, a program in JavaScript included.
///
/// # Errors
///
/// The text is longer than `bounds` allow, or has a syntax error.
pub fn to_stored<'a>(source: &'a [u8], bounds: &SourceLimits) -> Result<Cow<'a, [u8]>, TextError> {
    if JavaScript::is(source) {
        return Ok(Cow::Borrowed(source));
    }
    to_wasm(source, bounds)
}

/// Returns the source as text if it looks like the text format.
fn text(source: &[u8]) -> Option<&str> {
    // Binary modules start with a zero byte: skip the search for blanks in up to 64 MiB.
    if source.first() == Some(&0) {
        return None;
    }
    let text = std::str::from_utf8(source).ok()?;
    let first = Lexer::new(text).iter(0).find(|token| {
        !matches!(
            token.as_ref().map(|token| token.kind),
            Ok(TokenKind::Whitespace | TokenKind::BlockComment | TokenKind::LineComment)
        )
    });
    matches!(first?.map(|token| token.kind), Ok(TokenKind::LParen)).then_some(text)
}

fn parse(text: &str) -> Result<Vec<u8>, wast::Error> {
    let buffer = ParseBuffer::new(text)?;
    parser::parse::<wast::Wat<'_>>(&buffer)?.encode()
}

fn syntax(text: &str, error: &wast::Error) -> TextError {
    let span = error.span();
    let (line, column) = span.linecol_in(text);
    TextError::Syntax {
        message: error.message().replace('\n', " "),
        line: line + 1,
        column: column + 1,
        offset: span.offset() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::{TextError, to_wasm};
    use crate::limits::SourceLimits;

    fn parse(text: &str) -> Result<Vec<u8>, TextError> {
        to_wasm(text.as_bytes(), &SourceLimits::default()).map(std::borrow::Cow::into_owned)
    }

    #[test]
    fn binary_modules_and_foreign_bytes_pass_through() {
        for bytes in [&b"\0asm\x01\0\0\0"[..], b"\x7fELF", b"", b"hello", b"\xff("] {
            let passed = to_wasm(bytes, &SourceLimits::default()).expect("nothing to parse");
            assert_eq!(&*passed, bytes);
        }
    }

    #[test]
    fn blanks_and_comments_may_come_first() {
        let wasm = parse("\n ;; one\n (; two (; three ;) ;)\n(module)").expect("is a module");
        assert_eq!(wasm, b"\0asm\x01\0\0\0");
    }

    #[test]
    fn a_fault_has_its_line_and_column() {
        let error = parse("(module\n  (func (export \"f\")\n    i32.bogus))").unwrap_err();
        assert_eq!(error.offset(), Some(33));
        assert!(
            error.to_string().starts_with("line 3, column 5: "),
            "{error}"
        );
    }

    #[test]
    fn deep_nesting_is_refused_or_parsed_and_never_overflows_the_stack() {
        let depth = 1_000_000;
        for open in ["(", "(module ", "(func ", "(block ", "(if ", "(i32.add "] {
            let _ = parse(&format!("(module (func {}", open.repeat(depth)));
            let _ = parse(&format!(
                "(module (func {}{}))",
                open.repeat(depth),
                ")".repeat(depth)
            ));
        }
        let _ = parse(&format!("{}{}", "(;".repeat(depth), ";)".repeat(depth)));
    }
}
