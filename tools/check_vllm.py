#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds exports of `moe` against vLLM on a CPU. Tiny models with random weights of each family are saved by
transformers, imported, trained for two steps and exported; vLLM loads the export and writes greedy texts.
transformers, which loads it too, must name the same tokens, with the same probabilities. Prints a row for
each; exits with 1 if anything differs.

usage: tools/check_vllm.py MOE [--only NAME] [--tokens 20]

Needs torch, transformers and vllm of a build for CPUs, in an environment of its own: it wants older versions
than the other tools. Needs no network.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
               "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
               "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}

import torch
import transformers
from transformers.utils import logging

from check_families import CASES, TEXTS, make, moe, save, use_published_keys

ROOT = Path(__file__).resolve().parent.parent
BOUND = 1e-4  # of a token's logarithm of its probability
NAMES = ["qwen3_moe", "qwen3_moe, tied, theta 1e6", "qwen2_moe", "olmoe", "mixtral", "mixtral, window",
         "glm4_moe", "granitemoe", "granitemoeshared", "qwen3, untied", "llama",
         "llama, llama3", "qwen3_next, partial rotary"]
# Not minimax_m2: on a CPU, vLLM's router knows sigmoids only in groups.
# vLLM's attention on a CPU wants heads of 32 or more.
WIDER = {"hidden_size": 128, "head_dim": 32, "rotary_dim": 16}


def train_and_export(program, name, work):
    kind, settings, dtype, change = CASES[name]
    settings = settings | {key: WIDER[key] for key in WIDER if key in settings}
    save(make(kind, settings, dtype), work / "theirs", dtype, change)
    use_published_keys(work / "theirs")
    moe(program, "import", work / "theirs", "--output", work / "run")
    moe(program, "train", "--resume", work / "run", f"data.source={ROOT / 'docs/interop.md'}",
        "data.document_split=file", "training.max_steps=2", "training.warmup_steps=0",
        "training.learning_rate=0.01", "training.eval_every=0", "training.batch_size=1",
        "model.max_seq_len=64", "training.threads=1")
    moe(program, "export", work / "run", work / "out")


def check(program, name, tokens, work):
    from vllm import LLM, SamplingParams
    train_and_export(program, name, work)
    engine = LLM(model=str(work / "out"), dtype="float32", enforce_eager=True, max_model_len=64,
                 max_num_seqs=len(TEXTS))
    tokenizer = transformers.AutoTokenizer.from_pretrained(work / "out")
    prompts = [tokenizer("<|endoftext|>" + text).input_ids for text in TEXTS]
    written = engine.generate([{"prompt_token_ids": ids} for ids in prompts], SamplingParams(
        temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False, logprobs=0), use_tqdm=False)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        work / "out", dtype=torch.float32, attn_implementation="eager").eval()
    equal, worst = 0, 0.0
    for prompt, result in zip(prompts, written):
        made = list(result.outputs[0].token_ids)
        with torch.no_grad():  # at each place, what transformers would have written there
            logits = model(torch.tensor([prompt + made])).logits[0, len(prompt) - 1:-1]
        equal += len(made) == tokens and logits.argmax(-1).tolist() == made
        expected = logits.log_softmax(-1).gather(1, torch.tensor(made)[:, None])[:, 0].tolist()
        for token, value, row in zip(made, expected, result.outputs[0].logprobs):
            worst = max(worst, abs(row[token].logprob - value))
    good = equal == len(TEXTS) and worst < BOUND
    print(f"| {name} | {equal} of {len(TEXTS)} | {worst:.1e} |{'' if good else ' WRONG'}", flush=True)
    return good


def check_apart(options, name):
    """vLLM leaves much behind, and says much."""
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, __file__, options.moe, "--tokens", str(options.tokens), "--one", name,
                   "--work", work]
        done = subprocess.run(command, capture_output=True, text=True)
        rows = [line for line in done.stdout.splitlines() if line.startswith(f"| {name} |")]
        said = [line for line in (done.stderr + done.stdout).splitlines() if "Error" in line]
        print(rows[0] if rows else f"| {name} | {said[-1] if said else done.returncode} | - | WRONG",
              flush=True)
    return done.returncode == 0 and len(rows) == 1


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe")
    parser.add_argument("--only", default="", help="models whose name begins so")
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if options.one:
        return 0 if check(options.moe, options.one, options.tokens, options.work) else 1
    import vllm
    print(f"vLLM {vllm.__version__}, transformers {transformers.__version__}, torch {torch.__version__}\n")
    print("| model | greedy texts | log-probability of a token |")
    print("|---|---|---|")
    wrong = sum(not check_apart(options, name) for name in NAMES if name.startswith(options.only))
    print(f"\n{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
