#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/golden/muon.safetensors: ten steps of torch.optim.Muon (PyTorch 2.11) on several shapes.

    python tools/make_muon_goldens.py tests/golden

torch computes the Newton-Schulz iteration in bfloat16. Here it is given float32 in that place, so that a test
can hold weights to a few units in the last place. For each matrix i: start.i [rows, cols] and gradient.i
[10, rows, cols]. For each case C: C.i.end, and C.i.momentum after the last step. Metadata "config" holds the
settings as JSON.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file

SHAPES = [(24, 40), (40, 24), (32, 32), (8, 72)]
STEPS, RATE, DECAY, MOMENTUM = 10, 0.02, 0.1, 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)
CASES = {
    "rms": {"nesterov": True, "adjust_lr_fn": "match_rms_adamw"},
    "spectral": {"nesterov": True, "adjust_lr_fn": "original"},
    "plain": {"nesterov": False, "adjust_lr_fn": "match_rms_adamw"},
}


def run(case, settings, tensors):
    parameters = [torch.nn.Parameter(tensors[f"start.{i}"].clone()) for i in range(len(SHAPES))]
    optimizer = torch.optim.Muon(
        parameters, lr=RATE, weight_decay=DECAY, momentum=MOMENTUM, ns_coefficients=QUINTIC, **settings
    )
    for step in range(STEPS):
        for i, parameter in enumerate(parameters):
            parameter.grad = tensors[f"gradient.{i}"][step].clone()
        optimizer.step()
    for i, parameter in enumerate(parameters):
        tensors[f"{case}.{i}.end"] = parameter.detach().clone()
        tensors[f"{case}.{i}.momentum"] = optimizer.state[parameter]["momentum_buffer"].clone()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="where the file goes: tests/golden")
    folder = parser.parse_args().folder
    # A copy, as the cast is: torch writes to it.
    torch.Tensor.bfloat16 = lambda self: self.float().clone()
    random = torch.Generator().manual_seed(7)
    tensors = {}
    for i, shape in enumerate(SHAPES):
        tensors[f"start.{i}"] = 0.1 * torch.randn(shape, generator=random)
        # Of different lengths: the step does not depend on it.
        tensors[f"gradient.{i}"] = 10.0 ** (i - 2) * torch.randn((STEPS, *shape), generator=random)
    for case, settings in CASES.items():
        run(case, settings, tensors)
    config = {
        "learning_rate": RATE,
        "weight_decay": DECAY,
        "momentum": MOMENTUM,
        "steps": STEPS,
        "torch": torch.__version__,
    }
    save_file(tensors, folder / "muon.safetensors", metadata={"config": json.dumps(config)})


if __name__ == "__main__":
    main()
