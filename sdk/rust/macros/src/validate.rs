//! Second stage: turns syntax into a model of the function, or reports its mistakes.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, GenericArgument, GenericParam, Ident, ItemFn, Pat, Path, PathArguments,
    ReturnType, Type,
};

use crate::automation::{self, Declaration};
use crate::parse::Annotated;
use crate::type_text::type_text;

/// Longest name that a store accepts for an entry.
const NAME_BYTES_MAX: usize = 128;

/// Exports that mean something else to a host.
const RESERVED: &[&str] = &["memory", "alloc", "dealloc", "_initialize", "_start"];

/// Prefixes of names that belong to toolchains.
const RESERVED_PREFIXES: &[&str] = &["__", "cabi_"];

/// A function that can be exported.
pub(crate) struct Function {
    pub(crate) item: ItemFn,
    /// Name of the entry.
    pub(crate) export: String,
    pub(crate) parameters: Vec<Parameter>,
    /// Triggers and schedules that run it.
    pub(crate) declarations: Vec<Declaration>,
    /// Position of the result's type, for the compiler's error if it cannot be a reply.
    pub(crate) result_span: Span,
}

/// A parameter of an exported function.
pub(crate) struct Parameter {
    /// Its name for error replies.
    pub(crate) name: String,
    /// Its type for error replies.
    pub(crate) type_text: String,
    /// Position of its type, for the compiler's error if it cannot be a parameter.
    pub(crate) span: Span,
}

/// Checks an annotated function and collects every mistake in it.
pub(crate) fn function(annotated: Annotated) -> syn::Result<Function> {
    let Annotated {
        attribute,
        mut item,
    } = annotated;
    let mut mistakes = Mistakes::default();
    let declarations = automation::take(&mut item.attrs, |mistake| mistakes.add(mistake));
    let export = match &attribute.name {
        Some(literal) => {
            let name = literal.value();
            mistakes.keep(check_name(&name, literal.span()));
            name
        }
        None => {
            let ident = &item.sig.ident;
            let name = ident.to_string();
            let name = name.strip_prefix("r#").unwrap_or(&name).to_owned();
            mistakes.keep(check_name(&name, ident.span()));
            name
        }
    };
    check_signature(&item, &mut mistakes);
    let mut parameters = Vec::new();
    let mut shapes = Vec::new();
    for input in &item.sig.inputs {
        match parameter(input) {
            Ok((parameter, shape)) => {
                parameters.push(parameter);
                shapes.push((shape, input.span()));
            }
            Err(error) => mistakes.add(error),
        }
    }
    check_order(&shapes, &mut mistakes);
    mistakes.into_result()?;
    let result_span = match &item.sig.output {
        ReturnType::Default => item.sig.ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    Ok(Function {
        item,
        export,
        parameters,
        declarations,
        result_span,
    })
}

/// Checks the path of `entry!`: its last segment is the function's name.
pub(crate) fn entry(path: Path) -> syn::Result<Path> {
    match path.segments.last() {
        Some(last) if matches!(last.arguments, PathArguments::None) => Ok(path),
        _ => Err(Error::new(
            path.span(),
            "expected the path of a function, as in `entry!(limits::check)`",
        )),
    }
}

/// Every mistake found so far, as one error.
#[derive(Default)]
struct Mistakes(Option<Error>);

impl Mistakes {
    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    fn keep(&mut self, result: syn::Result<()>) {
        if let Err(error) = result {
            self.add(error);
        }
    }

    fn into_result(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

fn check_name(name: &str, span: Span) -> syn::Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(Error::new(
            span,
            format!("`{name}` cannot be called: a name is 1 to 128 of `A-Z a-z 0-9 _ : -`"),
        ));
    }
    let reserved = RESERVED.contains(&name)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix));
    if reserved {
        return Err(Error::new(
            span,
            format!("`{name}` is reserved for the toolchain; choose another name"),
        ));
    }
    Ok(())
}

fn check_signature(item: &ItemFn, mistakes: &mut Mistakes) {
    let signature = &item.sig;
    if let Some(token) = &signature.asyncness {
        mistakes.add(Error::new(
            token.span(),
            "a ferrite function cannot be async: calls into the store return when they are done",
        ));
    }
    if let Some(token) = &signature.unsafety {
        mistakes.add(Error::new(
            token.span(),
            "a ferrite function cannot be unsafe: anyone may call it with any input",
        ));
    }
    if let Some(abi) = &signature.abi {
        mistakes.add(Error::new(
            abi.span(),
            "leave the ABI out: the macro writes the exported function itself",
        ));
    }
    for generic in &signature.generics.params {
        if !matches!(generic, GenericParam::Lifetime(_)) {
            mistakes.add(Error::new(
                generic.span(),
                "a ferrite function cannot be generic: a caller sends bytes, not types",
            ));
        }
    }
    if let Some(variadic) = &signature.variadic {
        mistakes.add(Error::new(
            variadic.span(),
            "take the remaining arguments as `Vec<T>` instead",
        ));
    }
}

fn parameter(input: &FnArg) -> syn::Result<(Parameter, Shape)> {
    let typed = match input {
        FnArg::Typed(typed) => typed,
        FnArg::Receiver(receiver) => {
            return Err(Error::new(
                receiver.span(),
                "a ferrite function cannot be a method",
            ));
        }
    };
    let Pat::Ident(pattern) = &*typed.pat else {
        return Err(Error::new(
            typed.pat.span(),
            "give the parameter a plain name: error replies call it by that name",
        ));
    };
    if let Type::Reference(reference) = &*typed.ty {
        if let Some(token) = &reference.mutability {
            return Err(Error::new(
                token.span(),
                "a parameter cannot be a mutable reference; take the value itself",
            ));
        }
    }
    if let Type::ImplTrait(_) = &*typed.ty {
        return Err(Error::new(
            typed.ty.span(),
            "a parameter needs a type of its own, such as `&str`, `i64` or `Vec<String>`",
        ));
    }
    let name = pattern.ident.to_string();
    let parameter = Parameter {
        name: name.strip_prefix("r#").unwrap_or(&name).to_owned(),
        type_text: type_text(&typed.ty),
        span: typed.ty.span(),
    };
    Ok((parameter, shape(&typed.ty)))
}

/// Number of values that a parameter takes, as far as its type's spelling shows.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    One,
    /// One or none.
    Optional,
    /// All remaining values.
    Rest,
    /// All remaining keys.
    RestOfKeys,
}

fn shape(ty: &Type) -> Shape {
    let Type::Path(path) = ty else {
        return Shape::One;
    };
    let Some(last) = path.path.segments.last() else {
        return Shape::One;
    };
    match last.ident.to_string().as_str() {
        "Option" => Shape::Optional,
        "BTreeMap" | "HashMap" => Shape::Rest,
        "Keys" => Shape::RestOfKeys,
        "Vec" if !is_bytes(&last.arguments) => Shape::Rest,
        _ => Shape::One,
    }
}

/// Returns true if the arguments are `<u8>`: a `Vec<u8>` is one value, not a list.
fn is_bytes(arguments: &PathArguments) -> bool {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return false;
    };
    matches!(arguments.args.first(), Some(GenericArgument::Type(Type::Path(path)))
        if path.path.get_ident().is_some_and(|ident: &Ident| ident == "u8"))
}

/// Refuses a parameter after one that takes all remaining values: it would always be missing.
fn check_order(shapes: &[(Shape, Span)], mistakes: &mut Mistakes) {
    let mut optional = false;
    let mut rest = false;
    for &(shape, span) in shapes {
        if rest {
            mistakes.add(Error::new(
                span,
                "nothing is left for this parameter: the one before it takes all that remains",
            ));
        } else if optional && matches!(shape, Shape::One | Shape::RestOfKeys) {
            mistakes.add(Error::new(
                span,
                "a parameter that is always needed cannot follow an optional one",
            ));
        }
        optional |= shape == Shape::Optional;
        rest |= shape == Shape::Rest;
    }
}
