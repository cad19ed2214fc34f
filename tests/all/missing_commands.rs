//! The commands of Valkey that the server lacks are those that `docs/store.md` lists.

use std::collections::BTreeSet;
use std::path::Path;

use ferrite_tests::{Client, EngineKind, Server};

fn commands(client: &mut Client) -> BTreeSet<String> {
    let list = client.call(&["COMMAND", "LIST"]);
    let names = list.elements().expect("an array").iter();
    names
        .filter_map(|name| name.text())
        // Subcommands have a bar in their names, commands of the module a dot.
        .filter(|name| !name.contains(['|', '.']))
        .map(str::to_owned)
        .collect()
}

/// The names in backticks in the first column of the table of missing commands.
fn listed() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/store.md");
    let page = std::fs::read_to_string(path).expect("docs/store.md");
    let (_, section) = page
        .split_once("## Commands of Valkey that are missing")
        .expect("the section");
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
        .flat_map(|cell| cell.split(", "))
        .map(|name| name.trim_matches(['`', ' ']).to_owned())
        .collect()
}

#[test]
fn every_missing_command_of_valkey_is_listed() {
    if !EngineKind::here().contains(&EngineKind::Valkey) {
        return;
    }
    let theirs = commands(&mut EngineKind::Valkey.start().client());
    let ours = commands(&mut Server::start().client());
    let missing: BTreeSet<String> = theirs.difference(&ours).cloned().collect();
    assert_eq!(
        missing,
        listed(),
        "what the server lacks (left) is not what docs/store.md lists (right)"
    );
}
