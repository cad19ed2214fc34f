//! No circles among the folders and files of a crate.
//!
//! An arrow is any path through `crate`, `super`, `self` or a module below, in a `use` or in the
//! code. It leads to the file that defines the imported item; a re-export on the way is followed.
//!
//! Each folder is judged by itself: its files and subfolders are the nodes, and everything below a
//! subfolder, its `mod.rs` included, belongs to that subfolder's node. A folder's own `mod.rs` (`lib.rs`
//! and `main.rs` at the top) may import its children, and they may import it: between them there are
//! no arrows. Code for tests draws none either.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree};

use super::Violation;
use super::tree::{File, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let manifests = tree.files().filter(|file| {
        file.path
            .file_name()
            .is_some_and(|name| name == "Cargo.toml")
    });
    let folders: Vec<_> = manifests
        .map(|file| file.path.parent().unwrap_or(Path::new("")).join("src"))
        .collect();
    folders
        .iter()
        .flat_map(|folder| Crate::read(tree, folder).circles())
        .collect()
}

/// A module's path below the crate root: empty for the root itself.
type ModulePath = Vec<String>;

/// The modules of one crate that are files of their own.
#[derive(Default)]
struct Crate {
    files: BTreeMap<ModulePath, PathBuf>,
    /// For each file, the names that it imports from this crate, with the path of each.
    names: BTreeMap<ModulePath, BTreeMap<String, ModulePath>>,
    /// The importing file, the path it imports, written from the root, and the line.
    imports: Vec<(ModulePath, ModulePath, usize)>,
}

impl Crate {
    fn read(tree: &Tree, folder: &Path) -> Self {
        let sources: Vec<(ModulePath, &File)> = tree
            .with_extension("rs")
            .filter(|file| {
                file.path != folder.join("main.rs") || !tree.contains(&folder.join("lib.rs"))
            })
            .filter_map(|file| Some((module_path(file.path.strip_prefix(folder).ok()?)?, file)))
            .collect();
        let mut read = Self {
            files: sources
                .iter()
                .map(|(module, file)| (module.clone(), file.path.clone()))
                .collect(),
            ..Self::default()
        };
        let mut for_tests = BTreeSet::new();
        for (module, file) in sources {
            // A file that is not Rust is reported by the rule on unsafe places, which reads every file.
            if let Ok(parsed) = syn::parse_file(&file.text) {
                let mut reader = Reader::new(&read.files, &module);
                reader.visit_file(&parsed);
                let Reader {
                    names,
                    imports,
                    modules_for_tests,
                    ..
                } = reader;
                for_tests.extend(modules_for_tests);
                read.names.insert(module.clone(), names);
                read.imports.extend(
                    imports
                        .into_iter()
                        .map(|(path, line)| (module.clone(), path, line)),
                );
            }
        }
        read.imports.retain(|(file, ..)| {
            let mut above = (0..=file.len()).map(|length| &file[..length]);
            !above.any(|module| for_tests.contains(module))
        });
        read
    }

    /// The file that defines the item of this path from the root.
    fn definition(&self, path: &[String]) -> Option<ModulePath> {
        let mut path = path.to_vec();
        let mut seen = BTreeSet::new();
        loop {
            let length = (0..=path.len())
                .rev()
                .find(|length| self.files.contains_key(&path[..*length]))?;
            let (file, rest) = path.split_at(length);
            let elsewhere = rest
                .first()
                .and_then(|name| self.names.get(file)?.get(name));
            match elsewhere {
                Some(elsewhere) if seen.insert(path.clone()) => {
                    path = [elsewhere, &rest[1..]].concat();
                }
                _ => return Some(file.to_vec()),
            }
        }
    }

    /// The circles in all folders of the crate.
    fn circles(&self) -> Vec<Violation> {
        let mut arrows: BTreeMap<&[String], Arrows<'_>> = BTreeMap::new();
        for (from, path, line) in &self.imports {
            let Some(to) = self.definition(path) else {
                continue;
            };
            let Some((to, _)) = self.files.get_key_value(&to) else {
                continue;
            };
            // The innermost folder that holds both is the one in which they are different nodes.
            let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
            if common == from.len() || common == to.len() {
                continue;
            }
            arrows
                .entry(&from[..common])
                .or_default()
                .entry(&from[..=common])
                .or_default()
                .entry(&to[..=common])
                .or_insert((&self.files[from], *line));
        }
        arrows.values().flat_map(circles).collect()
    }
}

/// A file or folder: its path from the crate root.
type Node<'a> = &'a [String];

/// The arrows within one folder: from each node to the nodes it imports, with the file and line of
/// the first import.
type Arrows<'a> = BTreeMap<Node<'a>, BTreeMap<Node<'a>, (&'a Path, usize)>>;

/// `a.rs` and `a/mod.rs` are `[a]`, `a/b.rs` is `[a, b]`, `lib.rs` is `[]`. Returns nothing for files
/// below `bin/`, which are crates of their own.
fn module_path(below_src: &Path) -> Option<ModulePath> {
    let mut path: ModulePath = below_src
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if path.first().is_some_and(|first| first == "bin") {
        return None;
    }
    if path.len() == 1 && matches!(path[0].as_str(), "lib" | "main") {
        return Some(Vec::new());
    }
    if path.last().is_some_and(|last| last == "mod") {
        path.pop();
    }
    Some(path)
}

/// Reads the imports of one file.
struct Reader<'a> {
    files: &'a BTreeMap<ModulePath, PathBuf>,
    file: &'a ModulePath,
    /// The module that is being read: the file's own, or one written inside it.
    module: ModulePath,
    names: BTreeMap<String, ModulePath>,
    imports: Vec<(ModulePath, usize)>,
    /// Modules declared here that only tests build.
    modules_for_tests: Vec<ModulePath>,
}

impl<'a> Reader<'a> {
    fn new(files: &'a BTreeMap<ModulePath, PathBuf>, file: &'a ModulePath) -> Self {
        Self {
            files,
            file,
            module: file.clone(),
            names: BTreeMap::new(),
            imports: Vec::new(),
            modules_for_tests: Vec::new(),
        }
    }

    /// Records an import and returns its path from the root; nothing if it is not of this crate.
    fn import(&mut self, written: &[String], line: usize) -> Option<ModulePath> {
        let mut path = self.module.clone();
        let mut rest = written;
        match written.first()?.as_str() {
            "crate" => {
                path.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {}
            first => {
                path.push(first.to_owned());
                // Otherwise the name belongs to another crate, to the local scope or to a type.
                if !self.files.contains_key(&path) {
                    return None;
                }
                rest = &rest[1..];
            }
        }
        while rest.first().is_some_and(|part| part == "super") {
            path.pop();
            rest = &rest[1..];
        }
        path.extend(rest.iter().filter(|part| *part != "self").cloned());
        self.imports.push((path.clone(), line));
        Some(path)
    }

    fn read_use(&mut self, before: &mut Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(part) => {
                before.push(part.ident.to_string());
                self.read_use(before, &part.tree);
                before.pop();
            }
            UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|item| self.read_use(before, item)),
            UseTree::Name(name) => self.read_leaf(before, &name.ident, &name.ident),
            UseTree::Rename(name) => self.read_leaf(before, &name.ident, &name.rename),
            UseTree::Glob(star) => {
                self.import(before, star.star_token.span.start().line);
            }
        }
    }

    fn read_leaf(&mut self, before: &mut Vec<String>, name: &syn::Ident, known_as: &syn::Ident) {
        before.push(name.to_string());
        if let Some(path) = self.import(before, name.span().start().line)
            && self.module == *self.file
        {
            self.names.insert(known_as.to_string(), path);
        }
        before.pop();
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        } else if let Item::Mod(item) = item {
            let mut path = self.module.clone();
            path.push(item.ident.to_string());
            self.modules_for_tests.push(path);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.read_use(&mut Vec::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // `a::b` may be an item of this crate; a single name never leaves the module.
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let written: Vec<_> = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect();
            self.import(&written, path.segments[0].ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    /// `pub(in crate::a)` names who may import, and imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("test")
        || attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|condition| condition.is_ident("test"))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The circles among the nodes of one folder. For each group of nodes that all lead to each other,
/// reports only the shortest circle through its first node.
fn circles(arrows: &Arrows<'_>) -> Vec<Violation> {
    let mut reported: BTreeSet<Node<'_>> = BTreeSet::new();
    let mut violations = Vec::new();
    for start in arrows.keys().copied() {
        if reported.contains(start) {
            continue;
        }
        if let Some(circle) = shortest_circle(arrows, start) {
            violations.push(describe(arrows, &circle));
            let reached = reachable(arrows, start);
            reported.extend(
                reached
                    .into_iter()
                    .filter(|node| reachable(arrows, node).contains(start)),
            );
        }
    }
    violations
}

/// Describes the nodes of a circle, and one import for each of its arrows.
fn describe(arrows: &Arrows<'_>, circle: &[Node<'_>]) -> Violation {
    let next = circle.iter().skip(1).chain(circle.first());
    let imports: Vec<_> = circle
        .iter()
        .zip(next)
        .map(|(from, to)| arrows[from][to])
        .collect();
    let names: Vec<_> = circle
        .iter()
        .chain(circle.first())
        .map(|node| node.join("::"))
        .collect();
    let others: Vec<_> = imports
        .iter()
        .skip(1)
        .map(|(file, line)| format!("{}:{line}", file.display()))
        .collect();
    let (file, line) = imports[0];
    let message = format!(
        "modules import each other in a circle: {}; move what they share into a module of its own (the other imports: {})",
        names.join(" → "),
        others.join(", ")
    );
    Violation::new(file, line, message)
}

fn reachable<'a>(arrows: &Arrows<'a>, start: Node<'a>) -> BTreeSet<Node<'a>> {
    let mut reached = BTreeSet::new();
    let mut left = vec![start];
    while let Some(at) = left.pop() {
        let targets = arrows.get(at).into_iter().flat_map(BTreeMap::keys).copied();
        left.extend(targets.filter(|target| reached.insert(*target)));
    }
    reached
}

/// The nodes on the shortest path from one back to itself; the start is named once, at the front.
fn shortest_circle<'a>(arrows: &Arrows<'a>, start: Node<'a>) -> Option<Vec<Node<'a>>> {
    let mut came_from: BTreeMap<Node<'a>, Node<'a>> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for target in arrows.get(at).into_iter().flat_map(BTreeMap::keys).copied() {
            if target == start {
                let mut way = vec![at];
                while let Some(before) = way
                    .last()
                    .filter(|last| **last != start)
                    .map(|last| came_from[*last])
                {
                    way.push(before);
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(target) {
                came_from.insert(target, at);
                queue.push_back(target);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    fn laid_out(files: &[(&str, &str)]) -> Tree {
        let mut files = files.to_vec();
        files.push(("x/Cargo.toml", "[package]\n"));
        fixture(&files)
    }

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let shown = |v: &Violation| {
            let (_, circle) = v.message.split_once(": ").unwrap();
            format!(
                "{}:{}: {}",
                v.path.display(),
                v.line,
                circle.split(';').next().unwrap()
            )
        };
        check(&laid_out(files)).iter().map(shown).collect()
    }

    #[test]
    fn two_modules_that_import_each_other_are_found() {
        let files = [
            ("x/src/lib.rs", "mod a; mod b;"),
            ("x/src/a.rs", "\nuse crate::b::B;\npub struct A;"),
            (
                "x/src/b.rs",
                "pub struct B; fn f() -> super::a::A { super::a::A }",
            ),
        ];
        assert_eq!(found(&files), ["x/src/a.rs:2: a → b → a"]);
        let one_way = [files[0], files[1], ("x/src/b.rs", "pub struct B;")];
        assert_eq!(found(&one_way), [""; 0]);
    }

    #[test]
    fn a_circle_hidden_by_a_re_export_is_found() {
        let files = [
            (
                "x/src/lib.rs",
                "mod a; mod b;\npub use a::A; pub use b::B as Bee;",
            ),
            ("x/src/a.rs", "use crate::Bee; pub struct A;"),
            ("x/src/b.rs", "use super::A; pub struct B;"),
        ];
        assert_eq!(found(&files), ["x/src/a.rs:1: a → b → a"]);
    }

    #[test]
    fn a_group_of_circles_is_reported_once() {
        let files = [
            ("x/src/lib.rs", "mod a; mod b; mod c;"),
            ("x/src/a.rs", "use crate::b::B; use crate::c::C;"),
            ("x/src/b.rs", "use crate::a::A;"),
            ("x/src/c.rs", "use crate::a::A; use crate::b::B;"),
        ];
        assert_eq!(found(&files), ["x/src/a.rs:1: a → b → a"]);
    }

    #[test]
    fn a_long_way_round_is_found_once() {
        let files = [
            ("x/src/main.rs", "mod a; mod b; mod c; use crate::a::A;"),
            ("x/src/a/mod.rs", "use crate::b::{self as other, c::{B}};"),
            ("x/src/b.rs", "use super::c::*;"),
            ("x/src/c.rs", "fn f() { crate::a::g(); }"),
        ];
        assert_eq!(found(&files), ["x/src/a/mod.rs:1: a → b → c → a"]);
    }

    #[test]
    fn a_circle_inside_a_folder_is_found_and_named_from_the_root() {
        let files = [
            ("x/src/lib.rs", "mod a;"),
            ("x/src/a/mod.rs", "mod b; mod c;"),
            ("x/src/a/b.rs", "use super::c::C; pub struct B;"),
            ("x/src/a/c.rs", "use super::b::B; pub struct C;"),
        ];
        assert_eq!(found(&files), ["x/src/a/b.rs:1: a::b → a::c → a::b"]);
    }

    #[test]
    fn a_circle_between_folders_through_different_files_is_found() {
        let files = [
            ("x/src/lib.rs", "mod a; mod b;"),
            ("x/src/a/mod.rs", "mod one; mod two;"),
            ("x/src/a/one.rs", "use crate::b::three::Three;"),
            ("x/src/a/two.rs", "pub struct Two;"),
            ("x/src/b/mod.rs", "mod three; mod four;"),
            ("x/src/b/three.rs", "pub struct Three;"),
            ("x/src/b/four.rs", "\nuse crate::a::two::Two;"),
        ];
        assert_eq!(found(&files), ["x/src/a/one.rs:1: a → b → a"]);
        let message = check(&laid_out(&files))[0].message.clone();
        assert!(message.ends_with("(the other imports: x/src/b/four.rs:2)"));
    }

    #[test]
    fn a_circle_through_a_mod_rs_is_found() {
        let files = [
            ("x/src/lib.rs", "mod a; mod b;"),
            ("x/src/a/mod.rs", "mod one; pub struct A; use crate::b::B;"),
            ("x/src/a/one.rs", "use super::A;"),
            ("x/src/b.rs", "use crate::a::one::One; pub struct B;"),
        ];
        assert_eq!(found(&files), ["x/src/a/mod.rs:1: a → b → a"]);
    }

    #[test]
    fn a_circle_of_subfolders_is_found_in_their_folder() {
        let files = [
            ("x/src/lib.rs", "mod a;"),
            ("x/src/a/mod.rs", "mod b; mod c;"),
            ("x/src/a/b/mod.rs", "mod d;"),
            ("x/src/a/b/d.rs", "use super::super::c::C;"),
            ("x/src/a/c.rs", "use crate::a::b; pub struct C;"),
        ];
        assert_eq!(found(&files), ["x/src/a/b/d.rs:1: a::b → a::c → a::b"]);
    }

    #[test]
    fn a_file_that_only_tests_build_draws_no_arrows() {
        let files = [
            ("x/src/lib.rs", "mod a; mod b;"),
            ("x/src/a/mod.rs", "#[cfg(test)] mod tests; pub struct A;"),
            ("x/src/a/tests/mod.rs", "mod deep; use crate::b::B;"),
            ("x/src/a/tests/deep.rs", "use crate::b::B;"),
            ("x/src/b.rs", "use crate::a::A; pub struct B;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }

    #[test]
    fn a_folder_s_mod_rs_and_its_children_may_import_each_other() {
        let files = [
            ("x/src/lib.rs", "mod a; pub struct Root; use a::A;"),
            (
                "x/src/a.rs",
                "mod inner; pub struct A; fn f() { inner::g() }",
            ),
            ("x/src/a/inner.rs", "use super::A; use crate::Root;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }

    #[test]
    fn tests_and_other_crates_draw_no_arrows() {
        let files = [
            (
                "x/src/lib.rs",
                "mod a; mod b; #[cfg(test)] mod tests { use super::a::A; }",
            ),
            ("x/src/a.rs", "use crate::b::B; use b::C; pub struct A;"),
            (
                "x/src/b.rs",
                "pub(in crate::a) struct B; #[cfg(test)] mod tests { use crate::a::A; } #[test] fn t() { crate::a::f(); }",
            ),
            ("x/tests/all/main.rs", "use crate::a::A;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
