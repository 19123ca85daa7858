#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the models of SentencePiece of tests/golden/text and what its Python package makes of texts.

bpe.model and bpe_bytes.model are BPE without and with byte fallback, unigram.model and unigram_bytes.model
likewise, trained on a page of docs/. Those with bytes are as Llama's: no normal form, digits apart, runs of
white space stay. The others have symbols of the user, and one a normal form of two rules.
sentencepiece.json has a list of texts (of bytes, in base64), and for each model the ids of each text and the
text of the ids. Needs `sentencepiece`.

usage: tools/make_sentencepiece_goldens.py
"""
import base64
import json
import os
import pathlib
import tempfile

import sentencepiece

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


if __name__ == "__main__":
    main()
