#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The text of Debian packages as JSON Lines; bench/corpus.sh calls it. Only Python's own library: what an
HTML parser makes of a page depends on its version, and the corpus must not.

    corpus.py extract OUT LIST      documents of each package, in the order of their paths, to OUT/text
    corpus.py assemble OUT LIST     OUT/train.jsonl, held_out.jsonl, held_out/PACKAGE.jsonl, sources.tsv

LIST has lines "PACKAGE DEB FILES KIND": FILES is a regular expression over paths (- is every file of a known
ending), KIND says how they are read (- is by their ending). docs/corpus.md has the rules.
"""
import bz2
import collections
import concurrent.futures
import contextlib
import gzip
import hashlib
import html
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import zlib

RULES = 1           # goes up when the same package gives other text: what is extracted is done again
LINE = 40           # characters from which an identical line is kept once only
LEAST = 200         # characters of the shortest document
MOST = 30000        # bytes from which a document is cut
MENU = 10           # short lines in a row that are a menu
MENU_LINE = 32      # characters from which a line is none of a menu's
SIDE = 60           # lines at a document's head and tail that may be navigation
HELD_OUT = 100      # one of so many documents

# Words that make up a fifth of English prose and nearly nothing of other languages, tables and code.
ENGLISH = frozenset(
    "the of and to is that for with are this by be as it from or not which have you has".split())
ENGLISH_SHARE = 0.10


class Wrong(Exception):
    """Something about a package that its user can mend."""


# --- one file to text ---

FLAGS = re.IGNORECASE | re.DOTALL
DROPPED = re.compile(r"<!--.*?-->|<(script|style|head|nav|footer|svg|math|noscript|template|form|select"
                     r"|button)\b.*?</\1\s*>"
                     r'|<a\b[^>]*class="[^"]*\b(?:headerlink|anchor|srclink|src|permalink)\b.*?</a>'
                     r'|<span class="(?:viewcode-link|linenos|lineno)".*?</span>', FLAGS)
BODY = re.compile(r'<main\b|<article\b|<[a-z]+\b[^>]*\brole="main"'
                  r'|<div class="(?:body|maincolumn)"', re.IGNORECASE)
BODY_END = re.compile(r'</main\s*>|<div [^>]*class="(?:sphinxsidebar|navfooter|footer|bottomnav|related)\b'
                      r"|<!-- contents -->", re.IGNORECASE)
PRE = re.compile(r"<(pre|programlisting|screen)\b[^>]*>(.*?)</\1\s*>", FLAGS)
SPACE = re.compile(r"\s+")
PARAGRAPH = re.compile(r"</?(?:p|div|ul|ol|dl|h[1-6]|table|hr|section|article|main|blockquote|center|figure"
                       r"|para|title|sect[1-5]|chapter|note|list|steps|example|tbody|body)\b[^>]*>",
                       re.IGNORECASE)
BREAK = re.compile(r"</?(?:br|li|dt|dd|tr|caption|thead|option|item|term|desc|listitem|varlistentry)\b"
                   r"[^>]*>", re.IGNORECASE)
CELL = re.compile(r"</?t[dh]\b[^>]*>", re.IGNORECASE)
TAG = re.compile(r"<[/!?a-zA-Z][^>]*>")


def without_tags(text):
    return html.unescape(TAG.sub("", text))


TURN = re.compile(r"(?:Prev(?:ious)?|Next|Up|Home|Contents|Index)\b.*\b(?:Next|Prev(?:ious)?|Up|Home|Index)")
LETTERS = re.compile("[A-Za-z\u00c0-\u024f]{2}")


def is_menu(line):
    return len(line) < MENU_LINE and line[-1] not in ".:;!?"


def without_menus(lines):
    """Without lines that have no word, and without menus: many short lines, one after another."""
    lines = [line for line in lines if not line or LETTERS.search(line) and not TURN.fullmatch(line)]
    kept, run, size = [], [], 0
    for line in lines + ["."]:
        if not line or is_menu(line):
            run.append(line)
            size += bool(line)
            continue
        kept += run if size < MENU else [""]
        kept.append(line)
        run, size = [], 0
    return kept[:-1]


def of_html(text):
    """Paragraphs one a line, preformatted text as it stands, tables a row a line."""
    text = DROPPED.sub(" ", text)
    body = BODY.search(text)
    if body:
        end = BODY_END.search(text, body.end())
        text = text[body.start():end.start() if end else len(text)]
    pieces = PRE.split(text)
    lines = []
    for index in range(0, len(pieces), 3):
        flow = SPACE.sub(" ", pieces[index])
        flow = CELL.sub(" ", BREAK.sub("\n", PARAGRAPH.sub("\n\n", flow)))
        lines += without_menus([" ".join(line.split()) for line in without_tags(flow).split("\n")]) + [""]
        if index + 2 < len(pieces):
            lines += [line.rstrip() for line in without_tags(pieces[index + 2]).split("\n")] + [""]
    return "\n".join(lines)


def of_text(text):
    return re.sub(r"^%+$", "", text, flags=re.M)  # fortunes have it between them


INFO_NOISE = re.compile(r"^(?:File: .*Node: .*|\* [^\n]*::.*|\* Menu:.*|\* .*:  +.*|\s+\(line +\d+\)"
                        r"|START-INFO-DIR-ENTRY|END-INFO-DIR-ENTRY)$", re.M)
INFO_TABLES = ("Tag Table", "Indirect", "End Tag", "Local Variables")


def of_info(text):
    return "\n".join(INFO_NOISE.sub("", part) for part in text.split("\x1f")
                     if not part.lstrip("\n\f").startswith(INFO_TABLES))


POD_CODE = re.compile(r"\b([A-Z])(?:<<<<? (.*?) >>>>?|<< (.*?) >>|<([^<>]*)>)", re.DOTALL)
POD_ESCAPES = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/"}


def pod_code(match):
    kind, inside = match[1], match[2] or match[3] or match[4] or ""
    if kind == "E":
        return POD_ESCAPES.get(inside, html.unescape(f"&{inside};"))
    if kind in "XZ":
        return ""
    return inside.split("|")[0] if kind == "L" else inside


def of_pod(text):
    lines, inside = [], False
    for line in text.split("\n"):
        command = re.match(r"=([a-z]+\d?)\s*(.*)", line)
        if not command:
            if inside:
                lines.append(line)
            continue
        inside = command[1] not in ("cut", "begin", "for")
        if inside and command[1] not in ("over", "back", "encoding", "pod", "end") and command[2] != "*":
            lines.append(command[2])
    text = "\n".join(lines)
    for _ in range(3):
        text = POD_CODE.sub(pod_code, text)
    return text


LITERAL = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`([^`\n]*)`')
ESCAPES = {r"\n": "\n", r"\t": " ", r"\"": '"', r"\\": "\\", r"\'": "'"}


def of_literals(text):
    """The sentences among the quoted texts of a program or of a game's data."""
    lines = []
    for match in LITERAL.finditer(text):
        literal = match[1] if match[1] is not None else match[2]
        literal = re.sub(r"\\.", lambda escape: ESCAPES.get(escape.group(), ""), literal)
        literal = "\n".join(" ".join(line.split()) for line in without_tags(literal).split("\n"))
        if len(literal) >= LINE and literal.count(" ") >= 6:
            lines.append(literal)
    return "\n".join(lines)


def decoded(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def of_bible(files, path):
    """A module of the SWORD project: compressed books, their sizes and the places of their verses."""
    sizes, verses = (files.get(path[:-1] + end) for end in "sv")
    if sizes is None or verses is None:
        return ""
    books = [zlib.decompress(files[path][start:start + size])
             for start, size, _ in struct.iter_unpack("<III", sizes)]
    whole = all(len(data) % 10 == 0 for name, data in files.items() if name.endswith("v"))
    verse = "<IIH" if whole else "<III"  # modules of two ages; what their .conf says does not tell
    # what is said of several verses stands there once, and has a place in the list for each of them
    places = dict.fromkeys(place for place in struct.iter_unpack(verse, verses)
                           if place[2] and place[0] < len(books))
    lines = []
    for book, start, size in places:
        text = decoded(books[book][start:start + size])
        text = " ".join(without_tags(re.sub(r"<(note|title)\b.*?</\1>", "", text, flags=FLAGS)).split())
        if text:
            lines.append(text)
    return "\n".join(lines)


def of_r_data(data):
    """The character vectors of an R package's data: compressed objects, each after its length."""
    texts = []
    while len(data) > 4:
        stream = zlib.decompressobj()
        try:
            plain = stream.decompress(data[4:])
        except zlib.error:
            break
        data = stream.unused_data
        # a string: flags (its coding, kind 9), length, bytes
        place = 0
        lines = []
        while True:
            found = re.compile(rb"\x00[\x00\x04]\x00\x09|\x00\x00\x80\x09").search(plain, place)
            if not found:
                break
            size, = struct.unpack_from(">i", plain, found.end()) if found.end() + 4 <= len(plain) else (-1,)
            place = found.end() + 4
            if 0 <= size <= len(plain) - place:
                lines.append(decoded(plain[place:place + size]))
                place += size
        texts.append("\n".join(lines))
    return "\n".join(texts)


# --- a package to documents ---

READERS = {"html": of_html, "text": of_text, "dictionary": of_text, "info": of_info, "pod": of_pod,
           "literals": of_literals}
# Of several kinds the first one that a package has is taken: text beside pages says the same in other lines.
KINDS = (("html", r"\.(?:html?|xhtml|page|docbook)$"), ("pod", r"\.pod$"), ("info", r"\.info(?:-\d+)?$"),
         ("dictionary", r"\.dict$"), ("bible", r"\.(?:[bc]z[zsv])$"), ("text", r"\.(?:txt|text|rst|md)$"))
PACKED = {".gz": gzip.decompress, ".dz": gzip.decompress, ".bz2": bz2.decompress}
NOT_PROSE = re.compile(
    r"/(?:_sources|_static|_modules|_downloads|class-use|doc-files|translations)/|/copyright|changelog"
    r"|/(?:genindex|modindex|py-modindex|search|searchindex|index-all|allclasses\S*|allpackages\S*"
    r"|package-tree|overview-tree|package-use|constant-values|serialized-form|deprecated-list"
    r"|functions_\S*|globals_\S*)\.html$"
    r"|-(?:members|source)\.html$", re.IGNORECASE)


def unpacked(path, data):
    stem, ending = os.path.splitext(path)
    return PACKED[ending](data) if ending in PACKED else data


def kind_of(path):
    stem, ending = os.path.splitext(path)
    name = stem if ending in PACKED else path
    return next((kind for kind, pattern in KINDS if re.search(pattern, name)), None)


def tidy(text):
    """Line ends, no control characters, no trailing space, at most one blank line."""
    text = re.sub(r".\x08", "", text.replace("\r\n", "\n").replace("\xa0", " "))
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\xb6\u200b\ufeff\ue000-\uf8ff]", "", text)
    text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def without_navigation(documents):
    """Without the lines at heads and tails that a fiftieth of the documents have there, and at least five."""
    lines = [text.split("\n") for _, text in documents]
    seen = collections.Counter(line for rows in lines
                               for line in set(map(str.strip, rows[:SIDE] + rows[-SIDE:])) if line)
    common = {line for line, count in seen.items() if count >= max(5, len(documents) / 50)} | {""}
    for (path, _), rows in zip(documents, lines):
        first, last = 0, len(rows)
        while first < last and rows[first].strip() in common:
            first += 1
        while last > first and rows[last - 1].strip() in common:
            last -= 1
        if first < last:
            yield path, "\n".join(rows[first:last])


def files_of(deb, wanted, kind):
    """The files of a package by their paths: those that are wanted, or those that may be text."""
    files = {}
    damaged = Wrong(f"{deb} cannot be unpacked. Hint: remove it and run bench/corpus.sh again")
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as unpack:
        try:
            with tarfile.open(fileobj=unpack.stdout, mode="r|") as archive:
                for member in archive:
                    path = member.name.lstrip(".")
                    if (member.isfile() and not NOT_PROSE.search(path) and (kind != "-" or kind_of(path))
                            and (wanted == "-" or re.search(wanted, path))):
                        files[path] = unpacked(path, archive.extractfile(member).read())
        except tarfile.TarError as error:
            raise damaged from error
        unpack.stdout.read()
    if unpack.returncode:
        raise damaged
    return files


def text_of(path, kind, files):
    if kind == "bible":
        return of_bible(files, path) if path.endswith("z") else ""
    return of_r_data(files[path]) if kind == "r" else READERS[kind](decoded(files[path]))


def extract(work):
    package, deb, wanted, kind, out = work
    started = time.time()
    files = files_of(deb, wanted, kind)
    kinds = {path: kind if kind != "-" else kind_of(path) for path in sorted(files)}
    if kind == "-":
        first = next((known for known, _ in KINDS if known in kinds.values()), None)
        kinds = {path: known for path, known in kinds.items() if known == first}
    documents = [(path, tidy(text_of(path, known, files))) for path, known in kinds.items()]
    with open(out + ".part", "w", encoding="utf-8", newline="\n") as file:
        for path, text in without_navigation([document for document in documents if document[1]]):
            file.write(json.dumps({"text": text, "path": path}, ensure_ascii=False) + "\n")
    size = os.path.getsize(out + ".part")
    if not size:
        raise Wrong(f"{deb} has no text. Hint: has {package} another version than bench/corpus.sh says?")
    os.replace(out + ".part", out)
    return f"{package}: {size / 1e6:.1f} MB of text in {time.time() - started:.0f} s"


def texts_of(out, debs_list):
    """(package, version, text file, what to do for it) of each line of the list."""
    with open(debs_list, encoding="utf-8") as file:
        rows = file.read().splitlines()
    for row in rows:
        package, deb, wanted, kind = row.split()
        version = re.sub(r"%3a", ":", os.path.basename(deb).split("_")[1])
        key = hashlib.sha256(f"{RULES} {wanted} {kind}".encode()).hexdigest()[:8]
        text = os.path.join(out, "text", f"{os.path.basename(deb)[:-len('.deb')]}.{key}.jsonl")
        yield package, version, text, (package, deb, wanted, kind, text)


def extract_all(out, debs_list):
    os.makedirs(os.path.join(out, "text"), exist_ok=True)
    works = [work for _, _, text, work in texts_of(out, debs_list) if not os.path.exists(text)]
    with concurrent.futures.ProcessPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        done = [pool.submit(extract, work) for work in works]
        for one in concurrent.futures.as_completed(done):
            if one.exception():
                pool.shutdown(cancel_futures=True)
            print(f"corpus: {one.result()}", file=sys.stderr, flush=True)


# --- documents to the corpus ---

def is_english(text):
    words = re.findall(r"[a-z]+", text.lower())
    return bool(words) and sum(word in ENGLISH for word in words) >= ENGLISH_SHARE * len(words)


SENTENCE_END = re.compile("(?<=[.!?]) (?=[A-Z\"'])")


def cut(text):
    """Pieces of about the same size, of MOST bytes at most but for the length of a line. Very long lines
    become a sentence a line."""
    size = len(text.encode())
    if size <= MOST:
        return [text]
    text = re.sub(f".{{{MOST // 4},}}", lambda line: SENTENCE_END.sub("\n", line[0]), text)
    target = size / -(-size // MOST)
    pieces, piece, used = [], [], 0
    for line in text.split("\n"):
        length = len(line.encode()) + 1
        if piece and used + length / 2 > target:
            pieces.append("\n".join(piece))
            piece, used = [], 0
        piece.append(line)
        used += length
    return pieces + ["\n".join(piece)]


def unseen(text, seen):
    """The text without long lines that stood somewhere before."""
    lines = []
    for line in text.split("\n"):
        key = line.strip()
        if len(key) >= LINE:
            key = hashlib.blake2b(key.encode(), digest_size=10).digest()
            if key in seen:
                continue
            seen.add(key)
        lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def texts_in(place):
    with open(place, encoding="utf-8") as file:
        for document in file:
            yield json.loads(document)["text"]


def documents_of(texts, seen, notes):
    for package, _, place, _ in texts:
        note = notes[package]
        for text in texts_in(place):
            note["read"] += len(text.encode())
            for piece in cut(unseen(text, seen)):
                data = piece.encode()
                if len(piece) < LEAST:
                    note["short"] += len(data)
                elif not is_english(piece):
                    note["other"] += len(data)
                else:
                    yield hashlib.sha256(data).digest(), package, data


def assemble(out, debs_list):
    texts = list(texts_of(out, debs_list))
    notes = collections.defaultdict(collections.Counter)
    corpus = {}
    for name, package, data in documents_of(texts, set(), notes):
        corpus.setdefault(name, (package, data))
    part = os.path.join(out, "corpus.part")
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(os.path.join(part, "held_out"))
    with contextlib.ExitStack() as stack:
        opened = {}

        def write(name, row):
            if name not in opened:
                opened[name] = stack.enter_context(
                    open(os.path.join(part, name), "w", encoding="utf-8", newline="\n"))
            opened[name].write(row)

        for name in sorted(corpus):
            package, data = corpus[name]
            row = json.dumps({"text": data.decode(), "source": package}, ensure_ascii=False) + "\n"
            held = int.from_bytes(name, "big") % HELD_OUT == 0
            notes[package]["documents"] += 1
            notes[package]["held_out" if held else "train"] += len(data)
            write("held_out.jsonl" if held else "train.jsonl", row)
            if held:
                write(f"held_out/{package}.jsonl", row)
    with open(os.path.join(part, "sources.tsv"), "w", encoding="utf-8", newline="\n") as file:
        columns = ("documents", "train", "held_out", "read", "short", "other")
        print("source", "version", *columns, sep="\t", file=file)
        for package, version, _, _ in texts:
            print(package, version, *(notes[package][column] for column in columns), sep="\t", file=file)
    for name in ("train.jsonl", "held_out.jsonl", "sources.tsv", "held_out"):
        old = os.path.join(out, name)
        if os.path.isdir(old):
            shutil.rmtree(old)
        os.replace(os.path.join(part, name), old)
    os.rmdir(part)
    print_table(texts, notes)


def print_table(texts, notes):
    widths = [max(len(row[column]) for row in texts) for column in (0, 1)]

    def row(name, version, documents, train, held):
        print(f"{name:{widths[0]}}  {version:{widths[1]}}  {documents:>9}  {train:>8}  {held:>11}")

    row("source", "version", "documents", "train MB", "held out MB")
    total = sum((notes[package] for package, *_ in texts), collections.Counter())
    rows = [(package, version, notes[package]) for package, version, *_ in texts]
    for name, version, note in [*rows, ("total", "", total)]:
        row(name, version, note["documents"], f"{note['train'] / 1e6:.2f}", f"{note['held_out'] / 1e6:.3f}")


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("extract", "assemble"):
        sys.exit(__doc__)
    try:
        (extract_all if sys.argv[1] == "extract" else assemble)(*sys.argv[2:])
    except Wrong as wrong:
        sys.exit(f"corpus: {wrong}")
