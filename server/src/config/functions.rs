//! Reads and writes the settings whose types are the runtime's: sizes, times, counts, isolation and
//! permissions.

use ferrite_runtime::policy::files::directory::Directory;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::network::rule::NetworkRules;
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

/// Rules of requests; none if it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkList(pub Vec<String>);

impl Setting for NetworkList {
    const KIND: &'static str =
        "false, or a list of rules such as [\"https://api.example.com/v1/*\"]";

    const LIST: bool = true;

    fn read(raw: &Raw) -> Option<Self> {
        let rules = match raw {
            Raw::Boolean(false) => Vec::new(),
            Raw::List(rules) => rules.clone(),
            Raw::Text(text) if matches!(text.trim(), "" | "false") => Vec::new(),
            Raw::Text(text) => {
                let mut rules: Vec<String> = Vec::new();
                let mut rule = String::new();
                for part in text.split(',') {
                    rule.push_str(part);
                    // A comma before the URL stands between methods.
                    if part.contains("://") {
                        rules.push(std::mem::take(&mut rule).trim().to_owned());
                    } else {
                        rule.push(',');
                    }
                }
                if !rule.is_empty() {
                    return None;
                }
                rules
            }
            Raw::Boolean(true) | Raw::Number(_) => return None,
        };
        NetworkRules::parse(&rules).is_ok().then_some(Self(rules))
    }

    fn write(&self) -> String {
        if self.0.is_empty() {
            return "false".to_owned();
        }
        self.0.write()
    }
}

/// Directories that functions may read; none if it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryList(pub Vec<Directory>);

impl Setting for DirectoryList {
    const KIND: &'static str = "false, or a list of NAME=PATH, NAME:scratch=SIZE and NAME:kept=SIZE such as [\"models=/srv/models\", \"tmp:scratch=16MB\"], each with another name, and each SIZE more than 256 bytes and at most 1GB";

    const LIST: bool = true;

    fn read(raw: &Raw) -> Option<Self> {
        let texts = match raw {
            Raw::Boolean(false) => Vec::new(),
            Raw::Text(text) if text.trim() == "false" => Vec::new(),
            raw => Vec::<String>::read(raw)?,
        };
        let directories: Vec<Directory> = texts
            .iter()
            .map(|text| text.parse().ok())
            .collect::<Option<_>>()?;
        let mut names: Vec<&str> = directories.iter().map(Directory::name).collect();
        names.sort_unstable();
        names.dedup();
        (names.len() == directories.len()).then_some(Self(directories))
    }

    fn write(&self) -> String {
        if self.0.is_empty() {
            return "false".to_owned();
        }
        self.0
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .write()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ByteSize, Count, HumanDuration, Isolation, NetworkList, Permissions, Raw, Setting,
    };

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
    fn rules_of_requests_are_a_list_or_false() {
        let list =
            |rules: &[&str]| NetworkList(rules.iter().map(|&rule| rule.to_owned()).collect());
        for (typed, expected) in [
            ("false", list(&[])),
            ("", list(&[])),
            ("https://a.example", list(&["https://a.example"])),
            (
                "GET,HEAD https://a.example/x, http://b.example:80",
                list(&["GET,HEAD https://a.example/x", "http://b.example:80"]),
            ),
        ] {
            let read = NetworkList::read(&text(typed)).expect(typed);
            assert_eq!(read, expected);
            let file: toml::Table = format!("key = {}", read.write()).parse().expect("TOML");
            assert_eq!(file["key"].is_array(), !expected.0.is_empty());
        }
        for typed in ["true", "*", "https://a@b", "https://a.example,", "GET"] {
            assert_eq!(NetworkList::read(&text(typed)), None, "{typed}");
        }
        assert_eq!(NetworkList::read(&Raw::Boolean(false)), Some(list(&[])));
        assert_eq!(NetworkList::read(&Raw::Boolean(true)), None);
    }

    #[test]
    fn directories_are_a_list_or_false() {
        let read = |typed: &str| super::DirectoryList::read(&text(typed));
        let list = read("models=/srv/models,data=data").expect("two directories");
        assert_eq!(list.write(), "[\"models=/srv/models\", \"data=data\"]");
        assert_eq!(
            read("false").map(|list| list.write()).as_deref(),
            Some("false")
        );
        let list = read("tmp:scratch=1024KB").expect("a scratch directory");
        assert_eq!(list.write(), "[\"tmp:scratch=1MB\"]");
        let list = read("cache:kept=1024KB").expect("a directory that stays");
        assert_eq!(list.write(), "[\"cache:kept=1MB\"]");
        for typed in [
            "cache:kept",
            "cache:kept=",
            "cache:kept=/srv",
            "cache:kept=2GB",
            "a:scratch=1MB,a:kept=1MB",
            "true",
            "/srv",
            "a=/x,a=/y",
            "A=/x",
            "a=",
            "a=/x,a:scratch=1MB",
        ] {
            assert_eq!(read(typed), None, "{typed}");
        }
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
