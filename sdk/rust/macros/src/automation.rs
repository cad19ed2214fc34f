//! The attributes `on`, `every` and `cron`: what they declare, as lines of the module's section.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Ident, ItemFn, LitStr, Path, Token, bracketed};

/// Most patterns, and most events, of a trigger.
const WORDS_MAX: usize = 64;

/// Words that mean something else in a declaration.
const OPTIONS: &[&str] = &["KEYS", "EVENTS", "BEFORE", "AFTER", "MISSED", "ARGS"];

/// Units of a time.
const UNITS: &[&str] = &["", "us", "ms", "s", "m", "min", "h", "d"];

/// The kinds of declarations.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    On,
    Every,
    Cron,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Every => "every",
            Self::Cron => "cron",
        }
    }

    /// Returns the kind of an attribute whose path names this SDK.
    fn of(path: &Path) -> Option<Self> {
        let names: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        let (last, before) = names.split_last()?;
        let is_ours = before.last().is_some_and(|module| module == "ferrite");
        [Self::On, Self::Every, Self::Cron]
            .into_iter()
            .find(|kind| is_ours && kind.name() == last)
    }
}

/// One attribute's trigger or schedule, without its entry.
pub(crate) struct Declaration {
    kind: Kind,
    /// The part of the line after the entry's name.
    rest: String,
}

impl Declaration {
    /// Returns the line for an entry.
    pub(crate) fn line(&self, entry: &str) -> String {
        format!("{} {}{}\n", self.kind.name(), word(entry), self.rest)
    }
}

/// Takes the declarations out of a function's attributes, and collects every mistake in them.
pub(crate) fn take(
    attributes: &mut Vec<Attribute>,
    mut mistake: impl FnMut(Error),
) -> Vec<Declaration> {
    let mut declarations = Vec::new();
    attributes.retain(|attribute| {
        let Some(kind) = Kind::of(attribute.path()) else {
            return true;
        };
        let arguments = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.clone(),
            other => {
                mistake(Error::new(other.span(), usage(kind)));
                return false;
            }
        };
        match declaration(kind, arguments, attribute.path().span()) {
            Ok(declaration) => declarations.push(declaration),
            Err(error) => mistake(error),
        }
        false
    });
    declarations
}

/// Returns a function without the attributes that declare, so that their mistakes are told once.
pub(crate) fn without(item: TokenStream) -> TokenStream {
    match syn::parse2::<ItemFn>(item.clone()) {
        Ok(mut function) => {
            take(&mut function.attrs, drop);
            function.into_token_stream()
        }
        Err(_) => item,
    }
}

/// Moves an attribute that stands above `#[ferrite_function]` below it, which then takes it.
pub(crate) fn below(
    kind: Kind,
    arguments: &TokenStream,
    item: TokenStream,
) -> syn::Result<TokenStream> {
    // Its own mistakes come first.
    declaration(kind, arguments.clone(), Span::call_site())?;
    let name = kind.name();
    let mut item: ItemFn = syn::parse2(item).map_err(|error| {
        let text = format!("#[ferrite::{name}] belongs on a function with a body: {error}");
        Error::new(error.span(), text)
    })?;
    let is_function = |attribute: &Attribute| {
        let last = attribute.path().segments.last();
        last.is_some_and(|last| last.ident == "ferrite_function")
    };
    if !item.attrs.iter().any(is_function) {
        return Err(Error::new(
            item.sig.ident.span(),
            format!(
                "#[ferrite::{name}] belongs on a #[ferrite_function]; below that attribute, write the whole path `ferrite::{name}`"
            ),
        ));
    }
    let ident = Ident::new(name, Span::call_site());
    let moved = quote! { #[::ferrite_wasm_sdk::ferrite::#ident(#arguments)] };
    let parsed = syn::parse::Parser::parse2(Attribute::parse_outer, moved)?;
    item.attrs.extend(parsed);
    Ok(item.into_token_stream())
}

fn usage(kind: Kind) -> String {
    match kind {
        Kind::On => {
            "write `#[ferrite::on(keys = \"user:*\", events = \"expired\")]`, and perhaps `before`"
        }
        Kind::Every => "write `#[ferrite::every(\"5m\")]`, and perhaps `missed = \"once\"`",
        Kind::Cron => "write `#[ferrite::cron(\"0 3 * * *\")]`, and perhaps `missed = \"once\"`",
    }
    .to_owned()
}

fn declaration(kind: Kind, arguments: TokenStream, span: Span) -> syn::Result<Declaration> {
    let parse = |input: ParseStream<'_>| Options::parse(kind, input);
    let options = syn::parse::Parser::parse2(parse, arguments)?;
    let rest = if kind == Kind::On {
        on(&options, span)?
    } else {
        timed(kind, &options, span)?
    };
    Ok(Declaration { kind, rest })
}

/// The options of an attribute as written.
#[derive(Default)]
struct Options {
    /// The time of a schedule.
    time: Option<LitStr>,
    keys: Option<Vec<LitStr>>,
    events: Option<Vec<LitStr>>,
    args: Option<Vec<LitStr>>,
    missed: Option<LitStr>,
    before: bool,
    after: bool,
}

impl Options {
    fn parse(kind: Kind, input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            if kind != Kind::On && options.time.is_none() && input.peek(LitStr) {
                options.time = Some(input.parse()?);
            } else {
                options.option(kind, input)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }

    fn option(&mut self, kind: Kind, input: ParseStream<'_>) -> syn::Result<()> {
        let key: Ident = input.parse()?;
        let name = key.to_string();
        let twice = || Error::new(key.span(), format!("`{name}` is given twice"));
        let list = match (kind, name.as_str()) {
            (Kind::On, "before" | "after") => {
                let flag = if name == "before" {
                    &mut self.before
                } else {
                    &mut self.after
                };
                if std::mem::replace(flag, true) {
                    return Err(twice());
                }
                return Ok(());
            }
            (Kind::Every | Kind::Cron, "missed") => {
                input.parse::<Token![=]>()?;
                if self.missed.replace(input.parse()?).is_some() {
                    return Err(twice());
                }
                return Ok(());
            }
            (_, "keys") => &mut self.keys,
            (Kind::On, "events") => &mut self.events,
            (Kind::Every | Kind::Cron, "args") => &mut self.args,
            _ => {
                let text = format!("unknown option `{name}`; {}", usage(kind));
                return Err(Error::new(key.span(), text));
            }
        };
        input.parse::<Token![=]>()?;
        let Words(words) = input.parse()?;
        if list.replace(words).is_some() {
            return Err(twice());
        }
        Ok(())
    }
}

/// One text, or several in brackets.
struct Words(Vec<LitStr>);

impl Parse for Words {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitStr) {
            return Ok(Self(vec![input.parse()?]));
        }
        let content;
        bracketed!(content in input);
        let words = Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?;
        Ok(Self(words.into_iter().collect()))
    }
}

fn on(options: &Options, span: Span) -> syn::Result<String> {
    let mut rest = String::new();
    for (option, words) in [("KEYS", &options.keys), ("EVENTS", &options.events)] {
        let words = words.as_deref().unwrap_or_default();
        if words.is_empty() {
            let name = option.to_ascii_lowercase();
            let text = format!("`{name}` is missing; {}", usage(Kind::On));
            return Err(Error::new(span, text));
        }
        if words.len() > WORDS_MAX {
            let found = words.len();
            let text =
                format!("{found} {option}, the limit is {WORDS_MAX}; write several attributes");
            return Err(Error::new(words[WORDS_MAX].span(), text));
        }
        rest.push_str(&format!(" {option}"));
        for literal in words {
            let text = literal.value();
            if option == "EVENTS" {
                check_event(literal)?;
            } else if text.is_empty() {
                let text = "an empty pattern matches no key; write `*` for every key";
                return Err(Error::new(literal.span(), text));
            }
            rest.push_str(&format!(" {}", word(&text)));
        }
    }
    match (options.before, options.after) {
        (true, true) => return Err(Error::new(span, "give `before` or `after`, not both")),
        (true, false) => rest.push_str(" BEFORE"),
        (false, _) => {}
    }
    Ok(rest)
}

fn check_event(literal: &LitStr) -> syn::Result<()> {
    let event = literal.value();
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = !event.is_empty() && event.len() <= 64 && event.bytes().all(letters);
    if event == "*" || is_name {
        return Ok(());
    }
    Err(Error::new(
        literal.span(),
        format!("`{event}` is no name of an event; write such as `set`, `del`, `expired`, or `*`"),
    ))
}

fn timed(kind: Kind, options: &Options, span: Span) -> syn::Result<String> {
    let Some(time) = &options.time else {
        return Err(Error::new(
            span,
            format!("the time is missing; {}", usage(kind)),
        ));
    };
    let text = time.value();
    match kind {
        Kind::Every if !is_time(&text) => {
            let text = format!("`{text}` is no time; write such as `5m`, `250ms` or `1h`");
            return Err(Error::new(time.span(), text));
        }
        Kind::Cron if !looks_like_cron(&text) => {
            return Err(Error::new(
                time.span(),
                format!(
                    "`{text}` is no expression of cron; write five fields, such as `0 3 * * *` for 3 o'clock UTC each day"
                ),
            ));
        }
        _ => {}
    }
    let mut rest = format!(" {}", word(&text));
    if let Some(missed) = &options.missed {
        let text = missed.value();
        if text != "skip" && text != "once" {
            return Err(Error::new(missed.span(), "write `skip` or `once`"));
        }
        rest.push_str(&format!(" MISSED {text}"));
    }
    for (option, words) in [("KEYS", &options.keys), ("ARGS", &options.args)] {
        let words = words.as_deref().unwrap_or_default();
        if !words.is_empty() {
            rest.push_str(&format!(" {option}"));
        }
        for literal in words {
            rest.push_str(&format!(" {}", word(&literal.value())));
        }
    }
    Ok(rest)
}

/// Returns true for a number and a unit. Hosts know the bounds.
fn is_time(text: &str) -> bool {
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    !number.is_empty() && UNITS.contains(&unit.to_ascii_lowercase().as_str())
}

/// Returns true for five or six fields, or a nickname. Hosts know what is in them.
fn looks_like_cron(text: &str) -> bool {
    let fields = text.split_whitespace().count();
    matches!(fields, 5 | 6) || (fields == 1 && text.starts_with('@'))
}

/// Writes a word of a declaration, in quotes where it needs them.
fn word(text: &str) -> String {
    let plain = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.starts_with('"')
        && !OPTIONS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    quoted.push_str(&format!("\\u{unit:04x}"));
                }
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::{Kind, declaration, word};
    use proc_macro2::{Span, TokenStream};

    fn line(kind: Kind, arguments: TokenStream) -> String {
        let declared = declaration(kind, arguments, Span::call_site());
        declared.map_or_else(
            |error| error.to_string(),
            |declared| declared.line("f").trim_end().to_owned(),
        )
    }

    #[test]
    fn attributes_become_lines() {
        for (kind, arguments, expected) in [
            (
                Kind::On,
                quote!(keys = "user:*", events = "expired"),
                "on f KEYS user:* EVENTS expired",
            ),
            (
                Kind::On,
                quote!(keys = ["a b", "c"], events = ["set", "*"], before),
                "on f KEYS \"a b\" c EVENTS set * BEFORE",
            ),
            (
                Kind::On,
                quote!(events = "set", after, keys = "KEYS"),
                "on f KEYS \"KEYS\" EVENTS set",
            ),
            (Kind::Every, quote!("5m"), "every f 5m"),
            (
                Kind::Cron,
                quote!(
                    "0 3 * * *",
                    missed = "once",
                    keys = "sales",
                    args = ["a", "b c"]
                ),
                "cron f \"0 3 * * *\" MISSED once KEYS sales ARGS a \"b c\"",
            ),
        ] {
            assert_eq!(line(kind, arguments), expected);
        }
        assert_eq!(word("é\n\"\\"), "\"é\\u000a\\\"\\\\\"");
    }

    #[test]
    fn mistakes_are_told() {
        for (kind, arguments, expected) in [
            (Kind::On, quote!(keys = "a"), "`events` is missing"),
            (
                Kind::On,
                quote!(keys = "a", events = "a-b"),
                "no name of an event",
            ),
            (
                Kind::On,
                quote!(keys = "", events = "set"),
                "an empty pattern",
            ),
            (
                Kind::On,
                quote!(keys = "a", events = "set", before, after),
                "not both",
            ),
            (Kind::Every, quote!(), "the time is missing"),
            (Kind::Every, quote!("5 apples"), "is no time"),
            (
                Kind::Every,
                quote!("5m", missed = "never"),
                "`skip` or `once`",
            ),
            (Kind::Cron, quote!("0 3 * *"), "no expression of cron"),
            (
                Kind::Cron,
                quote!("@daily", events = "set"),
                "unknown option",
            ),
        ] {
            let error = line(kind, arguments);
            assert!(error.contains(expected), "{error}");
        }
    }
}
