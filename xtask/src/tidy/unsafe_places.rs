//! Unsafe code is only in the listed files, and each place has a `SAFETY` comment.
//!
//! The lints of the workspace deny unsafe code and undocumented blocks too, but any file can allow
//! them for itself; such a file must be on this list.

use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Violation;
use super::tree::Tree;

/// The files that may contain unsafe code, each with the reason.
const ALLOWED: &[(&str, &str)] = &[
    (
        "cache/src/disk/lookup/hash.rs",
        "maps a published file to hash it",
    ),
    (
        "cache/src/profile/config.rs",
        "wasmtime marks every Cranelift flag unsafe",
    ),
    (
        "cache/tests/all/profile.rs",
        "loads artifacts it has just made, to see which engine takes them",
    ),
    (
        "compiler/src/sandbox/syscalls.rs",
        "a system call without a safe wrapper",
    ),
    (
        "runtime/src/instance/deserialize.rs",
        "turns a verified artifact into code",
    ),
    (
        "runtime/src/rewind/arena.rs",
        "gives wasmtime memories of our own",
    ),
    (
        "runtime/src/rewind/fault.rs",
        "handles write faults of those memories",
    ),
    (
        "runtime/src/rewind/image.rs",
        "maps pristine images over them and copies pages back",
    ),
    (
        "runtime/src/rewind/tests.rs",
        "reads and writes memories of the arena",
    ),
    (
        "runtime/src/rewind/written.rs",
        "asks the kernel which of their pages were written",
    ),
    (
        "sdk/rust/macros/src/expand.rs",
        "the name of an export is an unsafe attribute",
    ),
    (
        "sdk/rust/src/allocator.rs",
        "the standard allocator trait is unsafe",
    ),
    (
        "sdk/rust/src/host/guest.rs",
        "the functions that a guest imports",
    ),
    (
        "sdk/rust/tests/ui/signatures.rs",
        "a signature that the macro must refuse",
    ),
    (
        "server/src/services/memory_release.rs",
        "the allocator's own function to give memory back",
    ),
    (
        "server/src/scheduling/time_slice.rs",
        "system calls without a safe wrapper",
    ),
    (
        "valkey/src/api/collection.rs",
        "calls the server's functions on values",
    ),
    (
        "valkey/src/automation/clock.rs",
        "the callback of a timer of the server",
    ),
    (
        "valkey/src/records/listen.rs",
        "the callbacks of events of the server",
    ),
    (
        "valkey/src/execution/blocked_client.rs",
        "blocks and unblocks clients of the server",
    ),
    (
        "valkey/src/registry/cluster_bus.rs",
        "asks the server for a timer",
    ),
    ("valkey/src/api/bus.rs", "the server's cluster bus"),
    (
        "valkey/src/execution/mailbox.rs",
        "cells that a runner and its future share without a lock",
    ),
    (
        "valkey/src/execution/runner.rs",
        "makes the mailbox that it shares with its future",
    ),
    (
        "valkey/src/api/locked_cell.rs",
        "a cell that the server's lock protects",
    ),
    (
        "valkey/src/api/command_call.rs",
        "runs the server's commands",
    ),
    ("valkey/src/api/context.rs", "calls the server's functions"),
    (
        "valkey/src/api/replicate.rs",
        "tells the server's replicas and listeners",
    ),
    ("valkey/src/api/ffi.rs", "declares the server's C interface"),
    (
        "valkey/src/api/cluster_nodes.rs",
        "asks the server for its cluster",
    ),
    (
        "valkey/src/api/key.rs",
        "calls the server's functions on keys",
    ),
    (
        "valkey/src/registry/rdb.rs",
        "callbacks of a data type of the server",
    ),
    (
        "valkey/src/transaction/current_call.rs",
        "lends a context down the stack, takes the server's lock",
    ),
    (
        "valkey/src/scripting/engine.rs",
        "callbacks of a scripting engine of the server",
    ),
    ("valkey/src/api/reply.rs", "hands replies to the server"),
    (
        "valkey/src/commands/dispatch.rs",
        "callbacks of the module's commands",
    ),
    (
        "valkey/src/api/trap_handlers.rs",
        "puts the engine's signal handlers back",
    ),
    (
        "valkey/src/load.rs",
        "the entry points that the server looks up",
    ),
    ("valkey/src/api/acl.rs", "asks the server's access control"),
    (
        "valkey/src/api/string.rs",
        "reads and frees the server's strings",
    ),
];

/// Most lines between an unsafe block and the start of its `SAFETY` comment.
const SAFETY_LINES_MAX: usize = 12;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    check_against(tree, ALLOWED)
}

fn check_against(tree: &Tree, allowed: &[(&str, &str)]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.with_extension("rs") {
        let Some(tokens) = file.tokens() else {
            violations.push(Violation::new(&file.path, 0, "this is not Rust"));
            continue;
        };
        let mut places = Vec::new();
        find(tokens, &mut places);
        let listed = allowed.iter().any(|(path, _)| file.path == Path::new(path));
        if listed && places.is_empty() {
            let message = "no unsafe code is left here: take the file off the list in xtask/src/tidy/unsafe_places.rs";
            violations.push(Violation::new(&file.path, 0, message));
        }
        for place in places {
            if !listed {
                let message =
                    "unsafe code outside the files listed in xtask/src/tidy/unsafe_places.rs";
                violations.push(Violation::new(&file.path, place.line, message));
            } else if place.needs_proof && !has_proof(&file.text, place.line) {
                let message = "an unsafe place without a `// SAFETY:` comment just above it";
                violations.push(Violation::new(&file.path, place.line, message));
            }
        }
    }
    for (path, _) in allowed {
        if tree.file(Path::new(path)).is_none() {
            violations.push(Violation::new(
                *path,
                0,
                "listed as a place for unsafe code, but there is no such file",
            ));
        }
    }
    violations
}

/// One `unsafe` in the code.
struct Place {
    line: usize,
    /// True for blocks and `impl`s, which make a promise here; false for `unsafe fn`, whose callers
    /// must make it.
    needs_proof: bool,
}

fn find(tokens: TokenStream, places: &mut Vec<Place>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "unsafe" => {
                let needs_proof = match tokens.peek() {
                    Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Brace,
                    Some(TokenTree::Ident(next)) => next == "impl",
                    _ => false,
                };
                places.push(Place {
                    line: word.span().start().line,
                    needs_proof,
                });
            }
            TokenTree::Group(group) => find(group.stream(), places),
            _ => {}
        }
    }
}

/// Returns true if a `SAFETY` comment is on the line or directly above it, with no empty line
/// between.
fn has_proof(text: &str, line: usize) -> bool {
    let lines: Vec<_> = text.lines().collect();
    lines[..line.min(lines.len())]
        .iter()
        .rev()
        .take(SAFETY_LINES_MAX)
        .take_while(|line| !line.trim().is_empty())
        .any(|line| line.contains("// SAFETY:"))
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    const PROVEN: &str = "//! Head.\nfn f(p: *const u8) -> u8 {\n    // SAFETY: the caller gave a live pointer.\n    unsafe { *p }\n}\n";

    fn lines(violations: &[Violation]) -> Vec<String> {
        violations
            .iter()
            .map(|v| format!("{}:{}", v.path.display(), v.line))
            .collect()
    }

    #[test]
    fn unsafe_code_in_an_unlisted_file_is_found() {
        let tree = fixture(&[("a.rs", PROVEN)]);
        assert_eq!(lines(&check_against(&tree, &[])), ["a.rs:4"]);
        assert_eq!(check_against(&tree, &[("a.rs", "why")]), []);
    }

    #[test]
    fn a_listed_place_must_still_prove_itself() {
        let bare = "fn f(p: *const u8) -> u8 {\n    unsafe { *p }\n}\nstruct S;\nunsafe impl Send for S {}\nunsafe fn g() {}\n";
        let tree = fixture(&[("a.rs", bare)]);
        assert_eq!(
            lines(&check_against(&tree, &[("a.rs", "why")])),
            ["a.rs:2", "a.rs:5"]
        );
    }

    #[test]
    fn a_proof_does_not_reach_across_an_empty_line() {
        let far = PROVEN.replace("    unsafe", "\n    unsafe");
        let tree = fixture(&[("a.rs", &far)]);
        assert_eq!(lines(&check_against(&tree, &[("a.rs", "why")])), ["a.rs:5"]);
    }

    #[test]
    fn the_word_in_text_is_not_code() {
        let tree = fixture(&[(
            "a.rs",
            "//! unsafe\n/// unsafe { }\nconst A: &str = \"unsafe { }\"; // unsafe\n",
        )]);
        assert_eq!(check_against(&tree, &[]), []);
    }

    #[test]
    fn a_stale_line_of_the_list_is_found() {
        let tree = fixture(&[("a.rs", "//! Safe.\n")]);
        assert_eq!(
            lines(&check_against(
                &tree,
                &[("a.rs", "why"), ("gone.rs", "why")]
            )),
            ["a.rs:0", "gone.rs:0"]
        );
    }
}
