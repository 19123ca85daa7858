#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Prefill and decode tokens/s of `moe generate` beside transformers' generate, same model, same machine, taking turns.
# Greedy, batches of 1 and 32, prompts of 129 tokens (the end-of-text token in front) and 64 new ones. Needs no network.
#
# usage: bench/compare_generate.sh MOE RUN [cpu|cuda] [PYTHON]
#   DTYPE=float32|bfloat16 (default float32; the run's training.mixed_precision is set to match), THREADS (default: all),
#   TURNS (default 2), BATCHES (default "1 32")
set -euo pipefail
moe=$1 run=$2 device=${3:-cpu} python=${4:-python3}
dtype=${DTYPE:-float32} threads=${THREADS:-$(nproc)} turns=${TURNS:-2} batches=${BATCHES:-1 32} new=64
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
precision=$([ "$dtype" = bfloat16 ] && echo bf16 || echo no)
moe_device=$([ "$device" = cpu ] && echo cpu || echo gpu)
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error

# Runs a command with its standard error in a file, which is shown when it fails.
quietly() { "$@" 2> "$work/errors" || { cat "$work/errors" >&2; exit 1; }; }

quietly "$moe" export "$run" "$work/model" --dtype "$([ "$dtype" = bfloat16 ] && echo bf16 || echo f32)"
# 128 tokens each: " the" is one token, and so is a letter in front.
for letter in {A..Z} {a..f}; do
  printf '{"prompt": "%s%s"}\n' "$letter" "$(printf ' the%.0s' {1..127})"
done > "$work/prompts.jsonl"
echo "machine: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $threads threads, device $device, $dtype"
[ "$device" = cpu ] || nvidia-smi --query-gpu=name --format=csv,noheader
for batch in $batches; do
  head -n "$batch" "$work/prompts.jsonl" > "$work/batch.jsonl"
  for ((turn = 0; turn < turns; ++turn)); do
    quietly "$moe" generate "$run" --prompts "$work/batch.jsonl" --batch "$batch" --temperature 0 \
      --max-new-tokens $new --json --ignore-end-of-text --warm-up "training.device=$moe_device" \
      "training.threads=$threads" "training.mixed_precision=$precision" > /dev/null
    echo "batch $batch: moe          $(grep prefill "$work/errors")"
    line=$(quietly "$python" "$here/peers/transformers_generate.py" "$work/model" "$work/batch.jsonl" "$batch" $new \
      "$device" "$dtype" "$threads")
    echo "batch $batch: $line"
  done
done
