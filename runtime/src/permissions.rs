//! What a function may do to the data: read from JSON, compiled once, asked at one door.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{CallError, Code, Quoted};
use crate::glob::{Glob, GlobError};
use crate::json::{self, JsonError};
use crate::keyspace::{CommandAccess, KeyAccess};

/// The permissions of a function as they are written: `PERMISSIONS '{"allow_write": true}'`.
///
/// A field that is not given has the value of [`Permissions::default`], which reads every key and
/// writes none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// Globs; the function may touch a key that matches one of them.
    pub allowed_keys: Vec<String>,
    /// Globs; the function may not touch a key that matches one of them, whatever else says so.
    pub denied_keys: Vec<String>,
    /// Names of the commands that the function may run, or all when it is not given. The host
    /// functions count as the commands they stand for: `get` as `GET`, `incr_by` as `INCRBY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_commands: Option<Vec<String>>,
    /// Whether the function may write.
    pub allow_write: bool,
    /// Whether the function may use the network. Nothing implements it, so `true` is refused.
    pub allow_network: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Self {
            allowed_keys: vec!["*".to_owned()],
            denied_keys: Vec::new(),
            allowed_commands: None,
            allow_write: false,
            allow_network: false,
        }
    }
}

impl Permissions {
    /// Names that stand for whole sets of permissions, as the configuration uses them.
    pub const NAMES: [&'static str; 3] = ["read-only", "read-write", "none"];

    /// The permissions that one of [`Permissions::NAMES`] stands for.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "read-only" => Some(Self::default()),
            "read-write" => Some(Self {
                allow_write: true,
                ..Self::default()
            }),
            "none" => Some(Self {
                allowed_keys: Vec::new(),
                allowed_commands: Some(Vec::new()),
                ..Self::default()
            }),
            _ => None,
        }
    }

    /// Reads the JSON of a `PERMISSIONS` option. What it means is checked by [`Door::new`].
    pub fn from_json(text: &[u8]) -> Result<Self, PermissionsError> {
        json::read(text).map_err(PermissionsError::Json)
    }

    /// The same as JSON, every field written out.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and booleans can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Why permissions are refused at load.
#[derive(Debug, thiserror::Error)]
pub enum PermissionsError {
    /// The text is not what it must be.
    #[error("permissions: {0}")]
    Json(JsonError),
    /// A pattern is doubtful.
    #[error("permissions: pattern {} in {field}: {problem}", Quoted(.pattern.as_bytes()))]
    Glob {
        /// Which list it stands in.
        field: &'static str,
        /// The pattern.
        pattern: Box<str>,
        /// What is wrong with it.
        problem: GlobError,
    },
    /// A command that the host does not have.
    #[error(
        "permissions: unknown command {} in allowed_commands; COMMAND LIST shows those there are",
        Quoted(.name.as_bytes())
    )]
    UnknownCommand {
        /// The command.
        name: Box<str>,
    },
    /// More patterns or commands than [`Door::ITEMS_MAX`].
    #[error(
        "permissions: {field} has {count} items, the limit is {}",
        Door::ITEMS_MAX
    )]
    TooMany {
        /// Which list.
        field: &'static str,
        /// How many it has.
        count: usize,
    },
    /// `allow_network: true`.
    #[error(
        "permissions: allow_network cannot be granted: functions have no network; leave it out"
    )]
    Network,
}

/// What a host function does to a key; also tells which command it counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads a string.
    Get,
    /// Writes a string.
    Set,
    /// Deletes a key.
    Delete,
    /// Asks whether a key exists.
    Exists,
    /// Adds to an integer.
    Increment,
    /// Sets an expiry.
    Expire,
    /// Reads an expiry.
    Ttl,
    /// Reads a hash field.
    HashGet,
    /// Writes a hash field.
    HashSet,
    /// Deletes a hash field.
    HashDelete,
}

impl Access {
    /// Every kind of access.
    pub const ALL: [Self; 10] = [
        Self::Get,
        Self::Set,
        Self::Delete,
        Self::Exists,
        Self::Increment,
        Self::Expire,
        Self::Ttl,
        Self::HashGet,
        Self::HashSet,
        Self::HashDelete,
    ];

    /// The commands that do the same; permission for any of them covers the access.
    #[must_use]
    pub const fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET"],
            Self::Set => &["SET"],
            Self::Delete => &["DEL", "UNLINK"],
            Self::Exists => &["EXISTS"],
            Self::Increment => &["INCRBY"],
            Self::Expire => &["PEXPIRE", "EXPIRE"],
            Self::Ttl => &["PTTL", "TTL"],
            Self::HashGet => &["HGET"],
            Self::HashSet => &["HSET"],
            Self::HashDelete => &["HDEL"],
        }
    }

    /// Whether it writes.
    #[must_use]
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Get | Self::Exists | Self::Ttl | Self::HashGet)
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Compiled permissions. Every access to data passes here first, before the data is touched.
#[derive(Clone, Debug)]
pub struct Door {
    /// The kinds of access that commands and `allow_write` leave open, a bit each.
    open: u16,
    write: bool,
    keys: Keys,
    /// Names in upper case, sorted; `None` where every command may run.
    commands: Option<Box<[Box<[u8]>]>>,
}

#[derive(Clone, Debug)]
enum Keys {
    All,
    Some {
        allowed: Box<[Glob]>,
        denied: Box<[Glob]>,
    },
}

impl Door {
    /// Longest list of patterns or commands.
    pub const ITEMS_MAX: usize = 1024;

    /// Checks and compiles permissions. `is_command` tells which commands the host has.
    pub fn new(
        permissions: &Permissions,
        is_command: impl Fn(&[u8]) -> bool,
    ) -> Result<Self, PermissionsError> {
        let Permissions {
            allowed_keys,
            denied_keys,
            allowed_commands,
            allow_write,
            allow_network,
        } = permissions;
        if *allow_network {
            return Err(PermissionsError::Network);
        }
        let allowed = globs("allowed_keys", allowed_keys)?;
        let denied = globs("denied_keys", denied_keys)?;
        let keys = if denied.is_empty() && allowed.iter().any(Glob::is_all) {
            Keys::All
        } else {
            Keys::Some { allowed, denied }
        };
        let commands = match allowed_commands {
            Some(names) => Some(command_names(names, is_command)?),
            None => None,
        };
        let mut door = Self {
            open: 0,
            write: *allow_write,
            keys,
            commands,
        };
        door.open = Access::ALL
            .into_iter()
            .filter(|access| door.refused_access(*access).is_none())
            .fold(0, |bits, access| bits | access.bit());
        Ok(door)
    }

    /// Decides on a host function's access to a key.
    pub fn check_key(&self, key: &[u8], access: Access) -> Result<(), Denied> {
        if self.open & access.bit() == 0 {
            // The mask was made from the same answer, so there is one.
            let rule = self.refused_access(access).unwrap_or(Rule::Command);
            return Err(Denied::new(access.commands()[0].as_bytes(), rule));
        }
        self.check_pattern(key)
    }

    /// Decides on a command that is run by name. `argv[0]` is its name, and `access` is what the
    /// host's command table says about these arguments.
    pub fn check_command(
        &self,
        name: &[u8],
        access: &CommandAccess,
        argv: &[&[u8]],
    ) -> Result<(), Denied> {
        let CommandAccess { write, keys } = access;
        if !self.may_run(name) {
            return Err(Denied::new(name, Rule::Command));
        }
        if *write && !self.write {
            return Err(Denied::new(name, Rule::Write));
        }
        if matches!(self.keys, Keys::All) {
            return Ok(());
        }
        match keys {
            KeyAccess::None => Ok(()),
            KeyAccess::At(positions) => positions.iter().try_for_each(|&position| {
                argv.get(position)
                    .ok_or_else(|| Denied::new(name, Rule::KeysUnknown))
                    .and_then(|key| self.check_pattern(key))
            }),
            // Such commands show the keys for which `visible` says so, and must not write others.
            KeyAccess::All if *write => Err(Denied::new(name, Rule::AllKeys)),
            KeyAccess::All => Ok(()),
            KeyAccess::Unknown => Err(Denied::new(name, Rule::KeysUnknown)),
        }
    }

    /// Whether `KEYS`, `SCAN`, `RANDOMKEY` and their like may show a key.
    #[must_use]
    pub fn visible(&self, key: &[u8]) -> bool {
        self.check_pattern(key).is_ok()
    }

    /// Whether every key is allowed, so that [`Door::visible`] need not be asked.
    #[must_use]
    pub const fn all_keys(&self) -> bool {
        matches!(self.keys, Keys::All)
    }

    /// Whether anything may be written at all.
    #[must_use]
    pub const fn may_write(&self) -> bool {
        self.write
    }

    fn check_pattern(&self, key: &[u8]) -> Result<(), Denied> {
        let Keys::Some { allowed, denied } = &self.keys else {
            return Ok(());
        };
        if let Some(pattern) = denied.iter().find(|pattern| pattern.matches(key)) {
            let pattern = pattern.pattern().into();
            return Err(Denied::new(key, Rule::DeniedKey { pattern }));
        }
        if !allowed.iter().any(|pattern| pattern.matches(key)) {
            return Err(Denied::new(key, Rule::Key));
        }
        Ok(())
    }

    fn refused_access(&self, access: Access) -> Option<Rule> {
        let run = |name: &&str| self.may_run(name.as_bytes());
        if !access.commands().iter().any(run) {
            Some(Rule::Command)
        } else if access.writes() && !self.write {
            Some(Rule::Write)
        } else {
            None
        }
    }

    fn may_run(&self, name: &[u8]) -> bool {
        self.commands.as_ref().is_none_or(|commands| {
            commands
                .binary_search_by(|known| {
                    known
                        .iter()
                        .copied()
                        .cmp(name.iter().map(u8::to_ascii_uppercase))
                })
                .is_ok()
        })
    }
}

fn globs(field: &'static str, patterns: &[String]) -> Result<Box<[Glob]>, PermissionsError> {
    check_count(field, patterns.len())?;
    patterns
        .iter()
        .map(|pattern| {
            Glob::parse(pattern.as_bytes()).map_err(|problem| PermissionsError::Glob {
                field,
                pattern: pattern.as_str().into(),
                problem,
            })
        })
        .collect()
}

fn command_names(
    names: &[String],
    is_command: impl Fn(&[u8]) -> bool,
) -> Result<Box<[Box<[u8]>]>, PermissionsError> {
    check_count("allowed_commands", names.len())?;
    let mut commands = Vec::with_capacity(names.len());
    for name in names {
        if !is_command(name.as_bytes()) {
            return Err(PermissionsError::UnknownCommand {
                name: name.as_str().into(),
            });
        }
        commands.push(name.as_bytes().to_ascii_uppercase().into_boxed_slice());
    }
    commands.sort();
    commands.dedup();
    Ok(commands.into())
}

fn check_count(field: &'static str, count: usize) -> Result<(), PermissionsError> {
    if count > Door::ITEMS_MAX {
        return Err(PermissionsError::TooMany { field, count });
    }
    Ok(())
}

/// An access that was refused: to which key or command, and by which rule. One word wide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(Box<Refusal>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    /// The key or command, as the error shows it.
    subject: Box<str>,
    rule: Rule,
}

/// The rule by which an access is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The key matches a pattern in `denied_keys`.
    DeniedKey {
        /// The first pattern that matches.
        pattern: Box<[u8]>,
    },
    /// The key matches no pattern in `allowed_keys`.
    Key,
    /// The command is not in `allowed_commands`.
    Command,
    /// The command writes, and `allow_write` is false.
    Write,
    /// The command would write keys that the function may not touch.
    AllKeys,
    /// Nobody can tell which keys the command touches, and the function's keys are restricted.
    KeysUnknown,
}

impl Denied {
    fn new(subject: &[u8], rule: Rule) -> Self {
        Self(Box::new(Refusal {
            subject: Quoted(subject).to_string().into(),
            rule,
        }))
    }

    /// The rule that refused it.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.0.rule
    }

    /// Whether it was refused only because it writes.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.rule == Rule::Write
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { subject, rule } = &*self.0;
        match rule {
            Rule::DeniedKey { pattern } => write!(
                out,
                "key {subject} is denied: it matches {} in denied_keys",
                Quoted(pattern)
            ),
            Rule::Key => write!(
                out,
                "key {subject} is not allowed: it matches nothing in allowed_keys"
            ),
            Rule::Command => write!(
                out,
                "command {subject} is not allowed: it is not in allowed_commands"
            ),
            Rule::Write => write!(
                out,
                "command {subject} writes, and the function may only read; load it with allow_write"
            ),
            Rule::AllKeys => write!(
                out,
                "command {subject} writes every key, and the function's keys are restricted"
            ),
            Rule::KeysUnknown => write!(
                out,
                "command {subject} does not tell which keys it touches, and the function's keys are restricted"
            ),
        }
    }
}

impl std::error::Error for Denied {}

impl From<Denied> for CallError {
    fn from(denied: Denied) -> Self {
        Self::new(Code::NoPermission, denied.to_string())
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::{Access, CommandAccess, Door, KeyAccess, Permissions, PermissionsError};
    use crate::error::CallError;

    fn door(json: &str) -> Result<Door, PermissionsError> {
        const COMMANDS: [&str; 9] = [
            "GET", "SET", "DEL", "HGET", "KEYS", "FLUSHDB", "MSET", "INCRBY", "SORT",
        ];
        Door::new(&Permissions::from_json(json.as_bytes())?, |name| {
            COMMANDS
                .iter()
                .any(|command| command.as_bytes().eq_ignore_ascii_case(name))
        })
    }

    fn say<T>(result: Result<T, super::Denied>) -> String {
        result.map_or_else(
            |denied| CallError::from(denied).to_string(),
            |_| "ok".to_owned(),
        )
    }

    #[test]
    fn the_default_reads_every_key_and_writes_none() {
        let door = Door::new(&Permissions::default(), |_| true).expect("the default is right");
        assert!(door.all_keys() && !door.may_write());
        for access in Access::ALL {
            let answer = door.check_key(b"any", access);
            assert_eq!(answer.is_ok(), !access.writes(), "{access:?}");
            assert!(answer.map_or_else(|denied| denied.is_read_only(), |()| true));
        }
        assert_eq!(
            say(door.check_key(b"any", Access::Increment)),
            "NOPERM command \"INCRBY\" writes, and the function may only read; load it with allow_write"
        );
    }

    #[test]
    fn keys_are_decided_by_patterns_and_deny_wins() -> Result<(), PermissionsError> {
        let door = door(
            r#"{"allowed_keys": ["user:*", "cfg"], "denied_keys": ["user:*:password"], "allow_write": true}"#,
        )?;
        for (key, expected) in [
            ("user:1", "ok"),
            ("cfg", "ok"),
            (
                "user:1:password",
                r#"NOPERM key "user:1:password" is denied: it matches "user:*:password" in denied_keys"#,
            ),
            (
                "cfgs",
                r#"NOPERM key "cfgs" is not allowed: it matches nothing in allowed_keys"#,
            ),
            (
                "",
                r#"NOPERM key "" is not allowed: it matches nothing in allowed_keys"#,
            ),
        ] {
            assert_eq!(say(door.check_key(key.as_bytes(), Access::Get)), expected);
            assert_eq!(say(door.check_key(key.as_bytes(), Access::Set)), expected);
            assert_eq!(door.visible(key.as_bytes()), expected == "ok");
        }
        Ok(())
    }

    #[test]
    fn denied_keys_alone_leave_the_others_open() -> Result<(), PermissionsError> {
        let door = door(r#"{"denied_keys": ["secret*"]}"#)?;
        assert!(!door.all_keys());
        assert!(door.visible(b"open") && !door.visible(b"secret"));
        Ok(())
    }

    #[test]
    fn commands_are_decided_by_name_and_by_their_keys() -> Result<(), PermissionsError> {
        let restricted = door(
            r#"{"allowed_keys": ["a*"], "allowed_commands": ["get", "MSET", "KEYS", "flushdb", "sort"], "allow_write": true}"#,
        )?;
        let read = |keys| CommandAccess { write: false, keys };
        let write = |keys| CommandAccess { write: true, keys };
        for (argv, access, expected) in [
            (&["get", "a1"][..], read(KeyAccess::At(smallvec![1])), "ok"),
            (
                &["GET", "b1"],
                read(KeyAccess::At(smallvec![1])),
                r#"NOPERM key "b1" is not allowed: it matches nothing in allowed_keys"#,
            ),
            (
                &["MSET", "a1", "v", "b", "v"],
                write(KeyAccess::At(smallvec![1, 3])),
                r#"NOPERM key "b" is not allowed: it matches nothing in allowed_keys"#,
            ),
            (
                &["SET", "a1", "v"],
                write(KeyAccess::At(smallvec![1])),
                r#"NOPERM command "SET" is not allowed: it is not in allowed_commands"#,
            ),
            (&["KEYS", "*"], read(KeyAccess::All), "ok"),
            (
                &["FLUSHDB"],
                write(KeyAccess::All),
                r#"NOPERM command "FLUSHDB" writes every key, and the function's keys are restricted"#,
            ),
            (
                &["SORT", "a1", "BY", "w*"],
                write(KeyAccess::Unknown),
                r#"NOPERM command "SORT" does not tell which keys it touches, and the function's keys are restricted"#,
            ),
            (
                &["GET"],
                read(KeyAccess::At(smallvec![1])),
                r#"NOPERM command "GET" does not tell which keys it touches, and the function's keys are restricted"#,
            ),
        ] {
            let argv: Vec<&[u8]> = argv.iter().map(|part| part.as_bytes()).collect();
            assert_eq!(
                say(restricted.check_command(argv[0], &access, &argv)),
                expected
            );
        }
        let open = door(r#"{"allow_write": true}"#)?;
        assert_eq!(
            say(open.check_command(b"FLUSHDB", &write(KeyAccess::All), &[b"FLUSHDB"])),
            "ok"
        );
        assert_eq!(
            say(open.check_command(b"SORT", &write(KeyAccess::Unknown), &[b"SORT"])),
            "ok"
        );
        let reader = door("{}")?;
        assert_eq!(
            say(reader.check_command(b"SET", &write(KeyAccess::None), &[b"SET"])),
            r#"NOPERM command "SET" writes, and the function may only read; load it with allow_write"#
        );
        Ok(())
    }

    #[test]
    fn host_functions_count_as_the_commands_they_stand_for() -> Result<(), PermissionsError> {
        let door = door(r#"{"allowed_commands": ["GET", "DEL"], "allow_write": true}"#)?;
        assert_eq!(say(door.check_key(b"k", Access::Get)), "ok");
        assert_eq!(say(door.check_key(b"k", Access::Delete)), "ok");
        assert_eq!(
            say(door.check_key(b"k", Access::HashGet)),
            r#"NOPERM command "HGET" is not allowed: it is not in allowed_commands"#
        );
        Ok(())
    }

    #[test]
    fn named_permissions_are_what_they_are_called() {
        for name in Permissions::NAMES {
            let permissions = Permissions::named(name).expect("every name stands for something");
            let door = Door::new(&permissions, |_| true).expect("and is right");
            assert_eq!(door.may_write(), name == "read-write");
            assert_eq!(door.check_key(b"k", Access::Get).is_ok(), name != "none");
        }
        assert_eq!(Permissions::named("all"), None);
    }

    #[test]
    fn what_is_wrong_is_said_at_load() {
        let many = format!(r#"{{"allowed_keys": [{}"a"]}}"#, "\"a\",".repeat(1024));
        for (json, expected) in [
            (
                r#"{"allow_network": true}"#,
                "permissions: allow_network cannot be granted: functions have no network; leave it out",
            ),
            (
                r#"{"allowed_keys": "user:*"}"#,
                "permissions: field \"allowed_keys\": invalid type: string \"user:*\", expected a sequence",
            ),
            (
                r#"{"allowed_key": []}"#,
                "permissions: unknown field \"allowed_key\"; did you mean \"allowed_keys\"?",
            ),
            (
                r#"{"denied_keys": ["user:["]}"#,
                "permissions: pattern \"user:[\" in denied_keys: the [ at byte 5 is not closed; write \\[ for the character itself",
            ),
            (
                r#"{"allowed_commands": ["GTE"]}"#,
                "permissions: unknown command \"GTE\" in allowed_commands; COMMAND LIST shows those there are",
            ),
            (
                many.as_str(),
                "permissions: allowed_keys has 1025 items, the limit is 1024",
            ),
        ] {
            let error = door(json).expect_err(json);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for json in [
            r#"{"allowed_keys":["*"],"denied_keys":[],"allow_write":false,"allow_network":false}"#,
            r#"{"allowed_keys":["a"],"denied_keys":["b"],"allowed_commands":["GET"],"allow_write":true,"allow_network":false}"#,
        ] {
            let read = Permissions::from_json(json.as_bytes()).expect("it was written");
            assert_eq!(read.to_json(), json);
        }
    }
}
