#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the models of SentencePiece of tests/golden/text and what its Python package makes of texts.

bpe.model and bpe_bytes.model are BPE without and with byte fallback, unigram.model and unigram_bytes.model
likewise, trained on a page of docs/. Those with bytes are as Llama's: no normal form, digits apart, runs of
white space stay. The others have symbols of the user, and one a normal form of two rules.
sentencepiece.json has a list of texts (of bytes, in base64), and for each model the ids of each text and the
text of the ids. byte_fallback.json is one of the models as tokenizer.json, with ids of `tokenizers`. Needs
`sentencepiece` and `tokenizers`.

usage: tools/make_sentencepiece_goldens.py
"""
import base64
import json
import os
import pathlib
import tempfile

import sentencepiece
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests/golden/text"
LLAMA = {"byte_fallback": True, "normalization_rule_name": "identity", "split_digits": True,
         "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True}
SYMBOLS = {"user_defined_symbols": ["<sep>", "漢字", "->"], "pad_id": 3}
MODELS = {"bpe": ("bpe", SYMBOLS), "bpe_bytes": ("bpe", LLAMA),
          "unigram": ("unigram", SYMBOLS | {"normalization_rule_name": "identity"}),
          "unigram_bytes": ("unigram", LLAMA)}
TEXTS = ["", " ", "a", "Hello world", "Hello  world", "  leading and trailing  ", "\n\n\t tabs\r\n",
         "int main() {\n    return 0;  // done\n}\n", "if (a->b) { x += 1; }", "1234567890 3.14 10%",
         "漢字かな交じり文、한국어, русский, العربية, हिन्दी", "ﬁne ①② ｆｕｌｌ Ａ\u0301 e\u0301 é",
         "👩‍👩‍👧 🇩🇪 🙂", "<s> </s> <unk> <pad> <0x41> <sep>x<sep>", "▁ ▁▁a▁",
         "\x00\x01\x7f", "\u00a0\u3000\u200b\ufeff",
         " " * 40, "a" * 100, "the tokenizer of a run is kept " * 20]
BROKEN = [b"\xff\xfe", b"ab\xc3", b"\xe6\xbc x \xf0\x9f\x99", b"\xed\xa0\x80\xc0\xaf", bytes(range(256))]


def main():
    lines = (ROOT / "docs/decisions/0009-ranks.md").read_text().split("\n")
    texts = [text.encode() for text in TEXTS] + BROKEN
    golden = {"texts": [base64.b64encode(text).decode() for text in texts], "models": {}}
    folder = tempfile.TemporaryDirectory()
    os.chdir(folder.name)  # a model holds the name of the file
    # the ligature fi; e with an accent apart
    pathlib.Path("rules.tsv").write_text("FB01\t66 69\n65 301\tE9\n")
    for name, (kind, settings) in MODELS.items():
        path = FOLDER / f"{name}.model"
        with path.open("wb") as file:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines), model_writer=file, model_type=kind, vocab_size=520,
                character_coverage=1.0, hard_vocab_limit=False, num_threads=1, minloglevel=2, **settings,
                **({"normalization_rule_tsv": "rules.tsv"} if name == "bpe" else {}))
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        ids = [processor.encode(text.decode("utf-8", "replace")) for text in texts]
        golden["models"][name] = {"ids": ids, "decoded": [processor.decode(some) for some in ids]}
        print(f"{name}: {processor.get_piece_size()} pieces, {path.stat().st_size} bytes")
    with (FOLDER / "sentencepiece.json").open("w") as file:
        file.write(json.dumps(golden, separators=(",", ":")) + "\n")


def as_tokenizer_json(processor):
    """The model as the converters of transformers write it: merges by the score of what they make."""
    vocab = {processor.id_to_piece(i): i for i in range(processor.get_piece_size())}
    special = [i for i in vocab.values() if processor.is_control(i) or processor.is_unknown(i)]
    merges = []
    for piece, i in sorted(vocab.items(), key=lambda entry: entry[1]):
        if i not in special and not processor.is_byte(i):
            halves = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
            merges += sorted((pair for pair in halves if all(half in vocab for half in pair)),
                             key=lambda pair: [vocab[half] for half in pair])
    added = [{"id": i, "content": processor.id_to_piece(i), "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False, "special": True} for i in special]
    space = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    decoders = [space, {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": None, "post_processor": None,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True,
                      "ignore_merges": False, "vocab": vocab, "merges": [list(pair) for pair in merges]}}


def write_byte_fallback():
    """byte_fallback.json: bpe_bytes.model as tokenizer.json, with the ways to put a space in front."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(FOLDER / "bpe_bytes.model"))
    file = as_tokenizer_json(processor)
    sequence = lambda *parts: {"type": "Sequence", "normalizers": list(parts)}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    twice = {"type": "Replace", "pattern": {"Regex": "\\A\u2581"}, "content": "\u2581\u2581"}
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    metaspace = lambda scheme: {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme,
                                "split": False}
    ways = [(sequence(prepend, replace), None), (replace, split), (None, metaspace("first")),
            (None, metaspace("always")), (None, metaspace("never")),
            (sequence(replace, twice), {"type": "Sequence", "pretokenizers": [metaspace("always")]})]
    texts = [text for text in TEXTS if "\ufffd" not in text]
    texts += [" one", "  two", "\u2581three", "four  ", " ", "   ", "\n x", "a\u2581b", "x " * 200]
    golden = {"file": file, "texts": texts, "cases": []}
    for normalizer, pre_tokenizer in ways:
        file |= {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer}
        tokenizer = Tokenizer.from_str(json.dumps(file))
        tokenizer.encode_special_tokens = True
        ids = [tokenizer.encode(text).ids for text in texts]
        golden["cases"].append({"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "ids": ids})
    file |= {"normalizer": None, "pre_tokenizer": None}
    (FOLDER / "byte_fallback.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(f"byte_fallback: {len(ways)} ways, {len(file['model']['merges'])} merges")


if __name__ == "__main__":
    main()
    write_byte_fallback()
