#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/rope.json: frequencies and attention factors of scaled rotary positions as transformers
computes them (modeling_rope_utils.ROPE_INIT_FUNCTIONS), for tests/model/rope_test.cpp.
Needs transformers 5 and PyTorch (tools/requirements-dev.txt)."""

import json
import pathlib

import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

CASES = [
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
     "original_max_position_embeddings": 8192},
    {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.5, "high_freq_factor": 3.0,
     "original_max_position_embeddings": 100},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    {"rope_type": "yarn", "factor": 32.0, "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.25,
     "original_max_position_embeddings": 64},
]


def frequencies(rope: dict, theta: float, width: int, partial: float):
    original = rope.get("original_max_position_embeddings", 64)
    config = LlamaConfig(hidden_size=4 * width, num_attention_heads=4, head_dim=width,
                         max_position_embeddings=int(original * rope["factor"]))
    config.rope_parameters = {"rope_theta": theta, "partial_rotary_factor": partial, **rope}
    frequency, factor = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, torch.device("cpu"))
    return [float(f) for f in frequency], float(factor)


def main() -> None:
    cases = []
    for rope in CASES:
        for theta, width, partial in ((1e4, 16, 1.0), (5e5, 64, 1.0), (1e6, 64, 0.5)):
            frequency, factor = frequencies(rope, theta, width, partial)
            cases.append({**rope, "theta": theta, "head_dim": width, "rotary_dim": int(partial * width),
                          "frequencies": frequency, "scale": factor})
    path = pathlib.Path(__file__).parent.parent / "tests/golden/rope.json"
    path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
