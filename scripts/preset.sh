#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Prints the preset that suits this machine. It is cpu everywhere for now: the CUDA backend passes the tests of operations
# and of the model in an emulation on the CPU (tests/emulated_cuda), but no GPU has run it yet. PRESET=gpu builds it.
set -euo pipefail

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1 || true)
if [ -n "$gpu" ]; then
  echo "preset: building for the CPU. PRESET=gpu builds for the $gpu too (not yet tried on a GPU; needs CUDA 13)" >&2
fi
echo cpu
