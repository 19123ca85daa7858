#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds our GPT-2 ids, and our speed on one core, against Hugging Face `tokenizers` and `tiktoken`, on large
texts.

usage: tools/check_tokenizer.py build/cpu/bench/tokenizer_tool [FILE]

Three texts: FILE (the GCIDE dictionary if not given), every code point of Unicode in several contexts among
words of many scripts, and random bytes. Ill-formed UTF-8 is for us to replace and for Python's decoder.
Speeds are bytes per second of processor time of one thread, set-up not counted. Exit status 1 if any id
differs. Needs `tokenizers`, `tiktoken`, `numpy`.
"""
import gzip
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy
import tiktoken

from make_tokenizer_goldens import alphabet, reference, read_merges, words

GCIDE = "/usr/share/dictd/gcide.dict.dz"  # Debian's dict-gcide
REPEATS = 3
DOCUMENT = 20_000  # characters: the others are fed documents of about this length, as a corpus would


def tiktoken_gpt2():
    """tiktoken's own definition of gpt2, with ranks from assets instead of from the network."""
    characters = alphabet()
    byte_of = {character: byte for byte, character in characters.items()}
    to_bytes = lambda token: bytes(byte_of[character] for character in token)
    ranks = {to_bytes(character): i for i, character in enumerate(characters.values())}
    for left, right in read_merges():
        ranks[to_bytes(left + right)] = len(ranks)
    from tiktoken_ext.openai_public import r50k_pat_str
    return tiktoken.Encoding(
        "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 50256})


def documents(text, pattern=r"(?<=\S\n)(?=\S)"):
    """Cuts where no pre-token can be split: of GPT-2's between a line feed and the next line, neither next to
    other white space."""
    parts, start = [], 0
    for cut in re.finditer(pattern, text):
        if cut.start() - start >= DOCUMENT:
            parts.append(text[start:cut.start()])
            start = cut.start()
    return parts + [text[start:]]


def unicode_text(size):
    rng = random.Random(16)
    code_points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    parts, written = [], 0
    while written < size:
        rng.shuffle(code_points)
        for begin in range(0, len(code_points), 20):
            run = "".join(
                rng.choice(["", " ", "a", "1", "!", "'"]) + chr(c) for c in code_points[begin:begin + 20])
            part = run + words(rng, 6) + "x\ny"
            parts.append(part)
            written += len(part.encode())
            if written >= size:
                break
    return "".join(parts).encode()


def timed(encode, parts, size):
    start = time.process_time()
    lists = encode(parts)
    seconds = time.process_time() - start
    return numpy.concatenate([numpy.array(ids, dtype=numpy.int32) for ids in lists]), size / 1e6 / seconds


def encode_ours(tool, data, repeats, *tokenizer):
    """The ids, and what the tool says of its speed."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder, "text"), pathlib.Path(folder, "ids")
        source.write_bytes(data)
        said = subprocess.run([tool, source, target, str(repeats), *tokenizer], check=True,
                              capture_output=True, text=True).stdout
        return numpy.fromfile(target, dtype=numpy.int32), said


def check(name, data, tool, others):
    ours, said = encode_ours(tool, data, REPEATS)
    print(f"{name}\n  {'moe':12}{said.strip()}")
    text = data.decode("utf-8", "replace")
    good = text.count("\ufffd") - data.count("\ufffd".encode()) == int(re.search(r"(\d+) replaced", said)[1])
    parts = documents(text)
    for other, encode in others.items():
        ids, speed = timed(encode, parts, len(data))
        equal = numpy.array_equal(ids, ours)
        good &= equal
        print(f"  {other:12}{len(ids)} ids, {'equal' if equal else 'UNEQUAL'}, {speed:.1f} MB/s", flush=True)
    return good


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    path = pathlib.Path(sys.argv[2] if len(sys.argv) == 3 else GCIDE)
    hugging_face, open_ai = reference(), tiktoken_gpt2()
    others = {"tokenizers": lambda parts: [
        encoding.ids for encoding in hugging_face.encode_batch_fast(parts)],
              "tiktoken": lambda parts: [open_ai.encode_ordinary(part) for part in parts]}
    data = gzip.decompress(path.read_bytes()) if path.suffix in (".gz", ".dz") else path.read_bytes()
    good = [check(path.name, data, sys.argv[1], others),
            check("all of Unicode", unicode_text(10_000_000), sys.argv[1], others),
            check("random bytes", random.Random(1).randbytes(4_000_000), sys.argv[1], others)]
    raise SystemExit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
