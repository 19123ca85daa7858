#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Prints the preset that suits this machine: gpu when there is an NVIDIA GPU and the CUDA toolkit to build for it, else
# cpu. A GPU without a toolkit gets a line on how to use it.
set -euo pipefail

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1 || true)
if [ -z "$gpu" ]; then
  echo cpu
elif command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then
  echo gpu
else
  echo "preset: this machine has an $gpu, but no CUDA toolkit (nvcc) to build for it; building for the CPU" >&2
  echo cpu
fi
