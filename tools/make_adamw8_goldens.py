#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/adamw8.safetensors: a few steps of AdamW by implementations that are not ours.

    python tools/make_adamw8_goldens.py tests/golden/adamw8.safetensors

  pytorch.*, bitsandbytes.*   the two update orders with 8-bit states, in numpy from the words of
                              docs/numerics.md
  torch.*                     torch.optim.AdamW in f32 (its own order is `pytorch`)
  cuda8.*, cuda32.*           bitsandbytes' own CUDA kernels, AdamW8bit and AdamW32bit

The last group needs an NVIDIA GPU and bitsandbytes; the committed file was made with both (versions are in
the file's metadata). The order `bitsandbytes` in numpy and the kernels gave the same codes at every step.
"""
import importlib.metadata
import math
import sys

import bitsandbytes
import numpy as np
import torch
from safetensors.numpy import save_file

F = np.float32
SIZE, STEPS, BLOCK = 2 * 256 + 77, 5, 256
RATE, BETA1, BETA2, EPSILON, DECAY = 1e-2, 0.9, 0.95, 1e-8, 0.1


def gradients():
    """Ordinary values, values over eight decades, and a last, partial block that starts as zeros."""
    random = np.random.default_rng(8)
    g = random.normal(size=(STEPS, SIZE)) * 1e-3
    g[:, 256:512] = 10.0 ** random.uniform(-11, -3, (STEPS, 256)) * random.choice([-1, 1], (STEPS, 256))
    g[:2, 512:] = 0
    g = g.astype(F)
    g[1, 5], g[2, 6], g[3, 300] = np.nan, np.inf, -np.inf
    return g


def quantise(x, values):
    """Nearest value; an exact tie in f32 goes to the even code. x: [n] in [-1, 1]."""
    middle = (values[:-1] + values[1:]) * F(0.5)
    code = np.searchsorted(middle, x, side="left")  # middles below x
    tie = (code < 255) & (x == middle[np.minimum(code, 254)])
    return code + (tie & (code % 2 == 1))


def encode(x, values, mend_sign):
    """Codes and largest magnitudes, block by block."""
    codes, largest = np.zeros(len(x), np.uint8), []
    for begin in range(0, len(x), BLOCK):
        block = x[begin : begin + BLOCK]
        top = np.abs(block).max()
        if top == 0:
            code = np.full(len(block), 255 if mend_sign else 0)
        else:
            code = quantise(block / top, values)
            if mend_sign:
                wrong = np.signbit(values[code]) != np.signbit(block)
                code = np.where(wrong, np.where(block > 0, code + 1, code - 1), code)
        codes[begin : begin + BLOCK] = code
        largest.append(top)
    return codes, np.array(largest, F)


def decode(codes, largest, values):
    return values[codes] * np.repeat(largest, BLOCK)[: len(codes)]


def step8(order, p, g, state, t, maps):
    b1, b2, one = F(BETA1), F(BETA2), F(1)
    c1, c2 = 1 - float(b1) ** t, math.sqrt(1 - float(b2) ** t)
    rate, decay = float(F(RATE)), F(float(F(RATE)) * float(F(DECAY)))
    m, v = decode(*state[0], maps[0]), decode(*state[1], maps[1])
    finite = np.isfinite(g)
    g = np.where(finite, g, F(0))
    v = np.where(finite, b2 * v + ((one - b2) * g) * g, F(0))
    m = np.where(finite, b1 * m + (one - b1) * g, F(0))
    if order == "bitsandbytes":
        moved = p - F(rate * c2 / c1) * (m / (np.sqrt(v) + F(c2 * float(F(EPSILON)))))
        moved = moved * (one - decay)
    else:
        moved = p - decay * p
        moved = moved - F(rate / c1) * (m / (np.sqrt(v) / F(c2) + F(EPSILON)))
    return np.where(finite, moved, p), [encode(m, maps[0], True), encode(v, maps[1], False)]


def run_numpy(order, weight, gradient, maps):
    p, rows = weight, []
    state = [(np.zeros(SIZE, np.uint8), np.zeros(3, F))] * 2
    for t in range(STEPS):
        p, state = step8(order, p, gradient[t], state, t + 1, maps)
        rows.append([p, state[0][0], state[1][0], state[0][1], state[1][1]])
    names = ["weight", "code_m", "code_v", "absmax_m", "absmax_v"]
    return {f"{order}.{name}": np.stack([row[i] for row in rows]) for i, name in enumerate(names)}


def run_optimizer(prefix, make, weight, gradient, device, keys):
    """Any torch-like optimizer; keys: our name -> its name in the state."""
    p = torch.nn.Parameter(torch.tensor(weight, device=device))
    optimizer = make([p])
    out = {f"{prefix}.{name}": [] for name in ["weight", *keys]}
    for t in range(STEPS):
        p.grad = torch.tensor(gradient[t], device=device)
        optimizer.step()
        out[f"{prefix}.weight"].append(p.detach().cpu().numpy().copy())
        for name, key in keys.items():
            out[f"{prefix}.{name}"].append(optimizer.state[p][key].cpu().numpy().copy())
    return {name: np.stack(rows) for name, rows in out.items()}


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/adamw8.safetensors"
    maps = [bitsandbytes.functional.create_dynamic_map(signed).numpy().astype(F) for signed in (True, False)]
    weight = np.random.default_rng(4).normal(size=SIZE).astype(F)
    gradient = gradients()
    settings = {"lr": RATE, "betas": (BETA1, BETA2), "eps": EPSILON, "weight_decay": DECAY}
    tensors = {"weight": weight, "gradient": gradient, "map.signed": maps[0], "map.unsigned": maps[1]}
    for order in ("pytorch", "bitsandbytes"):
        tensors |= run_numpy(order, weight, gradient, maps)
    finite = np.where(np.isfinite(gradient), gradient, F(0))
    tensors |= run_optimizer("torch", lambda p: torch.optim.AdamW(p, foreach=False, **settings), weight,
                             finite, "cpu",
                             {"m": "exp_avg", "v": "exp_avg_sq"})
    metadata = {name: importlib.metadata.version(name) for name in ("numpy", "torch", "bitsandbytes")}
    if torch.cuda.is_available():
        metadata["gpu"] = torch.cuda.get_device_name()
        tensors |= run_optimizer(
            "cuda8", lambda p: bitsandbytes.optim.AdamW8bit(p, min_8bit_size=1, **settings), weight, gradient,
            "cuda",
            {"code_m": "state1", "code_v": "state2", "absmax_m": "absmax1", "absmax_v": "absmax2"})
        tensors |= run_optimizer(
            "cuda32", lambda p: bitsandbytes.optim.AdamW32bit(p, **settings), weight, finite, "cuda",
            {"m": "state1", "v": "state2"})
    else:
        print("no GPU: cuda8.* and cuda32.* are left out", file=sys.stderr)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path, metadata)


if __name__ == "__main__":
    main()
