//! The rules of a user: which commands it may run, on which keys, and which functions it may call.

use std::collections::{BTreeMap, BTreeSet};

use ferrite_protocol::glob::Glob;

/// A set of commands, by their numbers in the table of commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandSet(Vec<u64>);

impl CommandSet {
    pub(crate) fn contains(&self, command: u16) -> bool {
        let (word, bit) = (usize::from(command) / 64, command % 64);
        self.0.get(word).is_some_and(|bits| bits & (1 << bit) != 0)
    }

    pub(crate) fn set(&mut self, command: u16, contained: bool) {
        let (word, bit) = (usize::from(command) / 64, command % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if contained {
            self.0[word] |= 1 << bit;
        } else {
            self.0[word] &= !(1 << bit);
        }
    }
}

/// The commands that a user may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandRules {
    pub(crate) allowed: CommandSet,
    /// Subcommands of commands that are not in `allowed` as a whole, in lower case.
    pub(crate) subcommands: BTreeMap<u16, BTreeSet<Vec<u8>>>,
    /// True if every command is allowed, also those of later versions.
    pub(crate) all: bool,
    /// The rules as they were given, such as `+@read`, in the order in which they apply.
    pub(crate) text: Vec<String>,
}

impl CommandRules {
    /// Allows no command.
    pub(crate) fn nothing() -> Self {
        Self {
            text: vec!["-@all".to_owned()],
            ..Self::default()
        }
    }

    /// Returns true if a request of this command may run.
    pub(crate) fn allow(&self, command: u16, argv: &[&[u8]]) -> bool {
        self.all
            || self.allowed.contains(command)
            || self.subcommands.get(&command).is_some_and(|allowed| {
                argv.get(1)
                    .is_some_and(|word| allowed.contains(&word.to_ascii_lowercase()))
            })
    }
}

/// The keys that a user may read and write.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRules {
    pub(crate) patterns: Vec<KeyPattern>,
}

/// A pattern of keys, and what it permits.
#[derive(Clone, Debug)]
pub(crate) struct KeyPattern {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) glob: Glob,
    /// The pattern as it was given.
    pub(crate) text: String,
}

impl KeyRules {
    /// Permits every key.
    pub(crate) fn all() -> Self {
        let mut rules = Self::default();
        // Cannot fail: a star is a pattern.
        rules.add("*", true, true);
        rules
    }

    /// Adds a pattern; returns false if it is none.
    pub(crate) fn add(&mut self, text: &str, read: bool, write: bool) -> bool {
        let Ok(glob) = Glob::parse(text.as_bytes()) else {
            return false;
        };
        self.patterns.push(KeyPattern {
            read,
            write,
            glob,
            text: text.to_owned(),
        });
        true
    }

    /// Returns true if every key may be read and written, so that nothing needs to be checked.
    pub(crate) fn is_all(&self) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.text == "*" && pattern.read && pattern.write)
    }

    /// Returns true if this key may be accessed so.
    pub(crate) fn allow(&self, key: &[u8], read: bool, write: bool) -> bool {
        let permits = |wanted: fn(&KeyPattern) -> bool| {
            self.patterns
                .iter()
                .any(|pattern| wanted(pattern) && pattern.glob.matches(key))
        };
        (!read || permits(|pattern| pattern.read)) && (!write || permits(|pattern| pattern.write))
    }

    /// Writes the patterns as `ACL LIST` shows them.
    pub(crate) fn shown(&self) -> String {
        let shown: Vec<String> = self.patterns.iter().map(KeyPattern::shown).collect();
        shown.join(" ")
    }
}

impl KeyPattern {
    /// Writes the pattern as `ACL SETUSER` reads it.
    pub(crate) fn shown(&self) -> String {
        match (self.read, self.write) {
            (true, false) => format!("%R~{}", self.text),
            (false, true) => format!("%W~{}", self.text),
            _ => format!("~{}", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CommandRules, CommandSet, KeyRules};

    #[test]
    fn a_set_grows_with_its_numbers() {
        let mut set = CommandSet::default();
        assert!(!set.contains(0) && !set.contains(500));
        set.set(0, true);
        set.set(500, true);
        assert!(set.contains(0) && set.contains(500) && !set.contains(499));
        set.set(500, false);
        assert!(!set.contains(500));
    }

    #[test]
    fn a_subcommand_can_be_allowed_alone() {
        let mut rules = CommandRules::default();
        rules
            .subcommands
            .insert(3, [b"get".to_vec()].into_iter().collect());
        assert!(rules.allow(3, &[b"CONFIG", b"GeT", b"*"]));
        assert!(!rules.allow(3, &[b"CONFIG", b"SET"]) && !rules.allow(3, &[b"CONFIG"]));
        assert!(!rules.allow(4, &[b"CONFIG", b"get"]));
    }

    #[test]
    fn keys_are_read_and_written_by_different_patterns() {
        let mut rules = KeyRules::default();
        assert!(rules.add("app:*", true, true) && rules.add("ref:*", true, false));
        assert!(!rules.add("[", true, true));
        assert!(rules.allow(b"app:1", true, true) && rules.allow(b"ref:1", true, false));
        assert!(!rules.allow(b"ref:1", true, true) && !rules.allow(b"other", true, false));
        assert!(!rules.is_all() && KeyRules::all().is_all());
        assert_eq!(rules.shown(), "~app:* %R~ref:*");
    }
}
