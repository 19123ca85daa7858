#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/text: a text of many scripts and of traps, and its GPT-2 ids as uint16, by Hugging Face
`tokenizers`.

Also prints the SHA-256 that tests/text/utf8_test.cpp expects. Deterministic. Needs `tokenizers` and `numpy`.
"""
import hashlib
import itertools
import pathlib
import random

import numpy
from tokenizers import Tokenizer, models, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = 64  # the scanner's step: traps must meet its border at every offset
SPACES = [
    9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
BORDER_BYTES = bytes.fromhex("00 61 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f4 f5 ff")
WORDS = """the The of and don't I'll we've they're she'd it's I'm IT'S o'clock naïve café Straße Größe œuvre
 niño Здравствуй мир слово Ελλάδα ψυχή שלום עולם مرحبا بالعالم नमस्ते दुनिया தமிழ் ไทย ภาษา 你好 世界 日本語 こんにちは
 한국어 안녕하세요 ქართული հայերեն አማርኛ ខ្មែរ 🙂 👩‍👩‍👧 🇩🇪 e\u0301 ﬁ 𝔘𝔫𝔦 𠀀𠀁 12345 3.14 ١٢٣ Ⅻ ½ ² 𝟘𝟙 return; x+=1; ==>>
 ... — “quoted” «так» ¿qué? <|endoftext|> antidisestablishmentarianism Донаудампфшиффартсгезельшафт
 supercalifragilisticexpialidocious""".split()


def alphabet():
    """The printable character of each byte, in the order of GPT-2's first 256 tokens."""
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b]
    rest = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(rest)}


def read_merges():
    lines = (ROOT / "assets/gpt2_merges.txt").read_text(encoding="utf-8").split("\n")[1:-1]
    return [tuple(line.split(" ")) for line in lines]


def reference():
    """GPT-2 of `tokenizers`, from the merges in assets alone."""
    merges = read_merges()
    tokens = [*alphabet().values()] + [left + right for left, right in merges]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def words(rng, count):
    return "".join(rng.choice(WORDS)
                   + rng.choice([" ", " ", " ", " ", "  ", "\n", ", ", ". ", "\n\n", "\u00a0", ""])
                   for _ in range(count))


def traps(rng):
    """Contractions, white space and long characters at every offset in a block."""
    parts = []
    for pad in range(BLOCK + 2):
        trap = rng.choice(["'s", "'ll", "'re", "'ve'd", "'t's", "'l", "'r", "'S", "''m", " 'm", "'"])
        parts.append("y" * pad + trap + rng.choice(["x", " x", "'", "\n", "1", "é", "s"]))
    for pad in range(0, BLOCK + 2):
        run = "".join(chr(rng.choice(SPACES)) for _ in range(rng.randint(1, 4)))
        parts.append("=" * pad + run + rng.choice(["x", "7", "!", "é", "𝔘", "'s"]))
    for length in (15, 16, 17, 63, 64, 65, 127, 128, 129, 130, 700):
        parts += [c * length + rng.choice(["", " ", "x"])
                  for c in ("a", " ", "\n", "-", "0", "я", "界", "\u3000", "🙂")]
    return "".join(parts)


def characters(rng, count):
    """Code points from all of Unicode, half of them below U+3000."""
    chosen = []
    while len(chosen) < count:
        c = rng.choice([rng.randrange(0x3000), rng.randrange(0x110000)])
        if not 0xD800 <= c < 0xE000:
            chosen.append(chr(c))
    return "".join(rng.choice(["", " ", "a", "1", "!"]) + c for c in chosen)


def main():
    rng = random.Random(16)
    text = words(rng, 4000) + traps(rng) + characters(rng, 6000) + words(rng, 500) + "  \n "
    ids = reference().encode(text).ids
    folder = ROOT / "tests/golden/text"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mixed.txt").write_bytes(text.encode())
    (folder / "mixed.ids").write_bytes(numpy.array(ids, dtype="<u2").tobytes())
    print(f"{len(text.encode())} bytes, {len(ids)} ids")

    repaired = hashlib.sha256()
    for string in itertools.product(BORDER_BYTES, repeat=4):
        repaired.update(bytes(string).decode("utf-8", "replace").encode() + b"\n")
    print("repaired strings:", repaired.hexdigest())


if __name__ == "__main__":
    main()
