#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `moe export` makes of a file of ranks, against Hugging Face `tokenizers`: the tokenizer.json that it
writes must give the ids that moe's own tokenizer has for a text of traps, under every pattern.

usage: tools/check_tokenizer_export.py MOE TOKENIZER_TOOL [RANKS [TEXT]]
Needs `numpy` and `tokenizers`. RANKS and TEXT are those of tests/golden/text by default.
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy
from tokenizers import Tokenizer

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/text"
PATTERNS = ["gpt2", "gpt2_digits", "cl100k", "llama3", "qwen", "o200k", "tekken", "deepseek3"]
MODEL = ["d_model=16", "n_layers=1", "n_heads=2", "n_kv_heads=1", "num_experts=2",
         "expert_intermediate_dim=16", "max_seq_len=16", "vocab_size=262144"]


def call(*words, folder=None):
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(result.stderr)


def export(moe, ranks, pattern, folder):
    """The folder of an untrained run's export."""
    (folder / "text.txt").write_text("a text that nobody reads\n" * 500)
    training = "{device: cpu, max_steps: 0, warmup_steps: 0, eval_every: 0}"
    (folder / "config.yaml").write_text(f"training: {training}\n")
    settings = [f"model.{setting}" for setting in MODEL]
    call(moe, "train", "--config", "config.yaml", "data.source=text.txt", "training.run_name=run",
         f"data.tokenizer={ranks}#{pattern}", *settings, folder=folder)
    call(moe, "export", "runs/run", "out", folder=folder)
    return folder / "out"


def main():
    moe, tool = (str(pathlib.Path(argument).resolve()) for argument in sys.argv[1:3])
    ranks = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else GOLDEN / "ranks.tiktoken").resolve()
    text = pathlib.Path(sys.argv[4] if len(sys.argv) > 4 else GOLDEN / "cuts.txt").read_bytes()
    text += b"\n  \t "  # cl100k takes white space at the very end as one
    failed = False
    for pattern in PATTERNS:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "sample.txt").write_bytes(text)
            call(tool, folder / "sample.txt", folder / "ids", "1", ranks, pattern)
            ours = numpy.fromfile(folder / "ids", numpy.int32).tolist()
            tokenizer = Tokenizer.from_file(str(export(moe, ranks, pattern, folder) / "tokenizer.json"))
            tokenizer.encode_special_tokens = True
            theirs = tokenizer.encode(text.decode(), add_special_tokens=False).ids
            first = next((i for i, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]), len(ours))
            same = ours == theirs and tokenizer.decode(theirs).encode() == text
            failed |= not same
            print(f"{pattern}: {len(ours)} ids, {'equal' if same else f'differ from {first} on'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
