//! The commands, subcommands and options of Valkey that the server lacks are those that `docs/store.md`
//! lists.

use std::collections::BTreeSet;
use std::path::Path;

use ferrite_tests::{Client, EngineKind, Reply, Server, encode};

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

/// The rows of the table in a section of `docs/store.md`, each with its cells.
fn rows(section: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/store.md");
    let page = std::fs::read_to_string(path).expect("docs/store.md");
    let (_, rest) = page
        .split_once(&format!("## {section}\n"))
        .expect("the section");
    let section = rest.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect()
}

/// The names in backticks in a cell.
fn names(cell: &str) -> impl Iterator<Item = String> {
    let names = cell.split(", ");
    names.map(|name| name.trim_matches(['`', ' ']).to_owned())
}

/// Adds the fixed words of the arguments that `COMMAND DOCS` tells of.
fn add_words(docs: &Reply, words: &mut BTreeSet<String>) {
    let arguments = docs.at("arguments").and_then(Reply::elements);
    for argument in arguments.unwrap_or_default() {
        let token = argument.at("token").and_then(Reply::text);
        words.extend(token.map(str::to_uppercase));
        add_words(argument, words);
    }
}

/// The fixed words of a command's arguments, and its subcommands.
fn words_and_subcommands(client: &mut Client, name: &str) -> (BTreeSet<String>, Vec<String>) {
    let docs = client.call(&["COMMAND", "DOCS", name]);
    let docs = docs.at(name).unwrap_or_else(|| panic!("{name}: {docs:?}"));
    let mut words = BTreeSet::new();
    add_words(docs, &mut words);
    let subcommands = docs.at("subcommands").and_then(Reply::elements);
    let subcommands = subcommands.unwrap_or_default().iter();
    let subcommands = subcommands
        .filter_map(|subcommand| Some(subcommand.text()?.split_once('|')?.1.to_uppercase()))
        .collect();
    (words, subcommands)
}

#[test]
fn every_missing_command_of_valkey_is_listed() {
    if !EngineKind::here().contains(&EngineKind::Valkey) {
        return;
    }
    let theirs = commands(&mut EngineKind::Valkey.start().client());
    let ours = commands(&mut Server::start().client());
    let missing: BTreeSet<String> = theirs.difference(&ours).cloned().collect();
    let listed: BTreeSet<String> = rows("Commands of Valkey that are missing")
        .iter()
        .flat_map(|row| names(&row[0]))
        .collect();
    assert_eq!(
        missing, listed,
        "what the server lacks (left) is not what docs/store.md lists (right)"
    );
}

#[test]
fn every_missing_subcommand_and_option_of_valkey_is_listed() {
    if !EngineKind::here().contains(&EngineKind::Valkey) {
        return;
    }
    let valkey = EngineKind::Valkey.start();
    let mut theirs = valkey.client();
    let server = Server::start();
    let mut ours = server.client();
    let both: Vec<String> = {
        let (theirs, ours) = (commands(&mut theirs), commands(&mut ours));
        theirs.intersection(&ours).cloned().collect()
    };
    let mut missing = BTreeSet::new();
    for name in &both {
        let (words, subcommands) = words_and_subcommands(&mut theirs, name);
        let (known, _) = words_and_subcommands(&mut ours, name);
        let mut lacks: Vec<String> = words.difference(&known).cloned().collect();
        for subcommand in subcommands {
            ours.send(&encode(&[name, &subcommand]));
            let reply = ours.reply();
            let error = reply.error().unwrap_or_default();
            if error.to_lowercase().contains("unknown subcommand") {
                lacks.push(subcommand);
            }
        }
        missing.extend(lacks.into_iter().map(|word| format!("{name} {word}")));
    }
    let listed: BTreeSet<String> = rows("Subcommands and options of Valkey that are missing")
        .iter()
        .flat_map(|row| {
            let command = row[0].trim_matches('`').to_owned();
            names(&row[1]).map(move |word| format!("{command} {word}"))
        })
        .collect();
    assert_eq!(
        missing, listed,
        "what the server lacks (left) is not what docs/store.md lists (right)"
    );
}
