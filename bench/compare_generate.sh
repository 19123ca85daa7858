#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Prefill and decode tokens/s of `moe generate` beside transformers' generate, same model, same machine,
# taking turns. Greedy, batches of 1 and 32, prompts of 129 tokens (the end-of-text token in front) and 64 new
# ones. Needs no network.
#
# usage: bench/compare_generate.sh MOE RUN|SETTINGS.yaml [cpu|cuda] [PYTHON]
#   With settings instead of a run, a model of theirs with random weights is made first: speed does not depend
#   on weights.
#   DTYPE=float32|bfloat16 (default float32; the run's training.mixed_precision is set to match),
#   THREADS (default: all),
#   TURNS (default 2), BATCHES (default "1 32"), WORK (default: a folder of mktemp; the files need 4 + 2 bytes
#   a parameter there in bfloat16, 4 + 4 in float32, and with settings 2 more for the optimizer's states)
set -euo pipefail
moe=$1 run=$2 device=${3:-cpu} python=${4:-python3}
dtype=${DTYPE:-float32} threads=${THREADS:-$(nproc)} turns=${TURNS:-2} batches=${BATCHES:-1 32} new=64
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d ${WORK:+-p "$WORK"})
trap 'rm -rf "$work"' EXIT
precision=$([ "$dtype" = bfloat16 ] && echo bf16 || echo no)
moe_device=$([ "$device" = cpu ] && echo cpu || echo gpu)
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 TRANSFORMERS_VERBOSITY=error

# Runs a command with its standard error in a file, which is shown when it fails.
quietly() { "$@" 2> "$work/errors" || { cat "$work/errors" >&2; exit 1; }; }

if [[ $run == *.yaml ]]; then
  quietly "$moe" train --config "$run" "training.output_dir=$work" training.run_name=random \
    training.max_steps=0 training.warmup_steps=0 training.batch_size=1 training.eval_every=0 \
    training.gradient_accumulation_steps=1 "training.device=$moe_device" \
    "data.source=[$here/../README.md]" data.format=text data.document_split=file > /dev/null
  run=$work/random
fi
quietly "$moe" export "$run" "$work/model" --dtype "$([ "$dtype" = bfloat16 ] && echo bf16 || echo f32)"
# 128 tokens each: " the" is one token, and so is a letter in front.
for letter in {A..Z} {a..f}; do
  printf '{"prompt": "%s%s"}\n' "$letter" "$(printf ' the%.0s' {1..127})"
done > "$work/prompts.jsonl"
"$moe" --version | head -1
processor=$(sed -n 's/^model name.*: //p;T;q' /proc/cpuinfo)
echo "machine: $processor, $threads threads, device $device, $dtype"
[ "$device" = cpu ] || nvidia-smi --query-gpu=name --format=csv,noheader
for batch in $batches; do
  head -n "$batch" "$work/prompts.jsonl" > "$work/batch.jsonl"
  for ((turn = 0; turn < turns; ++turn)); do
    quietly "$moe" generate "$run" --prompts "$work/batch.jsonl" --batch "$batch" --temperature 0 \
      --max-new-tokens $new --json --ignore-end-of-text --warm-up "training.device=$moe_device" \
      "training.threads=$threads" "training.mixed_precision=$precision" > /dev/null
    echo "batch $batch: moe          $(grep prefill "$work/errors")"
    line=$(quietly "$python" "$here/peers/transformers_generate.py" "$work/model" "$work/batch.jsonl" \
      "$batch" $new \
      "$device" "$dtype" "$threads")
    echo "batch $batch: $line"
  done
done
