#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Prints the preset that suits this machine. It is cpu everywhere for now: the CUDA backend has passed its tests on one H200
# (docs/benchmarks.md), but `make` with it has not been tried on a bare machine with a GPU. PRESET=gpu builds it.
set -euo pipefail

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1 || true)
if [ -n "$gpu" ]; then
  echo "preset: building for the CPU. PRESET=gpu builds for the $gpu too (needs the CUDA 13 toolkit)" >&2
fi
echo cpu
