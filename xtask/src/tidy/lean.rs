//! The serving crates contain no compiler, neither among their dependencies nor in their binaries.

use std::collections::BTreeSet;
use std::path::Path;

use object::{Object, ObjectSymbol};

use super::Violation;

/// The packages that must not depend on a compiler.
pub(super) const PACKAGES: &[&str] = &["ferrite-runtime", "ferrite-server", "ferrite-valkey"];

/// Packages of code generators, and our own that uses them. (`cranelift-entity` and
/// `cranelift-bitset` are plain data structures that the runtime shares with the compiler.)
const COMPILERS: &[&str] = &[
    "cranelift-codegen",
    "cranelift-frontend",
    "cranelift-native",
    "ferrite-compiler",
    "regalloc2",
    "wasmtime-internal-cranelift",
    "wasmtime-internal-winch",
    "winch-codegen",
];

/// Returns the arguments for cargo to list the dependencies of a package, one a line.
pub(super) fn tree_arguments(package: &str) -> [&str; 8] {
    [
        "tree",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--no-dedupe",
        "--package",
        package,
    ]
}

/// Checks a listing made with [`tree_arguments`].
pub(super) fn check_tree(package: &str, listing: &str) -> Vec<Violation> {
    let names: BTreeSet<_> = listing
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    if !names.contains(package) {
        return vec![Violation::new(
            "Cargo.toml",
            0,
            format!("`cargo tree` did not list {package} itself"),
        )];
    }
    COMPILERS
        .iter()
        .filter(|compiler| names.contains(*compiler))
        .map(|compiler| {
            let message = format!("{package} must hold no compiler but reaches {compiler}; see `cargo tree -e normal -p {package} -i {compiler}`");
            Violation::new("Cargo.toml", 0, message)
        })
        .collect()
}

/// Checks a binary by the crates that its symbols name.
pub(super) fn check_symbols(path: &Path, bytes: &[u8]) -> Vec<Violation> {
    let object = match object::File::parse(bytes) {
        Ok(object) => object,
        Err(error) => {
            return vec![Violation::new(
                path,
                0,
                format!("not an object file: {error}"),
            )];
        }
    };
    let mut any = false;
    let mut found = BTreeSet::new();
    for symbol in object.symbols() {
        let Ok(name) = symbol.name() else { continue };
        any |= !name.is_empty();
        for compiler in COMPILERS {
            if names_crate(name, &compiler.replace('-', "_")) {
                found.insert(*compiler);
            }
        }
    }
    if !any {
        return vec![Violation::new(
            path,
            0,
            "it is stripped, so nothing can be told from its symbols",
        )];
    }
    found
        .into_iter()
        .map(|compiler| {
            Violation::new(
                path,
                0,
                format!("a lean binary must hold no compiler but has code of {compiler}"),
            )
        })
        .collect()
}

/// Returns true if a mangled name contains this crate: mangling writes a name's length before it.
fn names_crate(symbol: &str, name: &str) -> bool {
    let counted = format!("{}{name}", name.len());
    symbol
        .match_indices(&counted)
        .any(|(at, _)| !symbol[..at].ends_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use object::write::{Object, Symbol, SymbolSection};
    use object::{Architecture, BinaryFormat, Endianness, SymbolFlags, SymbolKind, SymbolScope};

    use super::*;

    fn binary(symbols: &[&str]) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        for name in symbols {
            object.add_symbol(Symbol {
                name: name.as_bytes().to_vec(),
                value: 0,
                size: 0,
                kind: SymbolKind::Text,
                scope: SymbolScope::Linkage,
                weak: false,
                section: SymbolSection::Absolute,
                flags: SymbolFlags::None,
            });
        }
        object.write().unwrap()
    }

    fn messages(violations: &[Violation]) -> Vec<&str> {
        violations.iter().map(|v| v.message.as_str()).collect()
    }

    #[test]
    fn a_compiler_among_the_dependencies_is_found() {
        let lean = "ferrite-server v0.1.0 (path)\nwasmtime v48.0.8\ncranelift-entity v0.135.8\n";
        assert_eq!(check_tree("ferrite-server", lean), []);
        let fat = format!("{lean}cranelift-codegen v0.135.8\ncranelift-codegen v0.135.8 (*)\n");
        assert_eq!(check_tree("ferrite-server", &fat).len(), 1);
        assert!(
            check_tree("ferrite-server", &fat)[0]
                .message
                .contains("reaches cranelift-codegen")
        );
    }

    #[test]
    fn a_listing_of_nothing_proves_nothing() {
        assert_eq!(
            messages(&check_tree("ferrite-server", "")),
            ["`cargo tree` did not list ferrite-server itself"]
        );
    }

    #[test]
    fn a_compiler_in_the_binary_is_found() {
        // Names as both manglings write them, legacy and v0.
        let lean = [
            "main",
            "_ZN16cranelift_entity4keys4Keys4next17h0123456789abcdefE",
        ];
        assert_eq!(check_symbols(Path::new("server"), &binary(&lean)), []);
        let legacy = "_ZN17cranelift_codegen7context7Context7compile17h0123456789abcdefE";
        let v0 = "_RNvMs_NtCs1234_17cranelift_codegen7contextNtB4_7Context7compile";
        for name in [legacy, v0] {
            let found = check_symbols(Path::new("server"), &binary(&["main", name]));
            assert_eq!(
                messages(&found),
                ["a lean binary must hold no compiler but has code of cranelift-codegen"]
            );
        }
    }

    #[test]
    fn a_binary_without_symbols_proves_nothing() {
        assert!(
            messages(&check_symbols(Path::new("server"), &binary(&[])))[0].contains("stripped")
        );
        assert!(
            messages(&check_symbols(Path::new("server"), b"#!/bin/sh"))[0]
                .contains("not an object file")
        );
    }

    #[test]
    fn a_crate_s_name_inside_another_is_not_it() {
        assert!(names_crate("_ZN9regalloc23ion3runE", "regalloc2"));
        assert!(!names_crate("_ZN19regalloc23ion3runE", "regalloc2"));
        assert!(!names_crate(
            "_ZN20my_cranelift_codegen1fE",
            "cranelift_codegen"
        ));
    }
}
