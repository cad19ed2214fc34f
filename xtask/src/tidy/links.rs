//! Links in the documentation lead to existing files and headings.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::Violation;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let pages: Vec<Page> = tree
        .with_extension("md")
        .map(|file| Page::read(&file.path, &file.text))
        .collect();
    let mut violations = Vec::new();
    for page in &pages {
        for link in &page.links {
            if let Err(message) = resolve(tree, &pages, page, &link.target) {
                violations.push(Violation::new(&page.path, link.line, message));
            }
        }
    }
    violations
}

/// The headings and links of one Markdown file.
struct Page {
    path: PathBuf,
    anchors: Vec<String>,
    links: Vec<Link>,
}

struct Link {
    line: usize,
    target: String,
}

impl Page {
    fn read(path: &Path, text: &str) -> Self {
        let mut page = Self {
            path: path.to_owned(),
            anchors: Vec::new(),
            links: Vec::new(),
        };
        let mut heading: Option<String> = None;
        let mut used: HashMap<String, usize> = HashMap::new();
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    let line = text[..range.start].matches('\n').count() + 1;
                    page.links.push(Link {
                        line,
                        target: dest_url.into_string(),
                    });
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let times = used.entry(anchor.clone()).or_default();
                    page.anchors.push(if *times == 0 {
                        anchor
                    } else {
                        format!("{anchor}-{times}")
                    });
                    *times += 1;
                }
                _ => {}
            }
        }
        page
    }
}

/// Returns a heading's anchor as GitHub makes it.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => c.is_alphanumeric().then_some(c),
        })
        .flat_map(char::to_lowercase)
        .collect()
}

fn resolve(tree: &Tree, pages: &[Page], page: &Page, target: &str) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() {
        page.path.clone()
    } else {
        let folder = page.path.parent().unwrap_or(Path::new(""));
        within_root(&folder.join(file))
            .ok_or_else(|| format!("the link `{target}` leads out of the project"))?
    };
    if !tree.contains(&path) {
        return Err(format!(
            "the link `{target}` leads nowhere: there is no {}",
            path.display()
        ));
    }
    if fragment.is_empty() {
        return Ok(());
    }
    match pages.iter().find(|page| page.path == path) {
        Some(page) if !page.anchors.iter().any(|anchor| anchor == fragment) => Err(format!(
            "the link `{target}` leads nowhere: {} has no heading #{fragment}",
            path.display()
        )),
        _ => Ok(()),
    }
}

/// The path without its `.` and `..`, or nothing if it climbs out of the root.
fn within_root(path: &Path) -> Option<PathBuf> {
    let mut within = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => within.push(name),
            Component::CurDir => {}
            Component::ParentDir if within.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(within)
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture;
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_found() {
        let tree = fixture(&[
            (
                "README.md",
                "# Top\n[a](docs/a.md) [b](docs/b.md)\n\n![c](c.svg)\n\n`[d](d.md)` [e](https://example.org/x) [f](docs)\n",
            ),
            (
                "docs/a.md",
                "[up](../README.md) [out](../../x.md) [self](#here) [top](../README.md#top) [no](../README.md#none)\n\n## Here\n",
            ),
        ]);
        let found: Vec<_> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "README.md:2: the link `docs/b.md` leads nowhere: there is no docs/b.md",
                "README.md:4: the link `c.svg` leads nowhere: there is no c.svg",
                "docs/a.md:1: the link `../../x.md` leads out of the project",
                "docs/a.md:1: the link `../README.md#none` leads nowhere: README.md has no heading #none",
            ]
        );
    }

    #[test]
    fn anchors_are_those_of_github() {
        let page = Page::read(
            Path::new("a.md"),
            "# `WASM.CALL` name[.entry]\n## What's new?\n## A\n## A\n",
        );
        assert_eq!(
            page.anchors,
            ["wasmcall-nameentry", "whats-new", "a", "a-1"]
        );
    }
}
