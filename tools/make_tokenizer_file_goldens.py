#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/text: where each known pattern cuts a text of traps, and three small tokenizers in
other people's formats, trained here on words of our own, with their ids of that text.

cuts.txt is the text; cuts.PATTERN the lengths of its pieces, a byte each (255: and that many more bytes in
the next); merges.PATTERN the merges that `tokenizers` learns from it. old.json is as GPT-NeoX's (merges as
text, runs of spaces beside the BPE), new.json as Qwen's (merges as pairs, NFC, a piece that is a token goes
first), ranks.tiktoken as tiktoken's, tekken.json with the same ranks as Mistral's; NAME.ids are ids as
uint16. Deterministic. Needs `tokenizers`, `tiktoken`, `regex`, `numpy` and `mistral-common`.

usage: tools/make_tokenizer_file_goldens.py [--tekken | --steps | --normalizers | --prefix]

With --tekken the files for tekken alone are written, from the ranks.tiktoken that is there; with --steps
steps.json alone, from old.json: other pre-tokenizers for its model, and its ids of a text; with --normalizers
normalizers.json, the same for normalizers; with --prefix gpt2_8192.ids, the ids of cuts.txt by GPT-2's first
7,935 merges, of which `tokenizers` and tiktoken must agree.
"""
import base64
import json
import pathlib
import random
import sys

import numpy
import regex
import tiktoken
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from check_tokenizers import BLOOM, GPT2, patterns
from make_tokenizer_goldens import SPACES, WORDS, alphabet, read_merges

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/text"
DEEPSEEK = [
    r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
TRAPS = """'ſ 'S 'LL 'll 'lL 'Ve 'rE 'D 'm 'x ' a'b 've'll x's X'S é's 1's 's 'ſs Dž Džab ǅA ǅa ªA Aª AªB ʰʰ
 ʰA HTMLParser parseHTML iPhone McDonald ÀÉÎõü ŒUVRE straße STRASSE a\u0301b A\u0301B \u0301 \u0301a !\u0301a
 \u0301\u0302 1\u0301 한국 \u1112\u1161\u11ab 각\u11a8 e\u0323\u0301 e\u0301\u0323 \u212b
 \u2126 \u0958 12345 1 22 ٣٤٥٦ Ⅻ½² 𝟘𝟙𝟚𝟛
 #include <a/b> // /* a */ http://x.y/z?q=1&r=2 x->y a+=b; {}[]() @decorator $PATH `q` \\n _a __init__ a_b
 日本語カタカナひらがな゛・ー漢字abc漢1字 一龥龦ヿ぀ 你好，世界。 مرحبا 123، नमस्ते ไทย 👩‍👩‍👧🇩🇪 \u200b \u00ad \ufeff \u0378 \ue000
 \x00 \x01\x02a \x7f\x7f <|endoftext|> <|im_end|> <X> 3.14 1,000,000 10%""".split(" ")
ENDS = ["", " ", " ", "  ", "   ", "\n", "\r\n", "\n\n", " \n", "\n ", "\t", "\t\t", " \t", "\n\n  ", "/",
        "/\n/", "\r", "!\n", "?\r\n\r\n", "  \n  \n ", "\u00a0", "\u3000", "\u2028", "\x0b", "\x85", "\u180e"]


def trap_text(rng, count):
    parts = []
    for _ in range(count):
        parts.append(rng.choice(rng.choice([TRAPS, TRAPS, WORDS])).strip("\n"))
        parts.append(rng.choice(rng.choice([ENDS, [" "], [chr(rng.choice(SPACES))]])))
    return "".join(parts)


def by_regex(text, pattern):
    """The pieces, those between matches too."""
    pieces, end = [], 0
    for match in regex.finditer(pattern, text):
        pieces += [text[end:match.start()], match.group()]
        end = match.end()
    return [piece for piece in [*pieces, text[end:]] if piece]


def by_tokenizers(text, steps):
    splits = [pre_tokenizers.Split(Regex(step), "isolated") for step in steps]
    return [piece for piece, _ in pre_tokenizers.Sequence(splits).pre_tokenize_str(text)]


def pieces_of(text, name, steps, plain):
    """By `regex`, which knows what ++ and $ mean; where no step has them, `tokenizers` must agree."""
    pieces = [text]
    for step in steps:
        pieces = [part for piece in pieces for part in by_regex(piece, step)]
    if plain and pieces != by_tokenizers(text, steps):
        raise SystemExit(f"{name}: regex and tokenizers disagree")
    return pieces


def write_cuts(text):
    steps = {name: ([first], first == second) for name, (first, second) in patterns().items()}
    steps |= {"gpt2": ([GPT2], True), "gpt2_digits": ([r"\p{N}", GPT2], True), "deepseek3": (DEEPSEEK, True)}
    for name, (regexes, plain) in sorted(steps.items()):
        lengths = bytearray()
        for piece in pieces_of(text, name, regexes, plain):
            length = len(piece.encode())
            while length >= 255:
                lengths.append(255)
                length -= 255
            lengths.append(length)
        (FOLDER / f"cuts.{name}").write_bytes(lengths)


def train(rng, tokenizer, size):
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator([trap_text(rng, 3000) for _ in range(20)], trainer)


def old_tokenizer(rng):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    train(rng, tokenizer, 700)
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>"), AddedToken("<|padding|>")])
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in range(2, 9)])
    written = json.loads(tokenizer.to_str())
    written["model"]["merges"] = [" ".join(merge) for merge in written["model"]["merges"]]
    return Tokenizer.from_str(json.dumps(written)), written


def new_tokenizer(rng):
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(patterns()["qwen"][0]), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    train(rng, tokenizer, 700)
    written = json.loads(tokenizer.to_str())
    written["model"]["vocab"]["Ġantidisestablishmentarianism"] = 700  # no merges make it
    tokenizer = Tokenizer.from_str(json.dumps(written))
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>"), AddedToken("<|im_end|>")])
    return tokenizer, json.loads(tokenizer.to_str())


def tiktoken_file(tokenizer):
    """The tokens of a trained BPE in the order of their merges."""
    byte_of = {character: byte for byte, character in alphabet().items()}
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in json.loads(tokenizer.to_str())["model"]["merges"]:
        token = bytes(byte_of[c] for c in left + right)
        if token not in tokens:
            tokens.append(token)
    return {token: rank for rank, token in enumerate(tokens)}


def write_merges(text):
    """merges.PATTERN: what BpeTrainer learns from the text of traps, with an end of a text in 1,200 ids."""
    for name, regex in {"gpt2": GPT2, "o200k": patterns()["o200k"][1]}.items():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        trainer = trainers.BpeTrainer(
            vocab_size=1200, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<|endoftext|>"], show_progress=False)
        tokenizer.train_from_iterator([text], trainer)
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        (FOLDER / f"merges.{name}").write_text("".join(" ".join(merge) + "\n" for merge in merges))
        print(f"{name}: {len(merges)} merges")


def write_ids(name, ids):
    (FOLDER / f"{name}.ids").write_bytes(numpy.array(ids, dtype="<u2").tobytes())
    print(f"{name}: {len(ids)} ids")


def write_steps(text):
    """steps.json: pre-tokenizers that are no known pattern, with their ids of a text by old.json's model."""
    old = json.loads((FOLDER / "old.json").read_text())
    old["added_tokens"] = []
    short = text[:1400]
    byte_level = lambda regex: {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                                "use_regex": regex}
    split = lambda pattern, behavior="Isolated", invert=False, kind="Regex": {
        "type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}
    digits = lambda individual: {"type": "Digits", "individual_digits": individual}
    behaviors = ["Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"]
    sequences = [[split(BLOOM), byte_level(False)], [byte_level(False)], [digits(False), byte_level(True)],
                 [split(r"\p{N}{1,3}(?=(\p{N}{3})*\b)"), digits(True), byte_level(False)],
                 [split(patterns()["o200k"][1]), digits(True), byte_level(False)],
                 [split("a|x*"), byte_level(False)], [split(r"(?<=\w)\b|\h{2}++|$"), byte_level(False)],
                 [split(" ", "MergedWithNext", kind="String"), split("a", kind="String"), byte_level(True)]]
    sequences += [[split(pattern, behavior, invert), byte_level(False)] for behavior in behaviors
                  for invert in (False, True) for pattern in (r"\s|[\p{P}'3]", r"\p{Ll}+|\p{M}|")]
    cases = []
    for parts in sequences:
        old["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": parts}
        ids = Tokenizer.from_str(json.dumps(old)).encode(short).ids
        cases.append({"pre_tokenizer": old["pre_tokenizer"], "ids": ids})
    written = json.dumps({"text": short, "cases": cases}, ensure_ascii=True, separators=(",", ":"))
    (FOLDER / "steps.json").write_text(written + "\n")
    print(f"steps: {len(cases)} cases, {len({tuple(case['ids']) for case in cases})} of them differ")


def write_normalizers(text):
    """normalizers.json: normal forms, with the ids of texts by old.json's model."""
    old = json.loads((FOLDER / "old.json").read_text())
    old["added_tokens"] = []
    texts = [text[:700], "", " ", "\u2003 x \u3000\n",
             "\u0130stanbul \u03a3\u0391\u03a3 \u01c5 \ufb01\ufb03 \u00c5 e\u0323\u0301 \u1e9b\u0323 \u2460"
             " \uff21 \ufdfa"
             " \ud55c\uae00 \u00bd \u00a0\u0301\u20dd x\u0903  a aa aaa"]
    replace = lambda pattern, content, kind="String": {"type": "Replace", "pattern": {kind: pattern},
                                                       "content": content}
    strip = lambda left, right: {"type": "Strip", "strip_left": left, "strip_right": right}
    forms = [{"type": name} for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents")]
    sequences = [[form] for form in forms]
    sequences += [[strip(left, right)] for left, right in ((True, True), (True, False), (False, True))]
    sequences += [[replace("a", "bb"), replace(" ", "")], [replace(r"\s+", " ", "Regex")],
                  [replace(r"(?<=a)|x*", "-", "Regex")],
                  [replace("aa", "a"), {"type": "Prepend", "prepend": "> "}],
                  [forms[3], forms[5], forms[4], strip(True, True), {"type": "Prepend", "prepend": "\u2581"}],
                  [strip(True, True), {"type": "Prepend", "prepend": "x"}, forms[0]], []]
    cases = []
    for parts in sequences:
        old["normalizer"] = {"type": "Sequence", "normalizers": parts}
        normalizer = Tokenizer.from_str(json.dumps(old)).normalizer
        # One behind the other: 0.23.3's ByteLevel panics over what an empty match was replaced by.
        tokenizer = Tokenizer.from_str(json.dumps(old | {"normalizer": None}))
        ids = [tokenizer.encode(normalizer.normalize_str(one)).ids for one in texts]
        cases.append({"normalizer": old["normalizer"], "ids": ids})
    written = json.dumps({"texts": texts, "cases": cases}, ensure_ascii=True, separators=(",", ":"))
    (FOLDER / "normalizers.json").write_text(written + "\n")
    print(f"normalizers: {len(cases)} cases, {len({str(case['ids']) for case in cases})} of them differ")


def write_tekken(text):
    """Special tokens that the file does not name, and ranks behind those that the vocabulary has room for."""
    ranks = [line.split() for line in (FOLDER / "ranks.tiktoken").read_text().splitlines()]
    special = 24
    config = {"pattern": patterns()["tekken"][0], "num_vocab_tokens": len(ranks),
              "default_vocab_size": special + len(ranks) - 30, "default_num_special_tokens": special,
              "version": "v3"}
    vocabulary = [{"rank": int(rank), "token_bytes": token, "token_str": None} for token, rank in ranks]
    path = FOLDER / "tekken.json"
    path.write_text(json.dumps({"config": config, "vocab": vocabulary}, separators=(",", ":")) + "\n")
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    write_ids("tekken", Tekkenizer.from_file(path).encode(text, bos=False, eos=False))


def write_prefix(text):
    merges = read_merges()[:8192 - 257]
    tokens = [*alphabet().values()] + [left + right for left, right in merges]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    ids = tokenizer.encode(text).ids
    byte_of = {character: byte for byte, character in alphabet().items()}
    ranks = {bytes(byte_of[character] for character in token): i for i, token in enumerate(tokens)}
    other = tiktoken.Encoding("prefix", pat_str=GPT2, mergeable_ranks=ranks, special_tokens={})
    if ids != other.encode_ordinary(text):
        raise SystemExit("prefix: tokenizers and tiktoken disagree")
    write_ids("gpt2_8192", ids)


def main():
    parts = {"--tekken": write_tekken, "--steps": write_steps, "--normalizers": write_normalizers,
             "--prefix": write_prefix}
    if sys.argv[1:]:
        return parts[sys.argv[1]]((FOLDER / "cuts.txt").read_bytes().decode())
    rng = random.Random(23)
    text = trap_text(rng, 1500) + "12345\n  \n  "
    (FOLDER / "cuts.txt").write_bytes(text.encode())
    write_cuts(text)
    write_merges(text)
    for name, (tokenizer, written) in {"old": old_tokenizer(rng), "new": new_tokenizer(rng)}.items():
        (FOLDER / f"{name}.json").write_text(
            json.dumps(written, ensure_ascii=False, separators=(",", ":")) + "\n")
        tokenizer.encode_special_tokens = True  # as here: in a text they are text
        write_ids(name, tokenizer.encode(text).ids)
    ranks = tiktoken_file(tokenizer)
    (FOLDER / "ranks.tiktoken").write_text(
        "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()))
    encoding = tiktoken.Encoding(
        "ranks", pat_str=patterns()["o200k"][0], mergeable_ranks=ranks, special_tokens={})
    write_ids("ranks", encoding.encode_ordinary(text))
    write_tekken(text)
    write_steps(text)
    write_normalizers(text)
    write_prefix(text)


if __name__ == "__main__":
    main()
