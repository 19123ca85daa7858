#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The loss of moe beside PyTorch's over 300 steps of real text: the same initial weights, the same rows in the
# same order, one micro-batch a step, AdamW (ours with 8-bit moments), linear warm-up over 30 steps and then a
# constant rate. Ends with one line of JSON, and fails when the mean relative difference over the last 50
# steps is 0.5 % or more, or when a rerun of our first 30 steps gives other bits (losses, gradient norms,
# weights). The first run is continued once on its way, so a resumed run is part of what is shown.
#
#   bench/loss_curve.sh FOLDER [OVERRIDES...]          FOLDER gets curves.csv, result.json and the logs
#
# Environment: CONFIG (configs/train_config.yaml), MOE (build/gpu/moe), PYTHON (python3 with PyTorch), DEVICE
# (cuda or cpu: a tiny configuration), STEPS (300), RERUN (30, steps of the rerun; 0 leaves it out), PEERS (1;
# with 2 PyTorch trains again, and itself.json says how far it is from itself), TOKENS (a token file; else
# made from TEXT, the GCIDE dictionary), WORK (a fast disk with 40 GB for the full model: a folder that is
# removed at the end).
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:?usage: bench/loss_curve.sh FOLDER [OVERRIDES...]}
shift
config=${CONFIG:-configs/train_config.yaml}
moe=${MOE:-build/gpu/moe}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
steps=${STEPS:-300}
rerun=${RERUN:-30} peers=${PEERS:-1}
text=${TEXT:-/usr/share/dictd/gcide.dict.dz}
peer=bench/peers/loss_curve.py
mkdir -p "$out"
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/moe_loss_curve.XXXXXX")
trap 'rm -rf "$work"' EXIT

started=$SECONDS
say() { echo "loss_curve: $((SECONDS - started)) s: $*" >&2; }
# run LOG COMMAND...: with the output in a file, shown when it fails.
run() {
  local log=$out/$1.log
  shift
  "$@" >"$log" 2>&1 || { tail -n 30 "$log" >&2; echo "loss_curve: failed: $*" >&2; exit 1; }
}

settings=(model.capacity_factor=0 training.gradient_accumulation_steps=1 training.lr_schedule=constant
  training.eval_every=0 training.checkpoint_every=0 training.keep_checkpoints=3 data.format=tokens
  data.shuffle=false
  data.streams=1 data.document_mask=false data.packing=concat data.validation_fraction=0 logging.log_every=1
  "training.device=$([ "$device" = cuda ] && echo gpu || echo cpu)" "training.output_dir=$work/runs" "$@")
# Tokens of a step, from the file and the overrides.
size=$("$python" - "$config" "${settings[@]}" <<'SIZE'
import sys, yaml
config = yaml.safe_load(open(sys.argv[1]))
for name, value in (word.split("=", 1) for word in sys.argv[2:]):
    section, key = name.split(".")
    config.setdefault(section, {})[key] = value
print(int(config["training"]["batch_size"]) * int(config["model"]["max_seq_len"]))
SIZE
)

tokens=${TOKENS:-}
if [ -z "$tokens" ]; then
  say "tokenising $text"
  run tokenize "$moe" tokenize --source "$text" --output "$work/tokens" data.format=text \
    data.document_split=unindented
  tokens=$out/tokens.bin
  "$python" $peer cut $((steps * size + 1)) "$work/tokens" "$tokens"
fi
settings+=("data.source=[$tokens]")

# train NAME STEPS: the run NAME up to that step, a new one or continued.
train() {
  local run=$work/runs/$1
  if [ -e "$run" ]; then
    run "moe_$1_$2" "$moe" train --resume "$run" "training.max_steps=$2" \
      "training.warmup_steps=$(($2 > 0 ? 30 : 0))"
  else
    run "moe_$1_$2" "$moe" train --config "$config" "${settings[@]}" "training.run_name=$1" \
      "training.max_steps=$2" \
      "training.warmup_steps=$(($2 > 0 ? 30 : 0))"
  fi
}
weights() { printf '%s/runs/%s/checkpoints/step-%08d/model.safetensors' "$work" "$1" "$2"; }

say "moe: initial weights"
train ours 0
if ((rerun > 0)); then
  say "moe: $rerun steps, and again from nothing"
  train ours "$rerun"
  train again "$rerun"
  for what in ours again; do
    "$python" - "$work/runs/$what/metrics.jsonl" "$rerun" >"$work/$what.txt" <<'BITS'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
rows = [(r["step"], r["loss"], r["gradient_norm"]) for r in rows if "gradient_norm" in r][: int(sys.argv[2])]
assert len(rows) == int(sys.argv[2]), len(rows)
print(rows)
BITS
  done
  losses=$(sha256sum <"$work/ours.txt" | cut -c1-16)
  [ "$losses" = "$(sha256sum <"$work/again.txt" | cut -c1-16)" ] ||
    { echo "loss_curve: the rerun's losses differ" >&2; exit 1; }
  hash=$(sha256sum <"$(weights ours "$rerun")" | cut -c1-16)
  [ "$hash" = "$(sha256sum <"$(weights again "$rerun")" | cut -c1-16)" ] ||
    { echo "loss_curve: the rerun's weights differ" >&2; exit 1; }
  say "the rerun of $rerun steps has the same bits: losses $losses, weights $hash"
  rm -rf "$work/runs/again"
fi
say "moe: $steps steps"
train ours "$steps"
# pytorch NAME
pytorch() {
  say "PyTorch: $steps steps"
  run "$1" "$python" $peer peer --config "$work/runs/ours/config.yaml" --weights "$(weights ours 0)" \
    --tokens "$tokens" --output "$out/$1.csv" --device "$device"
}
pytorch pytorch
if ((peers > 1)); then
  pytorch pytorch_again
  "$python" $peer compare --run "$out/pytorch_again.csv" --peer "$out/pytorch.csv" --bound 1 \
    --output "$out/itself.csv" >"$out/itself.json"
  say "PyTorch beside itself: $(cat "$out/itself.json")"
fi
cp "$work/runs/ours/metrics.jsonl" "$out/moe.jsonl"
say "done"
"$python" $peer compare --run "$work/runs/ours" --peer "$out/pytorch.csv" --output "$out/curves.csv" |
  tee "$out/result.json"
