#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds our ids for other people's tokenizers, and our speed on one core, against `tokenizers`, `tiktoken`
and `sentencepiece`.

usage: tools/check_tokenizers.py build/cpu/bench/tokenizer_tool FOLDER [NAME...]

The files come out of three wheels, which pip puts into FOLDER unless they are there: litellm (cl100k, o200k,
p50k, DeepSeek-V3), dashscope (Qwen) and mistral-common (tekken, and the models of SentencePiece of Mistral
7B). Two models of unigrams are trained here; `steps` are patterns without a scan by hand, and `normalizers`
normal forms, both with DeepSeek's vocabulary. NAME...: only these tokenizers. Each is read as it is and,
where it is tiktoken's, once more as the tokenizer.json that it becomes in Hugging Face's conversion; Qwen's
then with its normal form NFC. Texts: English, the source code of Python's library, every code point of
Unicode among words of many scripts, random bytes. Exit status 1 if any id differs. Needs `tokenizers`,
`tiktoken`, `sentencepiece`, `numpy`, pip.
"""
import base64
import gzip
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import unicodedata
import zipfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy
import sentencepiece
import tiktoken
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from check_tokenizer import GCIDE, documents, encode_ours, timed, unicode_text
from make_sentencepiece_goldens import as_tokenizer_json
from make_tokenizer_goldens import alphabet

WHEELS = ["litellm", "dashscope", "mistral-common"]
LITELLM = "litellm/litellm_core_utils/tokenizers/"
CL100K = LITELLM + "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
O200K = LITELLM + "fb374d419588a4632f3f557e76b4b70aebbca790"
P50K = LITELLM + "ec7223a39ce59f226a68acc30dc1af2788490e15"
DEEPSEEK = LITELLM + "deepseek_tokenizer.json"
QWEN = "dashscope/resources/qwen.tiktoken"
TEKKEN = "mistral_common/data/tekken_240911.json"
MISTRAL1 = "mistral_common/data/tokenizer.model.v1"
MISTRAL3 = "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"  # [...] inside of [...] is a set of its own
CUT = r"(?<=[\w.,]\n)(?=\w)"  # where no piece of any pattern can be split
REPEATS = 5
END = "<|endoftext|>"


def patterns():
    from tiktoken_ext import openai_public as public
    llama3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
              r"|\s*[\r\n]+|\s+(?!\S)|\s+")
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    words = [r"[^\r\n\p{L}\p{N}]?" + word for word in (f"{upper}*{lower}+", f"{upper}+{lower}*")]
    suffix = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    white = [r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"]
    symbols = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"
    return {  # the second of two is for the engine of `tokenizers`, where ++ and $ mean something else
        "gpt2": (public.r50k_pat_str, GPT2),
        "cl100k": (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
                   r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s", llama3),
        "llama3": (llama3, llama3),
        "qwen": (llama3.replace("{1,3}", ""),) * 2,
        "o200k": ("|".join([word + suffix for word in words] + [r"\p{N}{1,3}", symbols, *white]),) * 2,
        "tekken": ("|".join([*words, r"\p{N}", symbols, *white]),) * 2,
    }


def unpack(folder):
    """The files of the wheels, below FOLDER."""
    for name in WHEELS:
        stem = name.replace("-", "_")
        if not list(folder.glob(stem + "-*.whl")):
            subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", folder,
                            name], check=True)
        with zipfile.ZipFile(next(folder.glob(stem + "-*.whl"))) as wheel:
            for member in wheel.namelist():
                if member in (CL100K, O200K, P50K, DEEPSEEK, QWEN, TEKKEN, MISTRAL1, MISTRAL3):
                    wheel.extract(member, folder)


def read_ranks(path):
    if path.suffix == ".json":  # tekken: all are listed, the first of them are used
        tekken = json.loads(path.read_text())
        used = tekken["config"]["default_vocab_size"] - tekken["config"]["default_num_special_tokens"]
        return {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in tekken["vocab"][:used]}
    lines = (line.split() for line in path.read_text().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def convert(ranks, pattern, nfc):
    """As Hugging Face's converter does: every way to split a token is a merge."""
    characters = alphabet()
    written = lambda token: "".join(characters[byte] for byte in token)
    merges = []
    for token in sorted(ranks, key=ranks.get):
        ways = [(token[:i], token[i:]) for i in range(1, len(token))]
        ways = [way for way in ways if way[0] in ranks and way[1] in ranks]
        ways.sort(key=lambda way: (ranks[way[0]], ranks[way[1]]))
        merges += [(written(left), written(right)) for left, right in ways]
    vocabulary = {written(token): rank for token, rank in ranks.items()}
    vocabulary[END] = min(set(range(len(ranks) + 1001)) - set(ranks.values()))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True)])
    tokenizer.encode_special_tokens = True  # as here: in a text it is text
    return tokenizer


def source_code(size):
    library = pathlib.Path(sysconfig.get_paths()["stdlib"])
    code = b"".join(path.read_bytes() for path in sorted(library.glob("*.py")))
    return code[:size]


def texts():
    english = gzip.decompress(pathlib.Path(GCIDE).read_bytes())[:4_000_000]
    return {"English": english, "code": source_code(4_000_000), "Unicode": unicode_text(6_000_000),
            "random": random.Random(1).randbytes(1_000_000)}


def compare(name, tool, routes, offset=0, cut=CUT, old=False):
    """routes: arguments of our tool, and the peers by name, functions of parts whose ids are less by
    offset. cut: where peers may take a text in parts, if anywhere. old: characters of Unicode 3.2 alone."""
    good = True
    for text_name, data in texts().items():
        text = data.decode("utf-8", "replace")
        if old:
            text = "".join(c for c in text if unicodedata.ucd_3_2_0.category(c) != "Cn")
            data = text.encode()
        parts = documents(text, cut) if cut else [text]
        measured = {}
        for route, (arguments, peers) in routes.items():
            ids, said = encode_ours(tool, data, REPEATS, *arguments)
            speed = float(re.search(r"([\d.]+) MB/s", said)[1])
            set_up = float(re.search(r"set-up ([\d.]+) ms", said)[1])
            row = (f"{name:11} {route:14} {text_name:8} {len(ids):8} ids  set-up {set_up:5.0f} ms "
                   f"{speed:6.1f} MB/s")
            for peer, encode in peers.items():
                if encode not in measured:
                    measured[encode] = timed(encode, parts, len(data))
                expected, their_speed = measured[encode]
                equal = numpy.array_equal(ids - offset, expected)
                good &= equal
                row += f"  {peer} {their_speed:4.1f} {'equal' if equal else 'UNEQUAL'}"
            print(row, flush=True)
    return good


def check_ranks(name, tool, folder, path, pattern_name, nfc=False):
    pattern, their_pattern = patterns()[pattern_name]
    ranks = read_ranks(folder / path)
    offset = 1000 if pattern_name == "tekken" else 0
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    hugging_face = convert({token: rank + offset for token, rank in ranks.items()}, their_pattern, False)
    encode = lambda tokenizer: lambda parts: [
        [i - offset for i in encoding.ids] for encoding in tokenizer.encode_batch_fast(parts)]
    peers = {"tiktoken": lambda parts: [encoding.encode_ordinary(part) for part in parts],
             "tokenizers": encode(hugging_face)}
    with tempfile.TemporaryDirectory() as scratch:
        file, converted = pathlib.Path(scratch, "ranks.tiktoken"), pathlib.Path(scratch, "tokenizer.json")
        file.write_text("".join(f"{base64.b64encode(token).decode()} {rank + offset}\n"
                                for token, rank in ranks.items()))
        hugging_face.save(str(converted))
        routes = {"ranks": ([file, pattern_name], peers), "tokenizer.json": ([converted], peers)}
        if path.endswith(".json"):
            routes["tekken.json"] = ([folder / path], peers)
        if nfc:
            composed = pathlib.Path(scratch, "nfc.json")
            with_nfc = convert(ranks, their_pattern, True)
            with_nfc.save(str(composed))
            routes["with NFC"] = ([composed], {"tokenizers": encode(with_nfc)})
        return compare(name, tool, routes, offset)


def check_deepseek(tool, folder):
    path = folder / DEEPSEEK
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True  # as here: a marker in a text is text
    encode = lambda parts: [
        encoding.ids for encoding in tokenizer.encode_batch_fast(parts, add_special_tokens=False)]
    return compare("DeepSeek-V3", tool, {"tokenizer.json": ([path], {"tokenizers": encode})})


def check_steps(tool, folder):
    """Patterns without a scan by hand, each with DeepSeek's vocabulary."""
    split = lambda pattern, behavior: {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior,
                                       "invert": False}
    digits = {"type": "Digits", "individual_digits": True}
    steps = {"BLOOM": [split(BLOOM, "Isolated")],
             "digits": [digits, split(patterns()["o200k"][1], "Isolated")],
             "llama3 slowly": [split("(?:" + patterns()["llama3"][1] + ")", "Isolated")],
             "spaces": [split(r"\s", "MergedWithNext"), split(r"[\p{N}\p{M}]", "Contiguous")]}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    changes = {name: {"pre_tokenizer": {"type": "Sequence", "pretokenizers": parts + [byte_level]}}
               for name, parts in steps.items()}
    digits = {"digits": changes.pop("digits")}  # of Unicode 17 in tokenizers 0.23
    return all([check_changed(tool, folder, digits, old=True), check_changed(tool, folder, changes)])


def check_normalizers(tool, folder):
    """Normal forms, each with DeepSeek's vocabulary and pattern; NFC is held with Qwen's. The tables of
    `tokenizers` are of Unicode 9 here and 17 there: characters that are as old as the first of Python's two
    must become the same."""
    forms = ["NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"]
    changes = {form: {"normalizer": {"type": form}} for form in forms}
    changes["Replace"] = {"normalizer": {"type": "Replace", "pattern": {"Regex": r"\s+|\pN{2}"},
                                         "content": " "}}
    return check_changed(tool, folder, changes, old=True)


def check_changed(tool, folder, changes, old=False):
    """DeepSeek's tokenizer with parts in place of its own."""
    good = True
    for name, change in changes.items():
        written = json.loads((folder / DEEPSEEK).read_text()) | change
        written["added_tokens"] = [token for token in written["added_tokens"] if token["special"]]
        tokenizer = Tokenizer.from_str(json.dumps(written))
        tokenizer.encode_special_tokens = True
        encode = lambda parts: [encoding.ids for encoding in tokenizer.encode_batch_fast(
            parts, add_special_tokens=False)]
        with tempfile.TemporaryDirectory() as scratch:
            path = pathlib.Path(scratch, "tokenizer.json")
            path.write_text(json.dumps(written))
            good &= compare(name, tool, {"tokenizer.json": ([path], {"tokenizers": encode})}, cut=None,
                            old=old)
    return good


def check_pieces(name, tool, path):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return compare(name, tool, {"model": ([path], {"sentencepiece": processor.encode})}, cut=None)


def check_byte_fallback(tool, folder):
    """Mistral's model as the tokenizer.json that it becomes; each text is one document, with its space."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / MISTRAL1))
    file = as_tokenizer_json(processor)
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    file["normalizer"] = {"type": "Sequence", "normalizers": [prepend, replace]}
    path = folder / "mistral.json"
    path.write_text(json.dumps(file))
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True  # as here: a marker in a text is text
    encode = lambda parts: [tokenizer.encode(part, add_special_tokens=False).ids for part in parts]
    return compare("Mistral-json", tool, {"tokenizer.json": ([path], {"tokenizers": encode})}, cut=None)


def check_unigrams(name, tool, folder, **settings):
    path = folder / f"{name}.model"
    if not path.exists():
        lines = texts()["English"].decode("utf-8", "replace").splitlines()
        with path.open("wb") as file:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines), model_writer=file, model_type="unigram", vocab_size=16000,
                num_threads=2, minloglevel=2, **settings)
    return check_pieces(name, tool, path)


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    tool, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    unpack(folder)
    checks = {
        "DeepSeek-V3": lambda: check_deepseek(tool, folder),
        "Qwen": lambda: check_ranks("Qwen", tool, folder, QWEN, "qwen", nfc=True),
        "cl100k": lambda: check_ranks("cl100k", tool, folder, CL100K, "cl100k"),
        # its pattern; its ranks are in no wheel
        "Llama-3": lambda: check_ranks("Llama-3", tool, folder, CL100K, "llama3"),
        "p50k": lambda: check_ranks("p50k", tool, folder, P50K, "gpt2"),
        "tekken": lambda: check_ranks("tekken", tool, folder, TEKKEN, "tekken"),
        "o200k": lambda: check_ranks("o200k", tool, folder, O200K, "o200k"),
        "steps": lambda: check_steps(tool, folder),
        "normalizers": lambda: check_normalizers(tool, folder),
        "Mistral-v1": lambda: check_pieces("Mistral-v1", tool, folder / MISTRAL1),
        "Mistral-v3": lambda: check_pieces("Mistral-v3", tool, folder / MISTRAL3),
        "Mistral-json": lambda: check_byte_fallback(tool, folder),
        "unigram": lambda: check_unigrams("unigram", tool, folder),
        "unigram-bytes": lambda: check_unigrams("unigram-bytes", tool, folder, byte_fallback=True,
                                                normalization_rule_name="identity"),
    }
    good = [checks[name]() for name in sys.argv[3:] or checks]
    raise SystemExit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
