//! The commands that a module can reach, by its imports and its permissions.

use std::collections::BTreeSet;

use ferrite_cache::ModuleInfo;
use ferrite_runtime::policy::permissions::{Access, Permissions};

/// Host functions, each with the accesses to keys that it makes.
const ACCESSES: [(&str, Access); 12] = [
    ("get", Access::Get),
    ("set", Access::Set),
    ("del", Access::Delete),
    ("exists", Access::Exists),
    ("incr_by", Access::Increment),
    ("incr_by", Access::IncrementByOne),
    ("incr_by", Access::DecrementByOne),
    ("expire", Access::Expire),
    ("ttl", Access::Ttl),
    ("hget", Access::HashGet),
    ("hset", Access::HashSet),
    ("hdel", Access::HashDelete),
];

/// Commands that a module can reach besides those that are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OtherCommands {
    /// None.
    None,
    /// Every command that only reads.
    Reading,
    /// Every command.
    All,
}

/// The commands that a module can reach.
#[derive(Debug)]
pub(super) struct ReachableCommands {
    /// Commands known by name, in capitals.
    pub(super) named: BTreeSet<String>,
    /// Other commands, if the module can run commands by name and its permissions list none.
    pub(super) others: OtherCommands,
}

impl ReachableCommands {
    pub(super) fn of(module: &ModuleInfo, permissions: &Permissions) -> Self {
        let Permissions {
            allowed_keys: _,
            denied_keys: _,
            allowed_commands,
            allow_write,
            allow_network: _,
            allow_filesystem: _,
        } = permissions;
        let imports = imports(module);
        let allowed = |command: &str| {
            allowed_commands
                .as_ref()
                .is_none_or(|names| names.iter().any(|name| name.eq_ignore_ascii_case(command)))
        };
        let mut commands = BTreeSet::new();
        for (name, access) in ACCESSES {
            if !imports.contains(name) || (access.writes() && !*allow_write) {
                continue;
            }
            // Several commands make the same access; permission for one of them is enough.
            if let Some(command) = access.commands().iter().find(|command| allowed(command)) {
                commands.insert((*command).to_owned());
            }
        }
        let mut others = OtherCommands::None;
        if imports.contains("call") {
            match allowed_commands {
                Some(names) => {
                    commands.extend(names.iter().map(|name| name.to_ascii_uppercase()));
                }
                None if *allow_write => others = OtherCommands::All,
                None => others = OtherCommands::Reading,
            }
        }
        Self {
            named: commands,
            others,
        }
    }

    /// Returns the named commands that `self` reaches and `other` does not.
    pub(super) fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a String> {
        let reads = |command: &str| {
            ACCESSES
                .iter()
                .any(|(_, access)| !access.writes() && access.commands().contains(&command))
        };
        self.named.iter().filter(move |command| {
            let covered = match other.others {
                OtherCommands::All => true,
                OtherCommands::Reading => reads(command),
                OtherCommands::None => false,
            };
            !covered && !other.named.contains(*command)
        })
    }
}

/// Returns the host functions that a module imports, under either of their names.
fn imports(module: &ModuleInfo) -> BTreeSet<&'static str> {
    module
        .imports
        .iter()
        .filter_map(|import| ferrite_wasm_abi::import(&import.module, &import.name))
        .map(|import| import.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::ACCESSES;
    use ferrite_runtime::policy::permissions::Access;

    /// Every access has a host function, and every such function exists.
    #[test]
    fn the_table_is_whole() {
        for access in Access::ALL {
            assert!(ACCESSES.iter().any(|(_, one)| *one == access), "{access:?}");
        }
        for (name, _) in ACCESSES {
            assert!(
                ferrite_wasm_abi::import("ferrite", name).is_some(),
                "{name}"
            );
        }
    }
}
