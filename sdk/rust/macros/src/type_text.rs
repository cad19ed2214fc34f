//! A type's spelling for error replies: as a person would write it, without lifetimes.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Type;

/// Writes a type without lifetimes and without the blanks that token streams print.
pub(crate) fn type_text(ty: &Type) -> String {
    let mut text = String::new();
    write(ty.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            // A lifetime is a quote followed by its name.
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                tokens.next();
            }
            TokenTree::Punct(punct) => {
                text.push(punct.as_char());
                if matches!(punct.as_char(), ',' | ';') && tokens.peek().is_some() {
                    text.push(' ');
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
            word => {
                if text.ends_with(|last: char| last.is_alphanumeric() || last == '_') {
                    text.push(' ');
                }
                text.push_str(&word.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::type_text;

    fn text(source: &str) -> String {
        type_text(&syn::parse_str(source).expect("the test's type parses"))
    }

    #[test]
    fn types_read_as_they_are_written() {
        assert_eq!(text("&'a str"), "&str");
        assert_eq!(text("Vec<(String,i64)>"), "Vec<(String, i64)>");
        assert_eq!(text("std :: vec :: Vec < u8 >"), "std::vec::Vec<u8>");
        assert_eq!(text("& [u8]"), "&[u8]");
        assert_eq!(text("[u8;4]"), "[u8; 4]");
    }
}
