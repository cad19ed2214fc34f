//! Lists the differences between two releases, and marks those that allow more.

use std::collections::BTreeSet;

use anyhow::Result;
use ferrite_cache::ModuleInfo;
use ferrite_protocol::one_line::OneLine;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::limits::Limits;
use ferrite_runtime::policy::privilege_diff;
use serde::Serialize;

use super::input::DiffInput;
use super::reachable_commands::{OtherCommands, ReachableCommands};

/// One difference.
#[derive(Serialize)]
pub(crate) struct Change {
    /// The kind of thing that differs, such as `import`.
    pub(crate) what: &'static str,
    pub(crate) text: String,
    /// True if the new release may do more because of it.
    pub(crate) wider: bool,
}

impl Change {
    /// The line that shows it.
    pub(crate) fn line(&self) -> String {
        let word = if self.wider { "wider" } else { "note" };
        format!("{word:<7} {}: {}", self.what, OneLine(&self.text))
    }
}

/// Returns all differences, the most important kinds first.
pub(crate) fn compare(old: &DiffInput, new: &DiffInput) -> Result<Vec<Change>> {
    let mut changes = Changes(Vec::new());
    changes.releases(old, new);
    changes.imports(&old.module, &new.module);
    changes.commands(old, new);
    changes.rights(old, new)?;
    changes.automation(&old.module, &new.module);
    changes.entries(&old.module, &new.module);
    changes.memory(&old.module, &new.module);
    Ok(changes.0)
}

struct Changes(Vec<Change>);

impl Changes {
    fn wider(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push(Change {
            what,
            text: text.into(),
            wider: true,
        });
    }

    fn note(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push(Change {
            what,
            text: text.into(),
            wider: false,
        });
    }

    fn releases(&mut self, old: &DiffInput, new: &DiffInput) {
        if old.source == new.source {
            self.note("source", "it is the same");
        }
        let (Some(before), Some(after)) = (&old.release, &new.release) else {
            return;
        };
        if before.name != after.name {
            self.note(
                "name",
                format!(
                    "{} became {}, which is another function",
                    before.name, after.name
                ),
            );
        } else if after.sequence < before.sequence {
            self.note(
                "sequence",
                format!(
                    "{} is lower than {}; a server that has loaded the old release refuses the new one",
                    after.sequence, before.sequence
                ),
            );
        }
        if before.key != after.key {
            let shown = |key: Option<_>| match key {
                Some(key) => format!("key {key}"),
                None => "nobody".to_owned(),
            };
            self.note(
                "signature",
                format!(
                    "by {}, and before by {}",
                    shown(after.key),
                    shown(before.key)
                ),
            );
        }
    }

    fn imports(&mut self, old: &ModuleInfo, new: &ModuleInfo) {
        let (old, new) = (imports(old), imports(new));
        for import in new.difference(&old) {
            self.wider("import", format!("{import} is new"));
        }
        for import in old.difference(&new) {
            self.note("import", format!("{import} is gone"));
        }
    }

    fn commands(&mut self, old: &DiffInput, new: &DiffInput) {
        let before = ReachableCommands::of(&old.module, &old.permissions);
        let after = ReachableCommands::of(&new.module, &new.permissions);
        if after.others > before.others {
            self.wider(
                "command",
                match after.others {
                    OtherCommands::All => "every command can be reached",
                    _ => "every command that reads can be reached",
                },
            );
        }
        for command in after.difference(&before) {
            self.wider("command", format!("{command} can be reached"));
        }
        for command in before.difference(&after) {
            self.note("command", format!("{command} cannot be reached any more"));
        }
    }

    fn rights(&mut self, old: &DiffInput, new: &DiffInput) -> Result<()> {
        let wider = privilege_diff::of_permissions(&new.permissions, &old.permissions)?;
        if wider.is_empty() && new.permissions != old.permissions {
            self.note("permission", "what is granted is narrower");
        }
        for text in wider {
            self.wider("permission", text);
        }
        let wider = privilege_diff::of_limits(&new.limits, &old.limits, &Limits::DEFAULT);
        if wider.is_empty() && new.limits != old.limits {
            self.note("limit", "what a call may use is less");
        }
        for text in wider {
            self.wider("limit", text);
        }
        // No server's default isolation is weaker than this.
        let known = |isolation: Option<Isolation>| isolation.unwrap_or(Isolation::Fresh);
        match privilege_diff::of_isolation(known(new.isolation), known(old.isolation)) {
            Some(text) => self.wider("isolation", text),
            None if old.isolation != new.isolation => {
                let shown = |isolation: Option<Isolation>| {
                    isolation.map_or("the server's default", Isolation::as_str)
                };
                self.note(
                    "isolation",
                    format!(
                        "{}, and before {}",
                        shown(new.isolation),
                        shown(old.isolation)
                    ),
                );
            }
            None => {}
        }
        Ok(())
    }

    /// Compares what servers run by themselves: each call is one that nobody asks for.
    fn automation(&mut self, old: &ModuleInfo, new: &ModuleInfo) {
        let lines = |info: &ModuleInfo| -> BTreeSet<String> { info.automation.lines().collect() };
        let (old, new) = (lines(old), lines(new));
        let kind = |line: &str| match line.split_once(' ') {
            Some(("on", _)) => "trigger",
            _ => "schedule",
        };
        for line in new.difference(&old) {
            self.wider(kind(line), format!("{line} is new"));
        }
        for line in old.difference(&new) {
            self.note(kind(line), format!("{line} is gone"));
        }
    }

    fn entries(&mut self, old: &ModuleInfo, new: &ModuleInfo) {
        let names = |info: &ModuleInfo| -> BTreeSet<String> {
            let shown = |entry: &ferrite_cache::EntryInfo| {
                format!(
                    "{}  {}  {}",
                    entry.name.escape_debug(),
                    entry.kind,
                    entry.signature
                )
            };
            info.entries.iter().map(shown).collect()
        };
        let (old, new) = (names(old), names(new));
        for entry in new.difference(&old) {
            self.note("entry", format!("{entry} is new"));
        }
        for entry in old.difference(&new) {
            self.note("entry", format!("{entry} is gone"));
        }
    }

    fn memory(&mut self, old: &ModuleInfo, new: &ModuleInfo) {
        let pages = |info: &ModuleInfo| info.memory.map_or(0, |memory| memory.min_pages);
        if pages(old) != pages(new) {
            self.note(
                "memory",
                format!(
                    "{} pages of 64 KiB at first, and before {}",
                    pages(new),
                    pages(old)
                ),
            );
        }
    }
}

/// Returns what a module imports. Host functions have one name, however they are imported.
fn imports(module: &ModuleInfo) -> BTreeSet<String> {
    module
        .imports
        .iter()
        .map(
            |import| match ferrite_wasm_abi::import(&import.module, &import.name) {
                Some(known) => format!("ferrite.{}", known.name),
                None => format!("{}.{}", import.module, import.name),
            },
        )
        .collect()
}
