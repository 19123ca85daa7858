#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads safetensors files with the reference library and says whether it would have written the same bytes.

    tools/check_safetensors.py run/step-00000100/model.safetensors ...
"""
import json
import pathlib
import sys

from safetensors.torch import load, save


def check(path):
    data = pathlib.Path(path).read_bytes()
    tensors = load(data)  # raises on anything the format forbids
    length = int.from_bytes(data[:8], "little")
    same = save(tensors, json.loads(data[8:8 + length]).get("__metadata__")) == data
    print(f"{path}: {len(tensors)} tensors, {len(data)} bytes, {'same bytes' if same else 'OTHER BYTES'}")
    return same


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(0 if all([check(path) for path in sys.argv[1:]]) else 1)
