#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `moe export`, `moe import` and `moe generate` against transformers (5 or newer), once with the run's
weights and once with random ones of the same settings: keys, token ids, logits, greedy texts with and without
a cache; what comes back, from our files and from those of save_pretrained; the run's next step; and, with a
larger model, the memory that export and import need. Prints one line a check; exits with 1 if anything
differs.

usage: tools/check_export.py MOE RUN [--prompts 20] [--tokens 200]

RUN is a run in f32 whose text is still there (one step is trained). Needs no network, and 4 GB in the folder
of temporary files.
"""
import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

TEXTS = [
    "Lantern", "The river ran slowly past the mill", "A cup (n.) is", "It was the best of times,",
    "3.14159 and 2.71828",
    "To boil water, first", "Ἐν ἀρχῇ ἦν ὁ λόγος", "def main():\n    return", "   spaces before",
    "Naïve café, 東京",
    "The horse", "In the year 1848", "An old word for", "Why?", "One, two, three,", "\n\nNew paragraph",
    "don't won't can't", "A B C D E F G", "The captain said: \"", "🙂 and",
]
END_OF_TEXT = "<|endoftext|>"
ROOT = Path(__file__).resolve().parent.parent
# 540 MB of weights, the largest tensor 103 MB.
LARGER = ["model.d_model=512", "model.n_heads=8", "model.n_kv_heads=4", "model.n_layers=8",
          "model.num_experts=16", "model.expert_intermediate_dim=512"]
DATA_LIMIT = 64 << 20  # bytes that are not a mapped file: less than the largest tensor
failures = 0


def report(good, what):
    global failures
    failures += not good
    print(("  ok    " if good else "  WRONG ") + what, flush=True)


def moe(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


def last_checkpoint(run):
    return sorted((run / "checkpoints").glob("step-*"))[-1]


def fresh_run(program, run, folder, name, *settings):
    """A run with the settings of another, its weights as they are drawn."""
    moe(program, "train", "--config", run / "config.yaml", f"training.output_dir={folder}",
        f"training.run_name={name}", "training.max_steps=0", "training.warmup_steps=0", *settings)
    return folder / name


def next_loss(program, run):
    """Trains one more step of the run; returns its loss."""
    done = int(last_checkpoint(run).name.split("-")[1])
    moe(program, "train", "--resume", run, f"training.max_steps={done + 1}", "training.warmup_steps=0",
        "training.eval_every=0", "training.tasks=[]")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row and row["step"] == done + 1]


def check_logits(model, tokenizer, texts, ours):
    """ours: ids.I and logits.I of each text, as `moe export --logits` writes them."""
    worst, differ = 0.0, 0
    for i, text in enumerate(texts):
        ids = tokenizer(END_OF_TEXT + text, return_tensors="pt").input_ids
        if ids[0].tolist() != ours[f"ids.{i}"].tolist():
            differ += 1
            continue
        with torch.no_grad():
            theirs = model(ids).logits[0]
        worst = max(worst, ((theirs - ours[f"logits.{i}"]).norm() / theirs.norm()).item())
    report(differ == 0, f"token ids of {len(texts) - differ} of {len(texts)} prompts are equal")
    report(worst < 1e-5,
           f"logits of {len(texts)} prompts: largest relative difference {worst:.2e} (norms; bound 1e-5)")


def check_ids(program, tokenizer, work):
    """More text: the documentation, byte for byte."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("docs/**/*.md")))
    (work / "text.txt").write_text(text, encoding="utf-8")
    moe(program, "tokenize", "--source", work / "text.txt", "--output", work / "tokens",
        "data.document_split=file", "data.validation_fraction=0")
    ours = numpy.concatenate([numpy.fromfile(path, dtype=numpy.uint16, offset=1024)
                              for path in sorted((work / "tokens").glob("*.bin"))]).tolist()
    theirs = tokenizer(END_OF_TEXT + text).input_ids
    report(ours == theirs, f"token ids of the documentation are equal: {len(ours):,} and {len(theirs):,}")


def check_greedy(program, run, model, tokenizer, texts, tokens):
    """Ours (with a cache) against theirs with and without."""
    lines = moe(program, "generate", run, "--temperature", "0", "--max-new-tokens", tokens, "--json",
                *[word for text in texts for word in ("--prompt", text)]).splitlines()
    results = [json.loads(line) for line in lines]
    assert [line["prompt"] for line in results] == texts
    for use_cache in (True, False):
        equal = count = 0
        for text, ours in zip(texts, results):
            ids = tokenizer(END_OF_TEXT + text, return_tensors="pt").input_ids
            with torch.no_grad():
                made = model.generate(ids, max_new_tokens=tokens, do_sample=False, use_cache=use_cache,
                                      attention_mask=torch.ones_like(ids))[0, ids.shape[1]:].tolist()
            if made and made[-1] == model.config.eos_token_id:
                made.pop()
            equal += made == ours["ids"]
            count += len(made)
            if made != ours["ids"]:
                report_parting(model, ids, made, ours["ids"], text)
        report(equal == len(texts),
               f"greedy, {'with' if use_cache else 'without'} a cache: {equal} of {len(texts)} texts equal, "
                                    f"{count} tokens")
    check_own_cache(program, run, results)


def report_parting(model, ids, made, ours, text):
    at = next((i for i, (a, b) in enumerate(zip(made, ours)) if a != b), min(len(made), len(ours)))
    with torch.no_grad():
        best = model(torch.cat([ids, torch.tensor([made[:at]], dtype=ids.dtype)], 1)).logits[
            0, -1].topk(2).values
    print(f"        {text!r} parts at token {at}; there the two largest logits are {best[0]:.7f} and "
          f"{best[1]:.7f}")


def check_own_cache(program, run, results):
    """Our forward pass over a whole text, no cache, names each token that we generated. Texts that are not
    tokenised as they were written (cut inside a character, say) cannot be asked for and are left out."""
    with tempfile.TemporaryDirectory() as folder:
        prompts = [word for line in results for word in ("--verify-prompt", line["prompt"] + line["text"])]
        moe(program, "export", run, f"{folder}/out", "--dtype", "f32", "--verify", *prompts, "--logits",
            f"{folder}/logits")
        whole = load_file(f"{folder}/logits")
    asked = equal = tokens = 0
    for i, line in enumerate(results):
        begin, made = len(line["prompt_ids"]), line["ids"]
        if whole[f"ids.{i}"].tolist() != line["prompt_ids"] + made:
            continue
        best = whole[f"logits.{i}"][begin - 1:begin - 1 + len(made), :50257].argmax(-1).tolist()
        asked, equal, tokens = asked + 1, equal + (best == made), tokens + len(made)
    report(equal == asked > 0,
           f"our own forward pass without a cache: the same token everywhere in {equal} of {asked} texts, "
                               f"{tokens} tokens")


def check_way_back(program, run, exported, model, work):
    checkpoint = last_checkpoint(run)
    moe(program, "import", exported, "--output", work / "again")
    weights = (checkpoint / "model.safetensors").read_bytes()
    report(weights == (work / "again/checkpoints" / checkpoint.name / "model.safetensors").read_bytes(),
           f"import: model.safetensors equal byte for byte ({len(weights):,} bytes)")
    shutil.copytree(run, work / "continued")
    one, other = next_loss(program, work / "continued"), next_loss(program, work / "again")
    report(one == other and len(one) == 1, f"the next step's loss: continued {one}, imported {other}")

    model.save_pretrained(work / "theirs")
    moe(program, "import", work / "theirs", "--output", work / "from_theirs")
    back = load_file(last_checkpoint(work / "from_theirs") / "model.safetensors")
    first = load_file(checkpoint / "model.safetensors")
    same = sum(torch.equal(back[name], first[name]) for name in first)
    largest = max(((back[name] - first[name]).abs().max().item() for name in first))
    norms = all("norm" in name for name in first if not torch.equal(back[name], first[name]))
    report(back.keys() == first.keys() and norms and largest <= 2**-25,
           f"import of what save_pretrained wrote: {same} of {len(first)} tensors equal, largest difference "
           f"{largest:.1e} "
           "(bound 2^-25, for norm weights below 0.5)")


def check_weights(program, run, texts, tokens):
    work = Path(tempfile.mkdtemp())
    exported = work / "exported"
    prompts = [word for text in texts for word in ("--verify-prompt", text)]
    moe(program, "export", run, exported, "--dtype", "f32", "--verify", "--shard-gb", "0.02", *prompts,
        "--logits", work / "logits.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(exported)
    model, info = AutoModelForCausalLM.from_pretrained(
        exported, dtype=torch.float32, output_loading_info=True)
    model.eval()
    shards = len(list(exported.glob("model-*.safetensors")))
    report(shards > 1
           and not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")),
           f"keys: {len(model.state_dict())} tensors of {type(model).__name__} from {shards} shards, none "
           f"missing, unexpected or "
           "misshapen")
    check_ids(program, tokenizer, work)
    check_logits(model, tokenizer, texts, load_file(work / "logits.safetensors"))
    check_greedy(program, run, model, tokenizer, texts, tokens)
    check_way_back(program, run, exported, model, work)
    shutil.rmtree(work)


def limited(program, *arguments):
    """With at most DATA_LIMIT bytes of memory that is not a mapped file."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, DATA_LIMIT))
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, preexec_fn=limit)


def check_memory(program, run):
    work = Path(tempfile.mkdtemp())
    larger = fresh_run(program, run, work, "larger", *LARGER)
    weights = last_checkpoint(larger) / "model.safetensors"
    size = f"{weights.stat().st_size / 1e6:.0f} MB of weights with {DATA_LIMIT >> 20} MiB of data"
    done = limited(program, "export", larger, work / "out", "--shard-gb", "0.1")
    report(done.returncode == 0, f"export of {size} {done.stderr.strip() if done.returncode else ''}")
    done = limited(program, "import", work / "out", "--output", work / "again")
    same = done.returncode == 0 and (
        last_checkpoint(work / "again") / "model.safetensors").read_bytes() == weights.read_bytes()
    report(same, f"import of them, bit for bit {done.stderr.strip() if done.returncode else ''}")
    done = limited(program, "generate", larger, "--max-new-tokens", "1")
    report(done.returncode != 0, "the limit holds: what needs all weights at once fails under it")
    shutil.rmtree(work)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe")
    parser.add_argument("run", type=Path)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=200)
    options = parser.parse_args()
    texts = TEXTS[:options.prompts]
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    print(f"the run's weights: {last_checkpoint(options.run)}")
    check_weights(options.moe, options.run, texts, options.tokens)
    with tempfile.TemporaryDirectory() as folder:
        print("random weights")
        check_weights(
            options.moe, fresh_run(options.moe, options.run, Path(folder), "random"), texts, options.tokens)
    print("memory")
    check_memory(options.moe, options.run)
    print(f"{failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
