#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/preset.sh: prints the preset that suits this machine, and on standard error a line that says why. It
# is gpu where nvidia-smi finds a GPU of compute capability 8.0 or newer and there is nvcc 13 or newer to
# compile for it, else cpu. scripts/preset.sh --architectures: prints the GPUs of this machine for
# CMAKE_CUDA_ARCHITECTURES, e.g. 90a-real (nothing when the preset is not gpu). PRESET=cpu or PRESET=gpu on
# make's command line decides otherwise.
set -euo pipefail

oldest=80   # compute capability 8.0: what src/gpu needs
toolkit=13  # nvcc's major version

say() { [ "${what:-}" = --architectures ] || echo "preset: $1" >&2; }
cpu() {
  say "$1"
  [ "$what" = --architectures ] || echo cpu
  exit 0
}

what=${1:-}
command -v nvidia-smi >/dev/null || cpu "no nvidia-smi, so no NVIDIA GPU: building for the CPU"
if ! gpus=$(nvidia-smi --query-gpu=compute_cap,name --format=csv,noheader 2>&1) || [ -z "$gpus" ]; then
  cpu "nvidia-smi finds no GPU ($(head -1 <<<"$gpus")): building for the CPU"
fi

# Each GPU's number (8.6 is 86), once each; Hopper's own instructions are in 90a.
name='' numbers=()
while IFS=, read -r capability gpu; do
  number=${capability//./}
  [[ $number =~ ^[0-9]+$ ]] || continue
  if ((number >= oldest)); then
    [ -n "$name" ] || name=${gpu# }
    [ "$number" = 90 ] && number=90a
    [[ " ${numbers[*]} " == *" $number-real "* ]] || numbers+=("$number-real")
  fi
done <<<"$gpus"
if [ ${#numbers[@]} = 0 ]; then
  cpu "the GPU ($(head -1 <<<"$gpus")) is older than compute capability 8.0: building for the CPU"
fi

nvcc=$(command -v nvcc || echo "${CUDA_PATH:-/usr/local/cuda}/bin/nvcc")
if [ ! -x "$nvcc" ]; then
  cpu "building for the CPU: there is a $name, but no nvcc. Hint: install the CUDA $toolkit toolkit"
fi
version=$("$nvcc" --version | sed -n 's/.*release \([0-9][0-9.]*\).*/\1/p')
if ! [[ ${version%%.*} =~ ^[0-9]+$ ]] || ((${version%%.*} < toolkit)); then
  found="$nvcc is version ${version:-unknown}"
  cpu "building for the CPU: there is a $name, but $found. Hint: install the CUDA $toolkit toolkit"
fi

if [ "$what" = --architectures ]; then
  (IFS=';'; echo "${numbers[*]}")
else
  say "building for the $name with CUDA $version (PRESET=cpu builds without)"
  echo gpu
fi
