//! Makes a function's `println!` and its like those of the SDK, which write to the log.

use proc_macro2::{Group, Spacing, TokenStream, TokenTree};
use quote::quote_spanned;

/// The macros of the standard library that print.
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Returns the same tokens, in which those macros are named by their path in the SDK. A macro that is
/// named by a path already is left alone.
pub(crate) fn to_log(tokens: TokenStream) -> TokenStream {
    let mut result = TokenStream::new();
    let mut in_path = false;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_call = matches!(tokens.peek(), Some(TokenTree::Punct(next))
            if next.as_char() == '!' && next.spacing() == Spacing::Alone);
        let after_colon = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':');
        match token {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), to_log(group.stream()));
                inner.set_span(group.span());
                result.extend([TokenTree::Group(inner)]);
            }
            TokenTree::Ident(name)
                if is_call && !in_path && PRINTING.iter().any(|it| name == it) =>
            {
                result.extend(quote_spanned! { name.span() => ::ferrite_wasm_sdk::console::#name });
            }
            other => result.extend([other]),
        }
        in_path = after_colon;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::to_log;

    #[test]
    fn only_macros_that_print_and_have_no_path_are_changed() {
        let changed = |code: &str| {
            let tokens = code.parse().expect("it is Rust");
            to_log(tokens).to_string().replace(' ', "")
        };
        let log = "::ferrite_wasm_sdk::console::";
        assert_eq!(
            changed("if a { println!(\"{}\", dbg!(b)) }"),
            format!("ifa{{{log}println!(\"{{}}\",{log}dbg!(b))}}")
        );
        for code in [
            "std::println!(\"a\")",
            "print(a)",
            "dbg!=a",
            "format!(\"a\")",
        ] {
            assert_eq!(changed(code), code);
        }
    }
}
