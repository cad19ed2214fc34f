//! First stage: turns tokens into syntax.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream};
use syn::{Error, ItemFn, LitStr, Path, Token};

/// The options in `#[ferrite_function(…)]`.
#[derive(Default)]
pub(crate) struct Attribute {
    /// The literal of `name = "…"`.
    pub(crate) name: Option<LitStr>,
}

impl Parse for Attribute {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut attribute = Self::default();
        while !input.is_empty() {
            let key: syn::Ident = input.parse()?;
            if key != "name" {
                return Err(Error::new(
                    key.span(),
                    format!("unknown option `{key}`; the only one is `name = \"…\"`"),
                ));
            }
            if attribute.name.is_some() {
                return Err(Error::new(key.span(), "`name` is given twice"));
            }
            input.parse::<Token![=]>()?;
            attribute.name = Some(input.parse()?);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(attribute)
    }
}

/// An annotated function as written.
pub(crate) struct Annotated {
    pub(crate) attribute: Attribute,
    pub(crate) item: ItemFn,
}

/// Reads the attribute's options and the function below it.
pub(crate) fn function(attribute: TokenStream, item: TokenStream) -> syn::Result<Annotated> {
    let attribute = syn::parse2(attribute)?;
    let item = syn::parse2::<ItemFn>(item).map_err(|error| {
        Error::new(
            error.span(),
            format!("#[ferrite_function] belongs on a function with a body: {error}"),
        )
    })?;
    Ok(Annotated { attribute, item })
}

/// Reads the path in `entry!(…)`.
pub(crate) fn entry(path: TokenStream) -> syn::Result<Path> {
    syn::parse2(path)
}
