#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/preset.sh: prints the preset that suits this machine, and on standard error a line that says why. It
# is gpu where nvidia-smi finds a GPU of compute capability 8.0 or newer, its driver is new enough for CUDA
# 13, and there is nvcc 13 or newer to compile for it or scripts/setup.sh can bring it as a wheel; else cpu.
# scripts/preset.sh --architectures: prints the GPUs of this machine for CMAKE_CUDA_ARCHITECTURES, e.g.
# 90a-real (nothing when the preset is not gpu).
# scripts/preset.sh --nvcc: prints the path of nvcc 13 or newer: the toolkit's, else that of the wheels in
# .deps/cuda (nothing when there is neither, whatever the GPU).
# PRESET=cpu or PRESET=gpu on make's command line decides otherwise. MOE_CUDA_WHEELS=0: no wheels are brought
# or used; MOE_CUDA_WHEELS=1: they are taken even where there is a toolkit.
set -euo pipefail

oldest=80          # compute capability 8.0: what src/gpu needs
toolkit=13         # nvcc's major version
oldest_driver=580  # the first that runs CUDA 13
wheels=$(cd "$(dirname "$0")/.." && pwd)/.deps/cuda
wheels_nvcc=$wheels/nvidia/cu13/bin/nvcc
use_wheels=${MOE_CUDA_WHEELS:-}

say() { [ "$what" != '' ] || echo "preset: $1" >&2; }
cpu() {
  say "$1"
  [ "$what" != '' ] || echo cpu
  exit 0
}
version_of() { # nothing where it cannot be run
  { "$1" --version 2>/dev/null || true; } | sed -n 's/.*release \([0-9][0-9.]*\).*/\1/p'
}
is_new_enough() { # VERSION, e.g. 13.5
  [[ ${1%%.*} =~ ^[0-9]+$ ]] && ((${1%%.*} >= toolkit))
}

# nvcc, version: the compiler to take, the wheels' too if they are here; too_old: another one that was seen.
find_nvcc() {
  local path candidates
  nvcc='' version='' too_old=''
  candidates=("$(command -v nvcc || true)" "${CUDA_PATH:-/usr/local/cuda}/bin/nvcc")
  case $use_wheels in
    0) ;;
    1) candidates=("$wheels_nvcc") ;;
    *) candidates+=("$wheels_nvcc") ;;
  esac
  for path in "${candidates[@]}"; do
    [ -f "$path" ] && [ -x "$path" ] || continue
    [[ $path != "$wheels"/* ]] || [ -f "$wheels/requirements.sha256" ] || continue  # a download that was cut
    version=$(version_of "$path")
    if is_new_enough "$version"; then
      nvcc=$path
      return
    fi
    too_old="$path is version ${version:-unknown}"
  done
}

can_bring_wheels() { [ "$use_wheels" != 0 ] && [ "${MOE_SKIP_SETUP:-0}" != 1 ]; }

what=${1:-}
find_nvcc
if [ "$what" = --nvcc ]; then
  [ -z "$nvcc" ] || echo "$nvcc"
  exit 0
fi

command -v nvidia-smi >/dev/null || cpu "no nvidia-smi, so no NVIDIA GPU: building for the CPU"
fields=compute_cap,driver_version,name
if ! gpus=$(nvidia-smi --query-gpu=$fields --format=csv,noheader 2>&1) || [ -z "$gpus" ]; then
  cpu "nvidia-smi finds no GPU ($(head -1 <<<"$gpus")): building for the CPU"
fi

# Each GPU's number (8.6 is 86), once each; Hopper's own instructions are in 90a.
name='' driver='' seen='' numbers=()
while IFS=, read -r capability its_driver gpu; do
  number=${capability//./}
  [[ $number =~ ^[0-9]+$ ]] || continue
  driver=${its_driver# }
  seen=${seen:-${gpu# }}
  if ((number >= oldest)); then
    [ -n "$name" ] || name=${gpu# }
    [ "$number" = 90 ] && number=90a
    [[ " ${numbers[*]} " == *" $number-real "* ]] || numbers+=("$number-real")
  fi
done <<<"$gpus"
if [ ${#numbers[@]} = 0 ]; then
  cpu "the GPU (${seen:-$(head -1 <<<"$gpus")}) is older than compute capability 8.0: building for the CPU"
fi
if [[ ${driver%%.*} =~ ^[0-9]+$ ]] && ((${driver%%.*} < oldest_driver)); then
  needs="CUDA $toolkit needs $oldest_driver. Hint: install a newer driver"
  cpu "building for the CPU: the driver of the $name is $driver, and $needs"
fi

if [ -z "$nvcc" ] && ! can_bring_wheels; then
  hint="Hint: install the CUDA $toolkit toolkit, or leave MOE_CUDA_WHEELS=0 and MOE_SKIP_SETUP=1 out"
  cpu "building for the CPU: there is a $name, but ${too_old:-no nvcc}. $hint"
fi

if [ "$what" = --architectures ]; then
  (IFS=';'; echo "${numbers[*]}")
  exit 0
fi
from="CUDA $version"
if [ -z "$nvcc" ]; then
  from="CUDA's wheels, which setup brings"
elif [ "$nvcc" = "$wheels_nvcc" ]; then
  from+=" of the wheels in .deps/cuda"
fi
say "building for the $name with $from (PRESET=cpu builds without)"
echo gpu
