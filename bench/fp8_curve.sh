#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The loss in FP8 beside BF16 over 300 steps of real text: BF16, BF16 with another seed, FP8 with the first
# seed, with the same rows in the same order. Ends with a table: the mean loss of the last 50 steps, and the
# mean and mean absolute relative difference from the first run. FP8 loses nothing that shows where its
# difference is smaller than that of the seeds. Then FP8 goes on in BF16 and back for 10 steps each.
#
#   bench/fp8_curve.sh FOLDER [OVERRIDES...]           FOLDER gets the metrics of the runs and table.txt
#
# Environment: CONFIG (configs/train_config.yaml), MOE (build/gpu/moe), PYTHON (python3), STEPS (300), TEXT
# (the GCIDE dictionary), WORK (a fast disk with 20 GB: a folder that is removed at the end), DEVICE (gpu).
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:?usage: bench/fp8_curve.sh FOLDER [OVERRIDES...]}
shift
moe=${MOE:-build/gpu/moe} config=${CONFIG:-configs/train_config.yaml} steps=${STEPS:-300}
text=${TEXT:-/usr/share/dictd/gcide.dict.dz}
mkdir -p "$out"
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/moe_fp8_curve.XXXXXX")
trap 'rm -rf "$work"' EXIT

settings=(model.capacity_factor=0 training.gradient_accumulation_steps=1 training.lr_schedule=constant
  training.warmup_steps=30 training.eval_every=0 training.checkpoint_every=0 training.keep_checkpoints=1
  data.format=text data.document_split=unindented "data.source=$text" data.shuffle=false data.streams=1
  logging.log_every=1 logging.wandb_mode=disabled "training.device=${DEVICE:-gpu}"
  "training.output_dir=$work/runs" "$@")

# train NAME OVERRIDES...
train() {
  local name=$1
  shift
  "$moe" train --config "$config" "${settings[@]}" "training.run_name=$name" "training.max_steps=$steps" \
    "$@" >"$out/$name.log" 2>&1 || { tail -n 20 "$out/$name.log" >&2; exit 1; }
  cp "$work/runs/$name/metrics.jsonl" "$out/$name.jsonl"
}
# resume NAME STEPS OVERRIDES...: the run goes on.
resume() {
  local name=$1 to=$2
  shift 2
  "$moe" train --resume "$work/runs/$name" "training.max_steps=$to" "$@" >"$out/$name-$to.log" 2>&1 ||
    { tail -n 20 "$out/$name-$to.log" >&2; exit 1; }
  cp "$work/runs/$name/metrics.jsonl" "$out/$name.jsonl"
}

train bf16 training.mixed_precision=bf16
rm -rf "$work/runs/bf16"
train bf16_other_seed training.mixed_precision=bf16 training.seed=4321
rm -rf "$work/runs/bf16_other_seed"
train fp8 training.mixed_precision=fp8
resume fp8 $((steps + 10)) training.mixed_precision=bf16
resume fp8 $((steps + 20)) training.mixed_precision=fp8

"${PYTHON:-python3}" - "$out" "$steps" <<'TABLE' | tee "$out/table.txt"
import json, sys
out, steps = sys.argv[1], int(sys.argv[2])
def losses(name):
    rows = map(json.loads, open(f"{out}/{name}.jsonl"))
    return {r["step"]: r["loss"] for r in rows if "gradient_norm" in r}
base = losses("bf16")
last = [s for s in base if steps - 50 < s <= steps]
print("| run | first loss | last 50 steps | mean difference | mean absolute difference |")
print("|---|---|---|---|---|")
for name in ("bf16", "bf16_other_seed", "fp8"):
    run = losses(name)
    d = [run[s] / base[s] - 1 for s in last]
    print(f"| {name} | {run[1]:.4f} | {sum(run[s] for s in last) / len(last):.4f} "
          f"| {100 * sum(d) / len(d):+.2f} % | {100 * sum(map(abs, d)) / len(d):.2f} % |")
fp8 = losses("fp8")
def mean(first):
    return sum(fp8[s] for s in range(first, first + 10)) / 10
print(f"fp8, then 10 steps in bf16 and 10 in fp8 again: {mean(steps - 9):.4f}, {mean(steps + 1):.4f}, "
      f"{mean(steps + 11):.4f}")
TABLE
