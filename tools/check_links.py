#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the relative links of all Markdown files to files that exist, and their anchors to headings that
exist, as a repository's page makes them. Paths in backquotes that look like a file of docs/ are held too.
Prints `path:line: what is wrong` and exits with 1 if anything is. Addresses elsewhere are not opened.

usage: tools/check_links.py [ROOT]
"""
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

# [text](target "title"), ![text](target), and [label]: target
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?(\S+?)>?\s*$")
MENTION = re.compile(r"^(?:docs/[\w./-]+\.md|CONTRIBUTING\.md|CHANGELOG\.md)$")
HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
ANCHOR_TAG = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
FENCE = re.compile(r"^\s*(```+|~~~+)")
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
CODE = re.compile(r"(`+)(.+?)\1")
SKIPPED_FOLDERS = {"build", ".deps", ".git", "dist", "runs", "node_modules"}


def slug(heading, seen):
    """The anchor of a heading. The second of the same name gets -1."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    text = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
    count = seen.get(text, 0)
    seen[text] = count + 1
    return f"{text}-{count}" if count else text


def prose(text):
    """(line number, line) outside of fenced code."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        mark = FENCE.match(line)
        if mark and fence is None:
            fence = mark.group(1)
        elif mark and mark.group(1)[0] == fence[0] and len(mark.group(1)) >= len(fence):
            fence = None
        elif fence is None:
            yield number, line


def anchors(text):
    seen, found = {}, set()
    for _, line in prose(text):
        heading = HEADING.match(line)
        if heading:
            found.add(slug(heading.group(2), seen))
        found.update(ANCHOR_TAG.findall(line))
    return found


def links(text):
    """(line number, target) of each link, and of each mention of a page in backquotes."""
    for number, line in prose(text):
        for code in CODE.finditer(line):
            if MENTION.match(code.group(2)):
                yield number, "/" + code.group(2)
        line = CODE.sub("x", line)
        for match in LINK.finditer(line):
            yield number, match.group(1)
        reference = REFERENCE.match(line)
        if reference:
            yield number, reference.group(1)


def problem(root, page, target, texts):
    """Why a link does not lead anywhere; None: it does. A target that begins with / is seen from the root."""
    if SCHEME.match(target) or target.startswith("//"):
        return None
    place, _, anchor = target.partition("#")
    path = page
    if place:
        base = root if place.startswith("/") else page.parent
        path = (base / unquote(place).lstrip("/")).resolve()
        if not path.is_relative_to(root):
            return f"{target} leads out of the repository"
        if not path.exists():
            return f"{target} does not exist"
    if not anchor or path.suffix != ".md":
        return None
    if path not in texts:
        texts[path] = anchors(path.read_text(encoding="utf-8"))
    return None if unquote(anchor) in texts[path] else f"{target}: no heading makes the anchor #{anchor}"


def markdown_files(root):
    """What git tracks or would; all files where there is no git."""
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-coz", "--exclude-standard", "*.md"],
            capture_output=True, text=True, check=False)
        names = set(listed.stdout.split("\0")) - {""}
        if listed.returncode == 0:
            return sorted(root / name for name in names if (root / name).exists())
    return sorted(
        path for path in root.rglob("*.md")
        if not SKIPPED_FOLDERS.intersection(path.relative_to(root).parts[:-1]))


def check(root):
    root = Path(root).resolve()
    texts, found, count = {}, [], 0
    for page in markdown_files(root):
        for number, target in links(page.read_text(encoding="utf-8")):
            count += 1
            why = problem(root, page, target, texts)
            if why:
                found.append(f"{page.relative_to(root)}:{number}: {why}")
    return found, count


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    found, count = check(root)
    for line in found:
        print(line)
    if count == 0:
        print(f"no links below {root}: is it the right folder?")
        return 1
    print(f"{count} links, {len(found)} lead nowhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
