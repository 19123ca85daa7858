#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/qwen3_next/ and qwen3_next_shared/: tiny Qwen3NextForCausalLM with random weights as
transformers saves them, and their logits and greedy continuations. tests/interop holds our import and model
against them. The first has a shared expert of zeros, which is none; the second a true one, and a first layer
without experts.

usage: tools/make_export_goldens.py [--only qwen3_next_shared]
"""
import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden"
MODELS = {
    "qwen3_next": {
        "num_hidden_layers": 2, "intermediate_size": 16, "shared_expert_intermediate_size": 1,
        "mlp_only_layers": []},
    "qwen3_next_shared": {
        "num_hidden_layers": 3, "intermediate_size": 28, "shared_expert_intermediate_size": 12,
        "mlp_only_layers": [0]},
}


def make(name):
    torch.manual_seed(1)
    own = MODELS[name]
    config = Qwen3NextConfig(
        architectures=["Qwen3NextForCausalLM"], hidden_size=32, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, layer_types=["full_attention"] * own["num_hidden_layers"],
        partial_rotary_factor=1.0,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 1.0},
        max_position_embeddings=32, num_experts=6, num_experts_per_tok=2, norm_topk_prob=True,
        moe_intermediate_size=16, decoder_sparse_step=1,
        hidden_act="silu", rms_norm_eps=1e-5, attention_bias=False, vocab_size=96, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0, pad_token_id=0, **own)
    model = Qwen3NextForCausalLM(config).eval()
    with torch.no_grad():
        for parameter, weight in model.named_parameters():
            weight.copy_(0.3 * torch.randn_like(weight))
            if "shared_expert" in parameter and own["shared_expert_intermediate_size"] == 1:
                weight.zero_()
    ids = torch.randint(1, 96, (1, 24))
    with torch.no_grad():
        logits = model(ids).logits[0]
        greedy = model.generate(ids[:, :8], max_new_tokens=16, do_sample=False, eos_token_id=None)[0, 8:]
    model.save_pretrained(FOLDER / name)
    (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
    save_file({"ids": ids[0].int(), "logits": logits.contiguous(), "greedy": greedy.int()},
              FOLDER / name / "expected.st")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=MODELS)
    only = parser.parse_args().only
    for name in [only] if only else MODELS:
        make(name)


if __name__ == "__main__":
    main()
