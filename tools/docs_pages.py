# SPDX-License-Identifier: MIT
"""The pages of the site that are no files of docs/, as a hook of mkdocs (mkdocs.yml).

README.md, CONTRIBUTING.md and CHANGELOG.md are pages; each command's page is its --help, and the settings are
those of `moe plan --settings`, both asked of the program MOE_PROGRAM. A link from a page to a file outside of
docs/ becomes an address of the repository, MOE_REPOSITORY, where that is given ("https://HOST/OWNER/NAME");
otherwise the file itself is put into the site."""
import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import check_links  # noqa: E402

# file of the repository -> page of the site
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
SETTING = re.compile(r"^(\w+)\.(\w+) = (.*?)  \((.*)\)$")


def ask(*words):
    program = os.environ.get("MOE_PROGRAM")
    if not program:
        raise PluginError("MOE_PROGRAM is not set: `make docs` builds the program and names it")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PluginError(f"{program} {' '.join(words)}: {done.stderr}")
    return done.stdout


def commands(*words):
    """Each command of the program or of a command, with the first line of what it does."""
    listed = re.search(r"^Subcommands:\n((?:  .*\n)+)", ask(*words, "--help") + "\n", re.MULTILINE)
    for name, what in re.findall(r"^  (\S+)\s+(.*)$", listed.group(1) if listed else "", re.MULTILINE):
        yield (*words, name), what
        yield from commands(*words, name)


def fenced(text):
    return f"````text\n{text.rstrip()}\n````\n"


def command_pages():
    """(page, text) of each command; first of them all."""
    table = ["# Commands\n", "The program's own words: `moe COMMAND --help` says the same.\n",
             "| | |", "|---|---|"]
    pages = []
    for words, what in commands():
        page = f"commands/{'-'.join(words)}.md"
        table.append(f"| [moe {' '.join(words)}]({Path(page).name}) | {what} |")
        pages.append((page, f"# moe {' '.join(words)}\n\n{fenced(ask(*words, '--help'))}"))
    return [("commands/index.md", "\n".join(table) + "\n\n" + fenced(ask("--help"))), *pages]


def settings_page():
    text, section = ["# Settings", "", "A file of settings is YAML with these sections. Any of them can be "
                     "replaced on the command line as `section.key=value`. `moe plan --settings` prints the "
                     "same list."], None
    lines = ask("plan", "--settings").splitlines()
    cell = lambda words: words.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")  # noqa: E731
    for line, below in zip(lines, lines[1:] + [""]):
        found = SETTING.match(line)
        if not found:
            continue
        if found.group(1) != section:
            section = found.group(1)
            text += ["", f"## {section}", "", "| setting | default | takes | meaning |", "|---|---|---|---|"]
        text.append(f"| `{found.group(2)}` | `{found.group(3).replace('|', chr(92) + '|')}` "
                    f"| {cell(found.group(4))} | {cell(below.strip())} |")
    if section is None:
        raise PluginError("`moe plan --settings` has another form than tools/docs_pages.py reads")
    return "\n".join(text) + "\n"


def on_config(config):
    """What the navigation takes from the program and from the folder of decisions."""
    decisions = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    config.extra["command_pages"] = command_pages()
    for group in config.nav:
        if "Decisions" in group:
            group["Decisions"] = [f"decisions/{name}" for name in decisions]
        for entry in group.get("Reference", []):
            if isinstance(entry, dict) and "Commands" in entry:
                entry["Commands"] = [
                    page if page.endswith("index.md") else {Path(page).stem.replace("-", " "): page}
                    for page, _ in config.extra["command_pages"]]
    return config


def on_files(files, config):
    for page, text in [*config.extra["command_pages"], ("settings.md", settings_page())]:
        files.append(File.generated(config, page, content=text))
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def place_of(page):
    """A page's file in the repository; None of what the program says."""
    for name, other in PAGES.items():
        if other == page:
            return name
    return f"docs/{page}" if (ROOT / "docs" / page).is_file() else None


def target_of(target, page, config, files):
    """A link as the site has it. target: as the repository's page has it."""
    if check_links.SCHEME.match(target) or target.startswith("#"):
        return target
    path, hash_sign, anchor = target.partition("#")
    path = normpath(PurePosixPath(place_of(page)).parent / path)
    above = str(PurePosixPath(page).parent)
    if path in PAGES:
        return relpath(PAGES[path], above) + hash_sign + anchor
    if path.startswith("docs/") and (ROOT / path).is_file():
        return relpath(path[len("docs/"):], above) + hash_sign + anchor
    if not (ROOT / path).exists():
        return target  # mkdocs says it
    repository = os.environ.get("MOE_REPOSITORY", "").rstrip("/")
    folder = (ROOT / path).is_dir()
    if repository:
        return f"{repository}/{'tree' if folder else 'blob'}/main/{path}{hash_sign}{anchor}"
    if folder:  # without a repository there is nothing to show
        return None
    copy = f"source/{path}.txt"
    if files.get_file_from_path(copy) is None:
        content = (ROOT / path).read_text(encoding="utf-8", errors="replace")
        file = File.generated(config, copy, content=content, inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(file)
    return relpath(copy, above)


def on_page_markdown(markdown, page, config, files):
    """Links as the site has them; a page that is named in backquotes is a link here."""
    uri = page.file.src_uri
    if place_of(uri) is None:
        return markdown
    lines = markdown.split("\n")

    def link(found):
        target = target_of(found.group(2), uri, config, files)
        return found.group(0) if target is None else f"{found.group(1)}{target}{found.group(3)}"

    def mention(found):
        name = found.group(2)
        if not check_links.MENTION.match(name) or not (ROOT / name).is_file():
            return found.group(0)
        above = str(PurePosixPath(uri).parent)
        return f"[`{name}`]({relpath(PAGES.get(name, name.removeprefix('docs/')), above)})"

    for number, line in check_links.prose(markdown):
        line = re.sub(r"(\]\(\s*)([^)\s]+)(\s*\))", link, line)
        line = re.sub(r"(?<!\[)(`)([\w./-]+)`", mention, line)
        lines[number - 1] = line
    return "\n".join(lines)
