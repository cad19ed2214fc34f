//! Third stage: generates code from the model. It checks nothing and cannot fail.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Path;

use crate::validate::Function;

/// Writes the unchanged function, its entry, and, for WebAssembly, the export.
pub(crate) fn function(function: &Function) -> TokenStream {
    let Function {
        item,
        export,
        parameters,
        declarations,
        result_span,
    } = function;
    let ident = &item.sig.ident;
    let visibility = &item.vis;
    let entry = entry_ident(ident);
    let signature = format!(
        "{export}({})",
        parameters
            .iter()
            .map(|parameter| format!("{}: {}", parameter.name, parameter.type_text))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let descriptions = parameters.iter().map(|parameter| {
        let name = &parameter.name;
        let type_text = &parameter.type_text;
        quote! { ::ferrite_wasm_sdk::__private::Description { name: #name, type_text: #type_text } }
    });
    let values: Vec<Ident> = (0..parameters.len())
        .map(|index| format_ident!("value_{index}"))
        .collect();
    // The types are inferred from the call below, so that lifetimes need no names here. The span
    // makes the compiler point at the parameter's type where that type cannot be a parameter.
    let takes = parameters.iter().zip(&values).map(|(parameter, value)| {
        quote_spanned! { parameter.span =>
            let #value = ::ferrite_wasm_sdk::__private::take(input)?;
        }
    });
    // The same for the result, whose type follows the arrow, if there is one.
    let reply = quote_spanned! { *result_span =>
        ::ferrite_wasm_sdk::Reply::reply(&result)
    };

    let lines: String = declarations.iter().map(|one| one.line(export)).collect();
    let declared = (!lines.is_empty()).then(|| {
        let bytes = Literal::byte_string(lines.as_bytes());
        let count = lines.len();
        quote! {
            // SAFETY: the section is not a part of the memory; hosts read it, and no code does.
            #[allow(unsafe_code, reason = "a section's name is an unsafe attribute")]
            #[unsafe(link_section = "ferrite.automation")]
            pub static DECLARED: [u8; #count] = *#bytes;
        }
    });

    quote! {
        #[allow(clippy::needless_pass_by_value, reason = "a call fills parameters with values")]
        #item

        #[doc(hidden)]
        #[allow(non_upper_case_globals, reason = "the name follows the function's")]
        #visibility const #entry: ::ferrite_wasm_sdk::__private::Entry = {
            fn call(
                input: &mut ::ferrite_wasm_sdk::__private::Input<'_>,
            ) -> ::core::result::Result<(), ::ferrite_wasm_sdk::Error> {
                #(#takes)*
                ::ferrite_wasm_sdk::__private::finish(input)?;
                let result = #ident(#(#values),*);
                #reply;
                ::core::result::Result::Ok(())
            }
            ::ferrite_wasm_sdk::__private::Entry {
                name: #export,
                signature: #signature,
                parameters: &[#(#descriptions),*],
                call,
            }
        };

        #[cfg(target_family = "wasm")]
        const _: () = {
            // SAFETY: the name is that of a ferrite function, which no toolchain symbol has, and a
            // second function of that name fails to link.
            #[allow(unsafe_code, reason = "an export's name is an unsafe attribute")]
            #[unsafe(export_name = #export)]
            extern "C" fn exported() {
                ::ferrite_wasm_sdk::__private::run(&#entry);
            }

            #declared
        };
    }
}

/// Writes the path of a function's entry.
pub(crate) fn entry(path: &Path) -> TokenStream {
    let mut path = path.clone();
    if let Some(last) = path.segments.last_mut() {
        last.ident = entry_ident(&last.ident);
    }
    quote! { (&#path) }
}

fn entry_ident(function: &Ident) -> Ident {
    let name = function.to_string();
    let name = name.strip_prefix("r#").unwrap_or(&name);
    Ident::new(&format!("__ferrite_entry_{name}"), function.span())
}
