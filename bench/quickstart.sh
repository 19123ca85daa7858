#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench/quickstart.sh [ROUNDS]: the quickstart beside the one before it, with GPT-2's whole vocabulary
# (bench/quickstart_gpt2.yaml), in turn, 3 times each unless said otherwise, with a seed for each round.
# Prints seconds of the whole program, tokens/s, and bits per byte of all the text that was held out; then
# samples of the last of each. Run it on a quiet machine.
# Environment: MOE (build/cpu/moe), OUT (build/quickstart), PRECISION (auto).
set -euo pipefail
cd "$(dirname "$0")/.."

moe=${MOE:-build/cpu/moe}
out=${OUT:-build/quickstart}
rounds=${1:-3}
mkdir -p "$out"

# train NAME CONFIG SEED
train() {
  local began=$EPOCHREALTIME
  rm -rf "${out:?}/$1"
  "$moe" train --config "$2" training.device=cpu "training.seed=$3" "training.output_dir=$out" \
    "training.run_name=$1" "training.mixed_precision=${PRECISION:-auto}" >"$out/$1.log" 2>&1
  local seconds
  seconds=$(bc <<<"$EPOCHREALTIME - $began")
  "$moe" eval "$out/$1" --json >"$out/$1.json" 2>/dev/null
  python3 - "$out/$1/metrics.jsonl" "$out/$1.json" "$1" "$seconds" <<'ROW'
import json, statistics, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
held_out = json.load(open(sys.argv[2]))
speed = statistics.median(row["tokens_per_second"] for row in rows if "tokens_per_second" in row)
print(f"{sys.argv[3]:9} {float(sys.argv[4]):6.1f} s {speed:8,.0f} tokens/s   loss {held_out['loss']:.4f}"
      f"   {held_out['bits_per_byte']:.4f} bits per byte", flush=True)
ROW
}

for ((round = 1; round <= rounds; round++)); do
  train "before-$round" bench/quickstart_gpt2.yaml "$round"
  train "now-$round" configs/quickstart.yaml "$round"
done
for run in before now; do
  echo "--- $run ---"
  "$moe" generate "$out/$run-$rounds" --prompt Lantern --max-new-tokens 80 --samples 3 --quiet
done
