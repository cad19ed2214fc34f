//! Reads and writes the settings whose types are the runtime's: sizes, times, counts, isolation and
//! permissions.

use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::policy::quantity::{ByteSize, Count, HumanDuration};

use super::setting::{Raw, Setting, parsed, quoted, text};

impl Setting for ByteSize {
    const KIND: &'static str = "a size such as \"16MB\" or \"512KB\"";

    fn read(raw: &Raw) -> Option<Self> {
        parsed(raw)
    }

    fn write(&self) -> String {
        quoted(self)
    }
}

impl Setting for HumanDuration {
    const KIND: &'static str = "a time such as \"5s\", \"250ms\" or \"2h\"";

    fn read(raw: &Raw) -> Option<Self> {
        parsed(raw)
    }

    fn write(&self) -> String {
        quoted(self)
    }
}

impl Setting for Count {
    const KIND: &'static str = "a whole number, 0 or more";

    fn read(raw: &Raw) -> Option<Self> {
        parsed(raw)
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// Settings that may be left out, as `""`.
macro_rules! optional {
    ($($Type:ty: $kind:literal;)+) => {$(
        impl Setting for Option<$Type> {
            const KIND: &'static str = $kind;

            fn read(raw: &Raw) -> Option<Self> {
                match text(raw)?.trim() {
                    "" => Some(None),
                    _ => parsed(raw).map(Some),
                }
            }

            fn write(&self) -> String {
                self.as_ref().map_or_else(|| quoted(&""), Setting::write)
            }
        }
    )+};
}

optional! {
    ByteSize: "a size such as \"16MB\", or \"\" for none";
    HumanDuration: "a time such as \"5s\", or \"\" for none";
    Count: "a whole number, or \"\" for none";
}

impl Setting for Isolation {
    const KIND: &'static str = "\"rewind\", \"fresh\" or \"reuse\"";

    fn read(raw: &Raw) -> Option<Self> {
        parsed(raw)
    }

    fn write(&self) -> String {
        quoted(self)
    }
}

impl Setting for Permissions {
    const KIND: &'static str =
        "\"read-only\", \"read-write\", \"none\", or permissions as JSON, as WASM.LOAD takes them";

    fn read(raw: &Raw) -> Option<Self> {
        let text = text(raw)?.trim();
        Self::named(text).or_else(|| Self::from_json(text.as_bytes()).ok())
    }

    fn write(&self) -> String {
        let name = Self::NAMES
            .iter()
            .find(|name| Self::named(name).as_ref() == Some(self));
        name.map_or_else(|| quoted(&self.to_json()), |name| quoted(name))
    }
}

#[cfg(test)]
mod tests {
    use super::{ByteSize, Count, HumanDuration, Isolation, Permissions, Raw, Setting};

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn the_runtimes_types_are_read_and_written() {
        for (typed, written) in [("1024", "\"1KB\""), ("16MB", "\"16MB\"")] {
            assert_eq!(
                ByteSize::read(&text(typed)).expect("a size").write(),
                written
            );
        }
        assert_eq!(
            HumanDuration::read(&text("90s")).expect("a time").write(),
            "\"90s\""
        );
        assert_eq!(
            Count::read(&text("1_000")).expect("a count").write(),
            "1000"
        );
        assert_eq!(Option::<Count>::read(&text("")), Some(None));
        assert_eq!(Isolation::read(&text("FRESH")), Some(Isolation::Fresh));
        for name in Permissions::NAMES {
            let permissions = Permissions::read(&text(name)).expect("a name");
            assert_eq!(permissions.write(), format!("{name:?}"));
        }
        let json = r#"{"allowed_keys":["user:*"],"allow_write":true}"#;
        let permissions = Permissions::read(&text(json)).expect("JSON");
        let file: toml::Table = format!("key = {}", permissions.write())
            .parse()
            .expect("TOML");
        let again = Permissions::read(&text(file["key"].as_str().expect("text")));
        assert_eq!(again, Some(permissions));
    }

    #[test]
    fn other_values_are_refused() {
        assert_eq!(ByteSize::read(&text("16 stones")), None);
        assert_eq!(HumanDuration::read(&text("-5s")), None);
        assert_eq!(Count::read(&text("many")), None);
        assert_eq!(Isolation::read(&text("none")), None);
        assert_eq!(Permissions::read(&text("{\"fly\":true}")), None);
    }
}
