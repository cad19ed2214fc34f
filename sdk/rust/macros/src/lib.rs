//! The macros of the Ferrite WASM Rust SDK: `#[ferrite_function]`, `entry!`, and `#[on]`, `#[every]` and `#[cron]`.
//!
//! Use them through `ferrite-wasm-sdk`, which re-exports them. Each works in stages: `parse` turns
//! tokens into syntax (`console` has changed what prints), `validate` turns syntax into a model of the function or reports mistakes,
//! `expand` writes code from the model and cannot fail.

mod automation;
mod console;
mod expand;
mod parse;
mod type_text;
mod validate;

use proc_macro::TokenStream;

/// Makes a function callable from the store under its own name.
///
/// The parameters are filled from the call's KEYS, then its ARGS, in order; the result becomes the
/// reply. The function itself can be called from Rust, in tests too. It is unchanged, but what it
/// prints by `println!`, `eprintln!` and `dbg!` goes to the log.
///
/// `#[ferrite_function(name = "check-stock")]` exports it under another name. A name consists of 1
/// to 128 of `A-Z a-z 0-9 _ : -`.
#[proc_macro_attribute]
pub fn ferrite_function(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let original = proc_macro2::TokenStream::from(item.clone());
    parse::function(attribute.into(), console::to_log(item.into()))
        .and_then(validate::function)
        .map_or_else(
            // The function is kept, so that one mistake does not make its callers fail too.
            |error| {
                let mut tokens = error.into_compile_error();
                tokens.extend(automation::without(original));
                tokens
            },
            |function| expand::function(&function),
        )
        .into()
}

/// Lets a host that loads the module call the function after events of keys, or before.
///
/// `#[ferrite::on(keys = "session:*", events = "expired")]` on a `#[ferrite_function]`. `keys` are patterns and
/// `events` names of events, or `*`; several stand in brackets. With `before`, the function runs inside the
/// transaction that writes, and may refuse it.
#[proc_macro_attribute]
pub fn on(attribute: TokenStream, item: TokenStream) -> TokenStream {
    moved(automation::Kind::On, attribute, item)
}

/// Lets a host that loads the module call the function again and again, after a time such as `5m`.
///
/// `#[ferrite::every("5m")]` on a `#[ferrite_function]`. With `missed = "once"`, it runs once for all times that
/// were missed. `keys` and `args` are what the function gets: a text, or several in brackets.
#[proc_macro_attribute]
pub fn every(attribute: TokenStream, item: TokenStream) -> TokenStream {
    moved(automation::Kind::Every, attribute, item)
}

/// Lets a host that loads the module call the function at the times of an expression of cron, in UTC.
///
/// `#[ferrite::cron("0 3 * * *")]` on a `#[ferrite_function]`, with the options of `every`.
#[proc_macro_attribute]
pub fn cron(attribute: TokenStream, item: TokenStream) -> TokenStream {
    moved(automation::Kind::Cron, attribute, item)
}

fn moved(kind: automation::Kind, attribute: TokenStream, item: TokenStream) -> TokenStream {
    let original = proc_macro2::TokenStream::from(item.clone());
    automation::below(kind, &attribute.into(), item.into())
        .unwrap_or_else(|error| {
            let mut tokens = error.into_compile_error();
            tokens.extend(original);
            tokens
        })
        .into()
}

/// Names a function's entry, for `mock::Store::call`: `entry!(rate_limit)`, `entry!(limits::check)`.
#[proc_macro]
pub fn entry(path: TokenStream) -> TokenStream {
    parse::entry(path.into())
        .and_then(validate::entry)
        .map_or_else(syn::Error::into_compile_error, |path| expand::entry(&path))
        .into()
}
