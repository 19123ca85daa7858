#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `moe export` and `moe generate` against transformers (5 or newer): keys, logits, greedy texts with and without
cache, tokenizer ids; and `moe import` against the checkpoint and the run's next step. Prints one line a check; exits
with 1 if anything differs.

usage: tools/check_export.py MOE RUN [--prompts 20] [--tokens 200]

RUN is a run in f32; for random weights, one made with training.max_steps=0 training.warmup_steps=0. Needs no network.
"""
import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXTS = [
    "Lantern", "The river ran slowly past the mill", "A cup (n.) is", "It was the best of times,", "3.14159 and 2.71828",
    "To boil water, first", "Ἐν ἀρχῇ ἦν ὁ λόγος", "def main():\n    return", "   spaces before", "Naïve café, 東京",
    "The horse", "In the year 1848", "An old word for", "Why?", "One, two, three,", "\n\nNew paragraph", "don't won't can't",
    "A B C D E F G", "The captain said: \"", "🙂 and",
]
failures = 0


def report(good, what):
    global failures
    failures += not good
    print(("ok    " if good else "WRONG ") + what, flush=True)


def moe(program, *arguments):
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True)


def step_losses(program, run, steps):
    """Trains `steps` more steps of a copy of the run; returns the losses."""
    done = int(sorted(p.name for p in (run / "checkpoints").glob("step-*"))[-1].split("-")[1])
    moe(program, "train", "--resume", str(run), f"training.max_steps={done + steps}", "training.eval_every=0")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row and row["step"] > done]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe")
    parser.add_argument("run", type=Path)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=200)
    options = parser.parse_args()
    texts = TEXTS[:options.prompts]
    torch.manual_seed(0)
    work = Path(tempfile.mkdtemp())
    exported = work / "exported"
    prompts = [word for text in texts for word in ("--verify-prompt", text)]
    moe(options.moe, "export", str(options.run), str(exported), "--dtype", "f32", "--verify", "--shard-gb", "0.02", *prompts,
        "--logits", str(work / "logits.safetensors"))

    tokenizer = AutoTokenizer.from_pretrained(exported)
    model, info = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32, output_loading_info=True)
    model.eval()
    report(not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")),
           f"keys: {len(model.state_dict())} tensors, {type(model).__name__}, none missing, unexpected or misshapen")

    ours = load_file(work / "logits.safetensors")
    worst = 0.0
    with torch.no_grad():
        for i, text in enumerate(texts):
            ids = tokenizer("<|endoftext|>" + text, return_tensors="pt").input_ids
            same = ids[0].tolist() == ours[f"ids.{i}"].tolist()
            if not same:
                report(False, f"tokens of {text!r}: {ids[0].tolist()} and {ours[f'ids.{i}'].tolist()}")
                continue
            theirs = model(ids).logits[0]
            worst = max(worst, ((theirs - ours[f"logits.{i}"]).norm() / theirs.norm()).item())
    report(True, f"token ids of {len(texts)} prompts are equal")
    report(worst < 1e-5, f"logits of {len(texts)} prompts: largest relative difference {worst:.2e} (norms; bound 1e-5)")

    lines = moe(options.moe, "generate", str(options.run), "--temperature", "0", "--max-new-tokens", str(options.tokens),
                "--json", *[word for text in texts for word in ("--prompt", text)]).stdout.splitlines()
    results = {line["prompt"]: line for line in map(json.loads, lines)}
    for use_cache in (True, False):
        equal = tokens = 0
        chosen = texts if use_cache else texts[:4]  # without a cache it is slow
        for text in chosen:
            ids = tokenizer("<|endoftext|>" + text, return_tensors="pt").input_ids
            with torch.no_grad():
                made = model.generate(ids, max_new_tokens=options.tokens, do_sample=False, use_cache=use_cache,
                                      attention_mask=torch.ones_like(ids))[0, ids.shape[1]:].tolist()
            if made and made[-1] == model.config.eos_token_id:
                made.pop()
            equal += made == results[text]["ids"]
            tokens += len(made)
        report(equal == len(chosen), f"greedy, cache {use_cache}: {equal} of {len(chosen)} texts equal, {tokens} tokens")

    again = work / "again"
    moe(options.moe, "import", str(exported), "--output", str(again))
    checkpoint = sorted((options.run / "checkpoints").glob("step-*"))[-1]
    same = (checkpoint / "model.safetensors").read_bytes() == \
        (again / "checkpoints" / checkpoint.name / "model.safetensors").read_bytes()
    report(same, "import: model.safetensors equal byte for byte")
    continued = work / "continued"
    shutil.copytree(options.run, continued)
    one, other = step_losses(options.moe, continued, 1), step_losses(options.moe, again, 1)
    report(one == other and len(one) == 1, f"next step's loss: continued {one}, imported {other}")
    model.save_pretrained(work / "theirs")
    moe(options.moe, "import", str(work / "theirs"), "--output", str(work / "from_theirs"))
    back = load_file(next((work / "from_theirs" / "checkpoints").glob("step-*")) / "model.safetensors")
    first = load_file(checkpoint / "model.safetensors")
    report(all(torch.allclose(back[name], first[name], rtol=0, atol=2**-24) for name in first),
           "import of what save_pretrained wrote: equal but for norm weights below 0.5 (2^-24)")
    shutil.rmtree(work)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
