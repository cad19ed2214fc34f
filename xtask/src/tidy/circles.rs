//! The files of a crate do not import each other in a circle.
//!
//! An arrow is any path through `crate`, `super`, `self` or a module below, in a `use` or in the
//! code. It leads to the file that defines what is imported; a re-export on the way is followed. A
//! module and those below it are one house and may know each other: between them there are no arrows.
//! Code for tests draws none either.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree};

use super::Violation;
use super::tree::{File, Tree};

/// Files that are one unit though they are many: between them no arrows are drawn. What is listed
/// here is a debt; a unit that can be taken apart goes off the list.
const UNITS: &[(&str, &[&str])] = &[(
    "a commit serves blocked clients, who take as any command does",
    &[
        "store/src/blocking/",
        "store/src/commands/",
        "store/src/execution/core.rs",
        "store/src/execution/direct.rs",
        "store/src/api/session.rs",
        "store/src/api/multi.rs",
        "store/src/execution/view.rs",
    ],
)];

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
        .flat_map(|folder| circles(&Crate::read(tree, folder)))
        .collect()
}

/// A module's path below the crate root: empty for the root itself.
type ModulePath = Vec<String>;

/// The modules of one crate that are files of their own.
#[derive(Default)]
struct Crate {
    files: BTreeMap<ModulePath, PathBuf>,
    /// The names that each file imports from this crate, and whose they are.
    names: BTreeMap<ModulePath, BTreeMap<String, ModulePath>>,
    /// What each file imports, as the path from the root and the line that does.
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
        let mut house = Self {
            files: sources
                .iter()
                .map(|(module, file)| (module.clone(), file.path.clone()))
                .collect(),
            ..Self::default()
        };
        for (module, file) in sources {
            // What is not Rust is reported by the rule on unsafe places, which reads every file.
            if let Ok(parsed) = syn::parse_file(&file.text) {
                let mut reader = Reader::new(&house.files, &module);
                reader.visit_file(&parsed);
                let Reader { names, imports, .. } = reader;
                house.names.insert(module.clone(), names);
                house.imports.extend(
                    imports
                        .into_iter()
                        .map(|(path, line)| (module.clone(), path, line)),
                );
            }
        }
        house
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

    /// Whether two files belong to one unit.
    fn are_one(&self, from: &ModulePath, to: &ModulePath) -> bool {
        let path = |module: &ModulePath| self.files.get(module).and_then(|file| file.to_str());
        let (Some(from), Some(to)) = (path(from), path(to)) else {
            return false;
        };
        let has = |unit: &[&str], file: &str| unit.iter().any(|part| file.starts_with(part));
        UNITS
            .iter()
            .any(|(_, unit)| has(unit, from) && has(unit, to))
    }

    /// From each file, those it imports, with the line that does.
    fn arrows(&self) -> Arrows<'_> {
        let mut arrows = Arrows::new();
        for (from, path, line) in &self.imports {
            let Some(to) = self.definition(path) else {
                continue;
            };
            if let Some((to, _)) = self.files.get_key_value(&to)
                && !from.starts_with(to)
                && !to.starts_with(from)
                && !self.are_one(from, to)
            {
                arrows.entry(from).or_default().entry(to).or_insert(*line);
            }
        }
        arrows
    }
}

type Arrows<'a> = BTreeMap<&'a ModulePath, BTreeMap<&'a ModulePath, usize>>;

/// `store.rs` and `store/mod.rs` are `[store]`, `store/key.rs` is `[store, key]`, `lib.rs` is `[]`.
/// A `main.rs` beside a library is another crate and a `bin/` holds more of them: they are none.
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

/// Reads what one file imports.
struct Reader<'a> {
    files: &'a BTreeMap<ModulePath, PathBuf>,
    file: &'a ModulePath,
    /// The module that is being read: the file's own, or one written inside it.
    module: ModulePath,
    names: BTreeMap<String, ModulePath>,
    imports: Vec<(ModulePath, usize)>,
}

impl<'a> Reader<'a> {
    fn new(files: &'a BTreeMap<ModulePath, PathBuf>, file: &'a ModulePath) -> Self {
        Self {
            files,
            file,
            module: file.clone(),
            names: BTreeMap::new(),
            imports: Vec::new(),
        }
    }

    /// Note an import and return its path from the root, if it is of this crate.
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
                // Otherwise the name is another crate's, a local one's or a type's.
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
        // `a::b` alone may be an item of ours; a single name never leaves the module.
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

/// The circles of a crate: one for each group of files that all lead to each other, the shortest
/// through its first.
fn circles(house: &Crate) -> Vec<Violation> {
    let arrows = house.arrows();
    let mut told: BTreeSet<&ModulePath> = BTreeSet::new();
    let mut violations = Vec::new();
    for start in arrows.keys().copied() {
        if told.contains(start) {
            continue;
        }
        if let Some(circle) = shortest_circle(&arrows, start) {
            let next = circle.get(1).copied().unwrap_or(start);
            let way: Vec<_> = circle
                .iter()
                .chain([&start])
                .map(|module| module.join("::"))
                .collect();
            let message = format!(
                "files import each other in a circle: {}; move what they share into one of its own",
                way.join(" → ")
            );
            violations.push(Violation::new(
                &house.files[start],
                arrows[start][next],
                message,
            ));
            let reached = reachable(&arrows, start);
            told.extend(
                reached
                    .into_iter()
                    .filter(|file| reachable(&arrows, file).contains(start)),
            );
        }
    }
    violations
}

fn reachable<'a>(arrows: &Arrows<'a>, start: &'a ModulePath) -> BTreeSet<&'a ModulePath> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&ModulePath> = vec![start];
    while let Some(at) = left.pop() {
        let targets = arrows.get(at).into_iter().flat_map(BTreeMap::keys).copied();
        left.extend(targets.filter(|target| reached.insert(*target)));
    }
    reached
}

/// The files on the shortest way from one back to itself, without the return.
fn shortest_circle<'a>(arrows: &Arrows<'a>, start: &'a ModulePath) -> Option<Vec<&'a ModulePath>> {
    let mut came_from: BTreeMap<&ModulePath, &ModulePath> = BTreeMap::new();
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

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let mut files = files.to_vec();
        files.push(("x/Cargo.toml", "[package]\n"));
        let shown = |v: &Violation| {
            let (_, circle) = v.message.split_once(": ").unwrap();
            format!(
                "{}:{}: {}",
                v.path.display(),
                v.line,
                circle.split(';').next().unwrap()
            )
        };
        check(&fixture(&files)).iter().map(shown).collect()
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
    fn a_group_of_circles_is_told_once() {
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
    fn circles_below_a_module_are_named_from_the_root() {
        let files = [
            ("x/src/lib.rs", "mod a;"),
            ("x/src/a/mod.rs", "mod b; mod c;"),
            ("x/src/a/b.rs", "use super::c::C; pub struct B;"),
            ("x/src/a/c.rs", "use super::b::B; pub struct C;"),
        ];
        assert_eq!(found(&files), ["x/src/a/b.rs:1: a::b → a::c → a::b"]);
    }

    #[test]
    fn a_module_and_those_below_it_may_know_each_other() {
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
