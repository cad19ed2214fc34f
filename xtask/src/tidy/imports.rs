//! Allowed imports among the crates of the workspace. Arrows run one way.

use std::path::Path;

use super::Violation;
use crate::workspace::{Dependency, Package};

/// Crates of the workspace that a crate may import.
enum May {
    Import(&'static [&'static str]),
    /// Unpublished leaves: tests, benchmarks, tasks.
    ImportAnything,
}

/// The import table. A crate that is missing here breaks the rule.
const TABLE: &[(&str, May)] = &[
    ("ferrite-wasm-abi", May::Import(&[])),
    ("ferrite-cache", May::Import(&["ferrite-wasm-abi"])),
    ("ferrite-protocol", May::Import(&[])),
    (
        "ferrite-compiler",
        May::Import(&["ferrite-wasm-abi", "ferrite-cache"]),
    ),
    (
        "ferrite-runtime",
        May::Import(&["ferrite-wasm-abi", "ferrite-protocol", "ferrite-cache"]),
    ),
    ("ferrite-store", May::Import(&["ferrite-protocol"])),
    (
        "ferrite-upstream",
        May::Import(&["ferrite-protocol", "ferrite-runtime", "ferrite-store"]),
    ),
    (
        "ferrite-server",
        May::Import(&[
            "ferrite-protocol",
            "ferrite-runtime",
            "ferrite-cache",
            "ferrite-store",
            "ferrite-upstream",
        ]),
    ),
    (
        "ferrite-valkey",
        May::Import(&["ferrite-protocol", "ferrite-runtime", "ferrite-cache"]),
    ),
    (
        "ferrite-wasmc",
        May::Import(&[
            "ferrite-wasm-abi",
            "ferrite-protocol",
            "ferrite-compiler",
            "ferrite-cache",
            "ferrite-runtime",
            "ferrite-store",
            "ferrite-upstream",
        ]),
    ),
    (
        "ferrite-wasm-sdk",
        May::Import(&["ferrite-wasm-abi", "ferrite-wasm-sdk-macros"]),
    ),
    ("ferrite-wasm-sdk-macros", May::Import(&[])),
    ("ferrite-tests", May::ImportAnything),
    ("ferrite-fuzz", May::ImportAnything),
    ("ferrite-benches", May::ImportAnything),
    // No wasmtime, so that the first task of a clean clone starts soon.
    ("xtask", May::Import(&["ferrite-tests", "ferrite-benches"])),
];

/// The examples, like users' functions, import only the SDK.
const EXAMPLES_FOLDER: &str = "examples";
const EXAMPLES_MAY: May = May::Import(&["ferrite-wasm-sdk"]);

pub(super) fn check(root: &Path, packages: &[Package]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in packages {
        let manifest = package
            .manifest_path
            .strip_prefix(root)
            .unwrap_or(&package.manifest_path);
        let may = match TABLE.iter().find(|(name, _)| *name == package.name) {
            Some((_, may)) => may,
            None if manifest.starts_with(EXAMPLES_FOLDER) => &EXAMPLES_MAY,
            None => {
                let message = format!(
                    "{} has no line in the import table in xtask/src/tidy/imports.rs",
                    package.name
                );
                violations.push(Violation::new(manifest, 0, message));
                continue;
            }
        };
        let May::Import(allowed) = may else { continue };
        for import in package
            .dependencies
            .iter()
            .filter(|d| is_import(d, packages))
        {
            if !allowed.contains(&import.name.as_str()) {
                let allowed = if allowed.is_empty() {
                    "nothing of ours".to_owned()
                } else {
                    allowed.join(", ")
                };
                let message = format!(
                    "{} must not import {}; it may import {allowed}",
                    package.name, import.name
                );
                violations.push(Violation::new(manifest, 0, message));
            }
        }
    }
    violations
}

/// Returns true if this is an arrow between two of our crates. Dependencies of tests are none.
fn is_import(dependency: &Dependency, packages: &[Package]) -> bool {
    dependency.kind.as_deref() != Some("dev")
        && dependency.path.is_some()
        && packages
            .iter()
            .any(|package| package.name == dependency.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(path: &str, name: &str, imports: &[(&str, Option<&str>)]) -> Package {
        Package {
            name: name.to_owned(),
            manifest_path: Path::new("/house").join(path).join("Cargo.toml"),
            targets: Vec::new(),
            dependencies: imports
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: kind.map(str::to_owned),
                    path: name
                        .starts_with("ferrite")
                        .then(|| "/house/somewhere".into()),
                })
                .collect(),
        }
    }

    fn found(packages: &[Package]) -> Vec<String> {
        check(Path::new("/house"), packages)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_forbidden_arrow_is_found() {
        let abi = package("sdk/abi", "ferrite-wasm-abi", &[]);
        let compiler = package(
            "compiler",
            "ferrite-compiler",
            &[("ferrite-wasm-abi", None), ("serde", None)],
        );
        let good = package(
            "runtime",
            "ferrite-runtime",
            &[
                ("ferrite-wasm-abi", None),
                ("ferrite-compiler", Some("dev")),
            ],
        );
        assert_eq!(found(&[abi.clone(), compiler.clone(), good]), [""; 0]);
        for kind in [None, Some("build")] {
            let bad = package("runtime", "ferrite-runtime", &[("ferrite-compiler", kind)]);
            assert_eq!(
                found(&[abi.clone(), compiler.clone(), bad]),
                [
                    "runtime/Cargo.toml: ferrite-runtime must not import ferrite-compiler; it may import ferrite-wasm-abi, ferrite-protocol, ferrite-cache"
                ]
            );
        }
    }

    #[test]
    fn a_crate_without_a_line_in_the_table_is_found() {
        let stray = package("extra", "ferrite-extra", &[]);
        assert!(
            found(&[stray])[0]
                .starts_with("extra/Cargo.toml: ferrite-extra has no line in the import table")
        );
    }

    #[test]
    fn examples_know_the_sdk_alone() {
        let packages = [
            package("sdk/rust", "ferrite-wasm-sdk", &[]),
            package("runtime", "ferrite-runtime", &[]),
            package("examples/good", "good", &[("ferrite-wasm-sdk", None)]),
            package("examples/bad", "bad", &[("ferrite-runtime", None)]),
        ];
        assert_eq!(
            found(&packages),
            [
                "examples/bad/Cargo.toml: bad must not import ferrite-runtime; it may import ferrite-wasm-sdk"
            ]
        );
    }
}
