//! Lints, versions and profiles are set once, in the root manifest, and every version in it is
//! used.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::Violation;
use super::tree::Tree;

const ROOT: &str = "Cargo.toml";
const TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// # Errors
/// If a manifest is not TOML.
pub(super) fn check(tree: &Tree) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let mut used = BTreeSet::new();
    let mut offered = BTreeSet::new();
    let root_members = tree
        .file(Path::new(ROOT))
        .map(|file| parse(&file.path, &file.text))
        .transpose()?;
    for file in tree
        .files()
        .filter(|file| file.path.file_name().is_some_and(|name| name == ROOT))
    {
        let manifest = parse(&file.path, &file.text)?;
        if manifest.contains_key("workspace") {
            if file.path == Path::new(ROOT) {
                offered = workspace_dependencies(&manifest);
            }
            continue;
        }
        if !is_member(root_members.as_ref(), &file.path) {
            continue;
        }
        let inherits = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(Value::as_bool);
        if inherits != Some(true) {
            let message =
                "the lints of the workspace are not taken over: `[lints] workspace = true`";
            violations.push(Violation::new(&file.path, 0, message));
        }
        if manifest.contains_key("profile") {
            violations.push(Violation::new(
                &file.path,
                0,
                "profiles stand in the root manifest alone",
            ));
        }
        for (name, dependency) in dependencies(&manifest) {
            let inherits = dependency.get("workspace").and_then(Value::as_bool) == Some(true);
            if inherits {
                used.insert(name.clone());
            } else {
                let message = format!(
                    "the version of {name} belongs into the root's [workspace.dependencies]: `{name}.workspace = true`"
                );
                violations.push(Violation::new(&file.path, 0, message));
            }
        }
    }
    for name in offered.difference(&used) {
        violations.push(Violation::new(
            ROOT,
            0,
            format!("no crate uses {name} of [workspace.dependencies]: drop the line"),
        ));
    }
    Ok(violations)
}

fn parse(path: &Path, text: &str) -> Result<Table> {
    text.parse()
        .with_context(|| format!("{} is not TOML", path.display()))
}

fn workspace_dependencies(root: &Table) -> BTreeSet<String> {
    let table = root
        .get("workspace")
        .and_then(|w| w.get("dependencies"))
        .and_then(Value::as_table);
    table
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

/// Returns true if the root names the folder of this manifest as a member, by name or by a
/// `folder/*`.
fn is_member(root: Option<&Table>, manifest: &Path) -> bool {
    let members = root
        .and_then(|r| r.get("workspace"))
        .and_then(|w| w.get("members"))
        .and_then(Value::as_array);
    let folder = manifest.parent().unwrap_or(Path::new(""));
    members
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .any(|member| match member.strip_suffix("/*") {
            Some(parent) => folder.parent() == Some(Path::new(parent)),
            None => folder == Path::new(member),
        })
}

/// Every dependency of every table, including those for one target.
fn dependencies(manifest: &Table) -> Vec<(&String, &Value)> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let of_targets = targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(of_targets)
        .flat_map(|table| {
            TABLES
                .iter()
                .filter_map(|name| table.get(*name).and_then(Value::as_table))
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    const ROOT_TEXT: &str = "[workspace]\nmembers = [\"a\", \"more/*\"]\n[workspace.dependencies]\nserde = \"1\"\ntoml = \"1\"\n";
    const GOOD: &str = "[package]\nname = \"a\"\n[dependencies]\nserde.workspace = true\n[target.'cfg(unix)'.dev-dependencies]\ntoml = { workspace = true, features = [] }\n[lints]\nworkspace = true\n";

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&fixture(files))
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_manifest_that_goes_its_own_way_is_found() {
        assert_eq!(
            found(&[("Cargo.toml", ROOT_TEXT), ("a/Cargo.toml", GOOD)]),
            [""; 0]
        );
        let bad = "[package]\nname = \"b\"\n[build-dependencies]\nserde = \"1.0.1\"\n[profile.release]\nlto = true\n";
        assert_eq!(
            found(&[
                ("Cargo.toml", ROOT_TEXT),
                ("a/Cargo.toml", GOOD),
                ("more/b/Cargo.toml", bad)
            ]),
            [
                "more/b/Cargo.toml: the lints of the workspace are not taken over: `[lints] workspace = true`",
                "more/b/Cargo.toml: profiles stand in the root manifest alone",
                "more/b/Cargo.toml: the version of serde belongs into the root's [workspace.dependencies]: `serde.workspace = true`",
            ]
        );
    }

    #[test]
    fn a_version_that_nobody_uses_is_found() {
        let less = GOOD.replace("toml = { workspace = true, features = [] }\n", "");
        let found = found(&[("Cargo.toml", ROOT_TEXT), ("a/Cargo.toml", &less)]);
        assert_eq!(
            found,
            ["Cargo.toml: no crate uses toml of [workspace.dependencies]: drop the line"]
        );
    }

    #[test]
    fn what_is_no_member_keeps_its_own_counsel() {
        let own = "[package]\nname = \"template\"\n[dependencies]\nserde = \"1\"\n";
        let files = [
            ("Cargo.toml", ROOT_TEXT),
            ("a/Cargo.toml", GOOD),
            ("template/Cargo.toml", own),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
