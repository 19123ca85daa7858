#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Greedy generation of an exported model with transformers: prefill and decode tokens/s, timed as `moe
generate` does (the first token of each text counts as prefill). Prints one line.

usage: transformers_generate.py MODEL PROMPTS.jsonl BATCH NEW_TOKENS DEVICE DTYPE THREADS
"""
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    folder, prompts, batch, new_tokens, device, dtype, threads = sys.argv[1:8]
    batch, new_tokens = int(batch), int(new_tokens)
    torch.set_num_threads(int(threads))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device).eval()
    texts = ["<|endoftext|>" + json.loads(line)["prompt"] for line in open(prompts)][:batch]
    ids = tokenizer(texts, return_tensors="pt").to(device)  # equal lengths: no padding

    def run(tokens):
        if device != "cpu":
            torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.no_grad():
            model.generate(**ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    run(4)
    prefill = min(run(1) for _ in range(3))
    whole = min(run(new_tokens) for _ in range(2))
    count = ids.input_ids.numel()
    print(f"transformers prefill {count} tokens, {count / prefill:.1f} tokens/s; decode "
          f"{batch * (new_tokens - 1)} tokens, "
          f"{batch * (new_tokens - 1) / (whole - prefill):.1f} tokens/s")


if __name__ == "__main__":
    main()
