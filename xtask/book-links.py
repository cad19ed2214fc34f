#!/usr/bin/env python3
"""Lets the links of the documentation work in the book as they do on GitHub.

mdBook runs it as a preprocessor: links to a README.md lead to the page that mdBook makes of it, and links to files
that are in no chapter lead to the repository's address.

    xtask/book-links.py check FOLDER     looks for links in a built book that lead nowhere
"""

import json
import os
import pathlib
import re
import sys
import urllib.parse

LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))", re.DOTALL)
FENCE = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)
# A reference in a built page.
REFERENCE = re.compile(r'(?:href|src)="([^"]+)"')
# Pages that mdBook makes of other pages.
DERIVED = {"print.html", "404.html", "toc.html"}


def chapters(items):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            yield chapter
            yield from chapters(chapter["sub_items"])


def rewrite(content: str, page: str, pages: set[str], docs: str, repository: str) -> str:
    """The content of a page of the book, with links that work there."""

    def link(match: re.Match) -> str:
        before, target, after = match.groups()
        path, hash_, anchor = target.partition("#")
        if not path or ":" in path:
            return match.group()
        place = os.path.normpath(os.path.join(os.path.dirname(page), path))
        if place in pages:
            if os.path.basename(path) == "README.md":
                path = path.removesuffix("README.md") + "index.md"
        elif place.startswith("..") or not path.endswith(PICTURES):
            path = f"{repository}/blob/main/{os.path.normpath(os.path.join(docs, place))}"
        return f"{before}{path}{hash_}{anchor}{after}"

    # What stands between fences is code.
    parts = FENCE.split(content)
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in parts)


PICTURES = (".svg", ".png")


def preprocess() -> None:
    context, book = json.load(sys.stdin)
    found = list(chapters(book["items"]))
    pages = {chapter["source_path"] for chapter in found if chapter.get("source_path")}
    repository = context["config"]["output"]["html"]["git-repository-url"]
    for chapter in found:
        if chapter.get("source_path"):
            content = chapter["content"]
            chapter["content"] = rewrite(content, chapter["source_path"], pages, "docs", repository)
    json.dump(book, sys.stdout)


def check(folder: pathlib.Path) -> None:
    lost = []
    for page in sorted(folder.rglob("*.html")):
        if page.name in DERIVED:
            continue
        for target in REFERENCE.findall(page.read_text()):
            path = urllib.parse.unquote(target.partition("#")[0])
            if not path or ":" in path:
                continue
            if not (page.parent / path).exists():
                lost.append(f"{page.relative_to(folder)}: {target}")
    if lost:
        sys.exit("links that lead nowhere:\n" + "\n".join(lost))


if sys.argv[1:2] == ["supports"]:
    pass
elif sys.argv[1:2] == ["check"]:
    check(pathlib.Path(sys.argv[2]))
else:
    preprocess()
