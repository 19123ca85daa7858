#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/safetensors_*.safetensors with the reference library (made with safetensors 0.8.0).

ours: every type moe writes, in shapes and names that try the order and the escapes; we must write the same
bytes.
others: types and shapes that moe reads but never writes (scalars, F16, I64, BOOL, five dimensions), other
metadata.
"""
import pathlib
import sys

import torch
from safetensors.torch import save


def ours():
    return {
        "b.f32": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "a.f32": torch.tensor([-0.0]),
        "z.f64": torch.tensor([1 / 3, 1e300], dtype=torch.float64),
        "i32": torch.tensor([-1, 0, 2**31 - 1], dtype=torch.int32),
        "bf16": torch.tensor([1.5, -2.0, 0.0078125], dtype=torch.bfloat16).reshape(3, 1, 1),
        "codes": torch.tensor([0, 127, 128, 254, 255], dtype=torch.uint8),
        "none": torch.zeros(0, 4),
        'quote " slash \\ tab \t ü 漢 \x7f': torch.tensor([42], dtype=torch.uint8).reshape(1, 1, 1, 1),
    }


def others():
    return {
        "scalar": torch.tensor(2.5),
        "half": torch.tensor([1, 2], dtype=torch.float16),
        "long": torch.tensor([-5, 5]).reshape(1, 2, 1, 1, 1),
        "flag": torch.tensor([True, False, True]),
        "empty": torch.zeros(0),
    }


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden")
    for name, tensors, metadata in (
        ("ours", ours(), {"format": "pt"}), ("others", others(), {"kind": 'a "test"'})):
        path = folder / f"safetensors_{name}.safetensors"
        path.write_bytes(save(tensors, metadata))
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
