//! The types of configuration keys: how to read each and write it back.

mod event_selection;

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

pub use event_selection::EventSelection;

/// A value as typed: with a type in a file, or as the text of a flag or variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// Text of a file; flags and variables are always text.
    Text(String),
    /// A number in a file, as written there.
    Number(String),
    /// True or false in a file.
    Boolean(bool),
    /// A list of texts.
    List(Vec<String>),
}

/// A type that a key of the configuration can have.
pub(super) trait Setting: Sized {
    /// Completes the sentence "it must be …".
    const KIND: &'static str;

    /// True if the value is never shown.
    const SECRET: bool = false;

    /// True if the flag may be given several times, each adding values.
    const LIST: bool = false;

    /// Reads a value; `None` if it is not of this kind.
    fn read(raw: &Raw) -> Option<Self>;

    /// Says what is wrong with a value that is never shown, if more than its kind can be said.
    fn problem(_: &Raw) -> Option<String> {
        None
    }

    /// Writes the value as in a file.
    fn write(&self) -> String;
}

pub(super) fn text(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Text(text) | Raw::Number(text) => Some(text),
        Raw::Boolean(_) | Raw::List(_) => None,
    }
}

pub(super) fn parsed<T: FromStr>(raw: &Raw) -> Option<T> {
    text(raw)?.trim().parse().ok()
}

/// Writes a TOML string.
pub(super) fn quoted(value: &dyn Display) -> String {
    let value = value.to_string();
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => {
                literal.push('\\');
                literal.push(letter);
            }
            letter if letter.is_control() => {
                literal.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => literal.push(letter),
        }
    }
    literal.push('"');
    literal
}

impl Setting for bool {
    const KIND: &'static str = "true or false";

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Boolean(value) => Some(*value),
            Raw::Text(text) => match text.trim() {
                "true" | "yes" | "on" | "1" => Some(true),
                "false" | "no" | "off" | "0" => Some(false),
                _ => None,
            },
            Raw::Number(_) | Raw::List(_) => None,
        }
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Setting for usize {
    const KIND: &'static str = "a whole number, 0 or more";

    fn read(raw: &Raw) -> Option<Self> {
        parsed::<u32>(raw).map(|number| number as Self)
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Setting for u64 {
    const KIND: &'static str = "a whole number, 0 or more";

    fn read(raw: &Raw) -> Option<Self> {
        parsed(raw)
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Setting for IpAddr {
    const KIND: &'static str = "an IP address such as \"127.0.0.1\" or \"::1\"";

    fn read(raw: &Raw) -> Option<Self> {
        parsed(raw)
    }

    fn write(&self) -> String {
        quoted(self)
    }
}

impl Setting for String {
    const KIND: &'static str = "a text";

    fn read(raw: &Raw) -> Option<Self> {
        text(raw).map(str::to_owned)
    }

    fn write(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    const KIND: &'static str = "a path";

    fn read(raw: &Raw) -> Option<Self> {
        text(raw).filter(|path| !path.is_empty()).map(Self::from)
    }

    fn write(&self) -> String {
        quoted(&self.display())
    }
}

impl Setting for Option<PathBuf> {
    const KIND: &'static str = "a path, or \"\" for none";

    fn read(raw: &Raw) -> Option<Self> {
        let path = text(raw)?;
        Some((!path.is_empty()).then(|| PathBuf::from(path)))
    }

    fn write(&self) -> String {
        quoted(&self.as_deref().unwrap_or_else(|| "".as_ref()).display())
    }
}

impl Setting for Option<SocketAddr> {
    const KIND: &'static str = "an address such as \"127.0.0.1:9121\", or \"\" for none";

    fn read(raw: &Raw) -> Option<Self> {
        let address = text(raw)?.trim();
        if address.is_empty() {
            return Some(None);
        }
        address.parse().ok().map(Some)
    }

    fn write(&self) -> String {
        match self {
            Some(address) => quoted(address),
            None => quoted(&""),
        }
    }
}

impl Setting for Vec<String> {
    const KIND: &'static str = "a list of texts";

    const LIST: bool = true;

    fn read(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::List(texts) => Some(texts.clone()),
            Raw::Text(text) => Some(
                text.split(',')
                    .map(str::trim)
                    .filter(|text| !text.is_empty())
                    .map(str::to_owned)
                    .collect(),
            ),
            Raw::Number(_) | Raw::Boolean(_) => None,
        }
    }

    fn write(&self) -> String {
        let texts: Vec<String> = self.iter().map(|text| quoted(text)).collect();
        format!("[{}]", texts.join(", "))
    }
}

/// A TCP port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Do not listen.
    Off,
    /// This port; 0 lets the system choose a free one.
    Number(u16),
}

impl Setting for Port {
    const KIND: &'static str = "a port from 0 (any free one) to 65535, or \"off\"";

    fn read(raw: &Raw) -> Option<Self> {
        match text(raw)?.trim() {
            "off" => Some(Self::Off),
            number => number.parse().ok().map(Self::Number),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Off => quoted(&"off"),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the password; empty for none.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret")
    }
}

impl Setting for Secret {
    const KIND: &'static str = "a text, or \"\" for none";

    const SECRET: bool = true;

    fn read(raw: &Raw) -> Option<Self> {
        text(raw).map(|text| Self(text.to_owned()))
    }

    fn write(&self) -> String {
        quoted(&self.0)
    }
}

/// Declares an enum whose values are fixed words, and its [`Setting`].
macro_rules! words {
    ($(#[$meta:meta])* pub enum $Name:ident { $($(#[$value_meta:meta])* $Value:ident = $word:literal,)+ } $kind:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name { $($(#[$value_meta])* $Value,)+ }

        impl Setting for $Name {
            const KIND: &'static str = $kind;

            fn read(raw: &Raw) -> Option<Self> {
                match text(raw)?.trim() {
                    $($word => Some(Self::$Value),)+
                    _ => None,
                }
            }

            fn write(&self) -> String {
                match self {
                    $(Self::$Value => quoted(&$word),)+
                }
            }
        }
    };
}

words! {
    /// Format of log lines.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
    "\"text\" or \"json\""
}

words! {
    /// Moment at which a write is answered.
    pub enum Durability {
        /// Once it is on disk.
        Always = "always",
        /// At once; the disk is synced every second.
        EverySecond = "everysec",
        /// At once; the system decides when to sync.
        No = "no",
    }
    "\"always\", \"everysec\" or \"no\""
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::net::{IpAddr, SocketAddr};
    use std::path::PathBuf;

    use super::{LogFormat, Port, Raw, Secret, Setting};

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    /// Checks that a value is written as expected, and that a file with it reads as the same value.
    fn round_trip<T: Setting + Debug + PartialEq>(typed: &Raw, written: &str) {
        let value = T::read(typed).unwrap_or_else(|| panic!("{typed:?} is {}", T::KIND));
        assert_eq!(value.write(), written);
        let file: toml::Table = format!("key = {written}")
            .parse()
            .expect("TOML was written");
        let raw = match &file["key"] {
            toml::Value::String(text) => Raw::Text(text.clone()),
            toml::Value::Boolean(value) => Raw::Boolean(*value),
            toml::Value::Array(values) => Raw::List(
                values
                    .iter()
                    .map(|value| value.as_str().expect("texts").to_owned())
                    .collect(),
            ),
            number => Raw::Number(number.to_string()),
        };
        assert_eq!(T::read(&raw).as_ref(), Some(&value));
    }

    #[test]
    fn every_type_is_written_as_it_is_read() {
        round_trip::<bool>(&text("yes"), "true");
        round_trip::<bool>(&Raw::Boolean(false), "false");
        round_trip::<usize>(&text(" 12 "), "12");
        round_trip::<u64>(
            &Raw::Number("18446744073709551".into()),
            "18446744073709551",
        );
        round_trip::<IpAddr>(&text("::1"), "\"::1\"");
        round_trip::<String>(&text("a \"b\"\n\\"), "\"a \\\"b\\\"\\u000a\\\\\"");
        round_trip::<PathBuf>(&text("./wasm"), "\"./wasm\"");
        round_trip::<Option<PathBuf>>(&text(""), "\"\"");
        round_trip::<Option<SocketAddr>>(&text("127.0.0.1:80"), "\"127.0.0.1:80\"");
        round_trip::<Option<SocketAddr>>(&text(""), "\"\"");
        round_trip::<Vec<String>>(&text("a, b,"), "[\"a\", \"b\"]");
        round_trip::<Port>(&text("0"), "0");
        round_trip::<Port>(&text("off"), "\"off\"");
        round_trip::<Secret>(&text("s3cret"), "\"s3cret\"");
        round_trip::<LogFormat>(&text("json"), "\"json\"");
    }

    #[test]
    fn other_values_are_refused() {
        assert_eq!(bool::read(&text("perhaps")), None);
        assert_eq!(bool::read(&Raw::Number("1".into())), None);
        assert_eq!(usize::read(&text("-1")), None);
        assert_eq!(usize::read(&text("99999999999")), None);
        assert_eq!(u64::read(&Raw::Number("1.5".into())), None);
        assert_eq!(IpAddr::read(&text("localhost")), None);
        assert_eq!(PathBuf::read(&text("")), None);
        assert_eq!(Port::read(&text("65536")), None);
        assert_eq!(Option::<SocketAddr>::read(&text("here")), None);
        assert_eq!(Vec::<String>::read(&Raw::Boolean(true)), None);
        assert_eq!(LogFormat::read(&text("xml")), None);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::read(&text("s3cret")).expect("any text");
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
