#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes src/text/unicode_table.inc: the runs of the classes of characters that the patterns of tokenizers
tell apart.

The classes are read off the regular expressions of Hugging Face `tokenizers` itself (0.23: Unicode 16.0),
since Python's own unicodedata is of another version; `tiktoken`, which has another engine, must agree. Needs
both packages; the table is in the repository, so a build does not.
"""
import hashlib
import pathlib

import tiktoken
from tokenizers import Regex, pre_tokenizers

SHA256 = "39d0d78dd90139da170eedcf07985b1ff81b7df7a08bed3daae31bc0b24727c3"  # of Unicode 16.0's class array
CODE_POINTS = 0x110000
# The order is that of CharacterClass in src/text/unicode.h; the rest, 0, is other.
CLASSES = [
    ("U", r"[\p{Lu}\p{Lt}]"), ("L", r"\p{Ll}"), ("A", r"[\p{Lm}\p{Lo}]"), ("M", r"\p{M}"), ("N", r"\p{N}"),
    ("P", r"[\p{P}\p{S}]"), ("S", r"[^\S\r\n]"), ("R", r"[\r\n]")]


def all_characters():
    return "".join(chr(c) for c in range(CODE_POINTS) if not 0xD800 <= c < 0xE000)


def by_tokenizers(text, pattern):
    """The characters of text that match."""
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return "".join(piece for piece, _ in split.pre_tokenize_str(text))


def by_tiktoken(text, pattern):
    """The same: what no match covers is left out."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("bytes", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return bytes(encoding.encode_ordinary(text)).decode()


def classify():
    text = all_characters()
    classes = bytearray(CODE_POINTS)
    for number, (_, pattern) in enumerate(CLASSES, 1):
        found = by_tokenizers(text, pattern)
        if found != by_tiktoken(text, pattern):
            raise SystemExit(f"tokenizers and tiktoken disagree about {pattern}")
        for character in found:
            if classes[ord(character)]:
                raise SystemExit(f"{ord(character):X} is in two classes")
            classes[ord(character)] = number
    return bytes(classes)


def runs(classes):
    start = 0
    for c in range(1, CODE_POINTS + 1):
        if c == CODE_POINTS or classes[c] != classes[start]:
            if classes[start] != 0:
                yield start, c - 1, classes[start]
            start = c


def main():
    classes = classify()
    found = hashlib.sha256(classes).hexdigest()
    if found != SHA256:
        raise SystemExit(f"the installed packages are not of Unicode 16.0: classes hash to {found}")
    entries = [f"{{0x{a:X}, 0x{b:X}, {CLASSES[k - 1][0]}}}," for a, b, k in runs(classes)]
    lines = ["// SPDX-License-Identifier: MIT",
             "// Made by tools/make_unicode_table.py; Unicode 16.0. {first, last, class}, ascending; the "
             "rest is other."]
    line = ""
    for entry in entries:
        if len(line) + len(entry) + 1 > 110:
            lines.append(line)
            line = ""
        line += (" " if line else "") + entry
    lines.append(line)
    path = pathlib.Path(__file__).resolve().parent.parent / "src/text/unicode_table.inc"
    path.write_text("\n".join(lines) + "\n")
    print(f"{len(entries)} runs, {path.stat().st_size} bytes, sha256 {found}")


if __name__ == "__main__":
    main()
