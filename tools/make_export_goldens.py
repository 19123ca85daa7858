#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/qwen3_next/: a tiny Qwen3NextForCausalLM with random weights as transformers saves it,
and its logits and greedy continuation. tests/interop holds our import and model against them.

usage: tools/make_export_goldens.py
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden" / "qwen3_next"


def main():
    torch.manual_seed(1)
    config = Qwen3NextConfig(
        architectures=["Qwen3NextForCausalLM"], hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, layer_types=["full_attention"] * 2, partial_rotary_factor=1.0,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 1.0},
        max_position_embeddings=32, num_experts=6, num_experts_per_tok=2, norm_topk_prob=True,
        moe_intermediate_size=16,
        intermediate_size=16, shared_expert_intermediate_size=1, decoder_sparse_step=1, mlp_only_layers=[],
        hidden_act="silu", rms_norm_eps=1e-5, attention_bias=False, vocab_size=96, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0, pad_token_id=0)
    model = Qwen3NextForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(0.3 * torch.randn_like(weight))
            if "shared_expert" in name:
                weight.zero_()
    ids = torch.randint(1, 96, (1, 24))
    with torch.no_grad():
        logits = model(ids).logits[0]
        greedy = model.generate(ids[:, :8], max_new_tokens=16, do_sample=False, eos_token_id=None)[0, 8:]
    model.save_pretrained(FOLDER)
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    save_file(
        {"ids": ids[0].int(), "logits": logits.contiguous(), "greedy": greedy.int()}, FOLDER / "expected.st")


if __name__ == "__main__":
    main()
