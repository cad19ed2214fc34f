//! The categories of commands, as rules such as `+@read` name them.

use ferrite_runtime::commands::Right as FunctionRight;
use ferrite_store::{BLOCKING, FAST};

use crate::commands::command_ref::CommandRef;
use crate::config::{Right, Rights};

/// Every category, in the order in which `ACL CAT` lists them.
pub(super) const CATEGORIES: [&str; 18] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
    "functions",
];

/// Commands on data that can do harm to others, as with Redis.
const DANGEROUS: [&str; 4] = ["flushall", "flushdb", "swapdb", "keys"];

/// Returns the categories of a command.
pub(super) fn categories(command: CommandRef) -> Vec<&'static str> {
    let mut found = Vec::new();
    match command {
        CommandRef::Data(command) => {
            let spec = command.spec();
            found.push(if spec.is_write() { "write" } else { "read" });
            found.push(if spec.flags & FAST == 0 {
                "slow"
            } else {
                "fast"
            });
            if spec.flags & BLOCKING != 0 {
                found.push("blocking");
            }
            if DANGEROUS.contains(&spec.name) {
                found.push("dangerous");
            }
            match spec.group {
                "generic" => found.push("keyspace"),
                "sorted-set" | "sorted_set" => found.push("sortedset"),
                group => found.extend(CATEGORIES.iter().find(|name| **name == group)),
            }
            // The documentation counts the commands on bits among those on strings.
            if spec.name.contains("bit") {
                found.push("bitmap");
            }
        }
        CommandRef::Server(spec) => {
            found.push(if spec.flags.contains(&"fast") {
                "fast"
            } else {
                "slow"
            });
            if spec.flags.contains(&"admin") || spec.right == Some(Right::Admin) {
                found.extend(["admin", "dangerous"]);
            }
            if spec.right == Some(Right::Read) {
                found.push("read");
            }
            if spec.right == Some(Right::Write) {
                found.push("write");
            }
            match spec.group {
                "connection" => found.push("connection"),
                "transactions" => found.push("transaction"),
                "scripting" => found.push("functions"),
                _ => {}
            }
        }
        CommandRef::Function(spec) => {
            found.push("slow");
            found.push(match spec.right {
                FunctionRight::Call | FunctionRight::Inspect => "scripting",
                FunctionRight::Manage => "functions",
            });
        }
    }
    found
}

/// Returns the rules that allow what rights of the configuration do.
pub(super) fn rules_of(rights: Rights) -> Vec<String> {
    if rights == Rights::all() {
        return vec!["+@all".to_owned()];
    }
    let mut rules = vec![
        "-@all".to_owned(),
        "+@connection".to_owned(),
        "+@transaction".to_owned(),
    ];
    for right in Right::ALL.into_iter().filter(|&right| rights.has(right)) {
        let added: &[&str] = match right {
            Right::Read => &["+@read"],
            Right::Write => &["+@write", "-flushall", "-flushdb", "-swapdb"],
            Right::Call => &[
                "+@scripting",
                "+function|list",
                "+function|stats",
                "+function|help",
            ],
            Right::Manage => &["+@functions"],
            Right::Admin => &["+@admin", "+@dangerous"],
        };
        rules.extend(added.iter().map(|rule| (*rule).to_owned()));
    }
    // What everybody may run.
    let everybody = [
        "+command",
        "+info",
        "+time",
        "+role",
        "+acl|whoami",
        "+wait",
        "+unsubscribe",
        "+punsubscribe",
    ];
    rules.extend(everybody.map(str::to_owned));
    rules
}
