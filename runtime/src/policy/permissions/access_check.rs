//! The access policy: compiled permissions, and the decisions they make.

use std::sync::Arc;

use super::denied::{Denied, Rule};
use super::{Permissions, PermissionsError};
use crate::error::Quoted;
use crate::policy::network::method::Method;
use crate::policy::network::rule::NetworkRules;
use crate::policy::network::url::HttpUrl;
use crate::policy::permissions::host_access::Access;
use ferrite_protocol::glob::Glob;
use ferrite_protocol::keyspace::{CommandAccess, KeyAccess};

/// Compiled permissions. Every access is checked here before it reaches the data.
#[derive(Clone, Debug)]
pub struct AccessPolicy {
    /// The kinds of access that `allowed_commands` and `allow_write` permit, one bit each.
    open: u16,
    write: bool,
    keys: Keys,
    /// Names in upper case, sorted; `None` if every command may run.
    commands: Option<Box<[Box<[u8]>]>>,
    network: Arc<NetworkRules>,
}

#[derive(Clone, Debug)]
enum Keys {
    All,
    Some {
        allowed: Box<[Glob]>,
        denied: Box<[Glob]>,
    },
}

impl AccessPolicy {
    /// Longest list of patterns or commands.
    pub const ITEMS_MAX: usize = 1024;

    /// Checks and compiles permissions. `is_command` returns true for the commands of the host.
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
            allow_filesystem,
        } = permissions;
        check_count("allow_filesystem", allow_filesystem.len())?;
        check_count("allow_network", allow_network.len())?;
        let network = NetworkRules::parse(allow_network)
            .map_err(|(rule, problem)| PermissionsError::Network { rule, problem })?;
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
        let mut access_policy = Self {
            open: 0,
            write: *allow_write,
            keys,
            commands,
            network: Arc::new(network),
        };
        access_policy.open = Access::ALL
            .into_iter()
            .filter(|access| access_policy.refused_access(*access).is_none())
            .fold(0, |bits, access| bits | access.bit());
        Ok(access_policy)
    }

    /// Checks a host function's access to a key.
    pub fn check_key(&self, key: &[u8], access: Access) -> Result<(), Denied> {
        if self.open & access.bit() == 0 {
            // The mask was made by the same function, so it returns a rule here.
            let rule = self.refused_access(access).unwrap_or(Rule::Command);
            return Err(Denied::new(access.commands()[0].as_bytes(), rule));
        }
        self.check_pattern(key)
    }

    /// Checks a command that is run by name. `argv[0]` is its name; `access` is its entry for these
    /// arguments in the host's command table.
    pub fn check_command(
        &self,
        name: &[u8],
        access: &CommandAccess,
        argv: &[&[u8]],
    ) -> Result<(), Denied> {
        let CommandAccess {
            write,
            keys,
            other_database,
            named_only,
        } = access;
        if !self.may_run(name) {
            return Err(Denied::new(name, Rule::Command));
        }
        if *named_only && self.commands.is_none() {
            return Err(Denied::new(name, Rule::NotNamed));
        }
        if *write && !self.write {
            return Err(Denied::new(name, Rule::Write));
        }
        if matches!(self.keys, Keys::All) {
            return Ok(());
        }
        if *other_database {
            return Err(Denied::new(name, Rule::OtherDatabase));
        }
        match keys {
            KeyAccess::None => Ok(()),
            KeyAccess::At(positions) => positions.iter().try_for_each(|&position| {
                argv.get(position)
                    .ok_or_else(|| Denied::new(name, Rule::KeysUnknown))
                    .and_then(|key| self.check_pattern(key))
            }),
            // Such a command shows only the keys that are `visible`.
            KeyAccess::Listed => Ok(()),
            KeyAccess::All => Err(Denied::new(name, Rule::AllKeys)),
            KeyAccess::Unknown => Err(Denied::new(name, Rule::KeysUnknown)),
        }
    }

    /// Returns true if the function may not access every key.
    #[must_use]
    pub const fn restricts_keys(&self) -> bool {
        matches!(self.keys, Keys::Some { .. })
    }

    /// Returns true if `KEYS` may show a key.
    #[must_use]
    pub fn visible(&self, key: &[u8]) -> bool {
        self.check_pattern(key).is_ok()
    }

    /// Returns true if the function may write at all.
    #[must_use]
    pub const fn may_write(&self) -> bool {
        self.write
    }

    /// Returns the rules of the requests that the function may make.
    #[must_use]
    pub const fn network(&self) -> &Arc<NetworkRules> {
        &self.network
    }

    /// Checks a request of the function. Its URL is shown without its query.
    pub(crate) fn check_request(&self, method: Method, url: &HttpUrl) -> Result<(), Denied> {
        if self.network.allow(method, url) {
            return Ok(());
        }
        let request = format!("{} {}", method.as_str(), url.without_query());
        Err(Denied::new(request.as_bytes(), Rule::Network))
    }

    /// Checks that the function may access every key that a pattern matches.
    ///
    /// # Errors
    ///
    /// The reason why not, or why that cannot be proved.
    pub(crate) fn check_all_keys_of(&self, pattern: &Glob) -> Result<(), String> {
        let Keys::Some { allowed, denied } = &self.keys else {
            return Ok(());
        };
        let shown = Quoted(pattern.pattern());
        if !allowed.iter().any(|wide| wide.covers(pattern)) {
            return Err(format!(
                "pattern {shown} is not within any pattern of the function's allowed_keys"
            ));
        }
        match denied.iter().find(|denied| !denied.is_apart_from(pattern)) {
            Some(denied) => Err(format!(
                "pattern {shown} may match keys of {} in the function's denied_keys",
                Quoted(denied.pattern())
            )),
            None => Ok(()),
        }
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
    if count > AccessPolicy::ITEMS_MAX {
        return Err(PermissionsError::TooMany { field, count });
    }
    Ok(())
}
