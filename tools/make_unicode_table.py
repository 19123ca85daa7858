#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes src/text/unicode_table.inc: the runs of letters, numbers and spaces as GPT-2's pre-tokenizer sees
them.

The classes are read off the pre-tokenizer of Hugging Face `tokenizers` itself (0.23: Unicode 16.0), since
Python's own unicodedata is of another version. Needs that package; the table is in the repository, so a build
does not.
"""
import hashlib
import pathlib

from tokenizers import pre_tokenizers

SHA256 = "ba830e7f669dd0fcc40141409e2c8be621eead74b1d0d659dc89185f117d69c8"  # of Unicode 16.0's class array
OTHER, LETTER, NUMBER, SPACE = range(4)
CODE_POINTS = 0x110000


def is_surrogate(c):
    return 0xD800 <= c < 0xE000


def classify():
    """One byte a code point. X sticks to "a" if it is a letter, to "1" if a number, to "!" if neither nor
    space."""
    pre = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    classes = bytearray(CODE_POINTS)
    for c in range(CODE_POINTS):
        if is_surrogate(c):
            continue
        classes[c] = SPACE
        for prefix, kind in (("a", LETTER), ("1", NUMBER), ("!", OTHER)):
            if len(pre.pre_tokenize_str(prefix + chr(c))) == 1:
                classes[c] = kind
                break
    return bytes(classes)


def runs(classes):
    start = 0
    for c in range(1, CODE_POINTS + 1):
        if c == CODE_POINTS or classes[c] != classes[start]:
            if classes[start] != OTHER:
                yield start, c - 1, classes[start]
            start = c


def main():
    classes = classify()
    found = hashlib.sha256(classes).hexdigest()
    if found != SHA256:
        raise SystemExit(f"the installed tokenizers are not of Unicode 16.0: classes hash to {found}")
    names = {LETTER: "L", NUMBER: "N", SPACE: "S"}
    entries = [f"{{0x{a:X}, 0x{b:X}, {names[k]}}}," for a, b, k in runs(classes)]
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
