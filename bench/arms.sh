#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench/arms.sh GPU ARM STEPS [SETTINGS...]: one arm of docs/recipe.md's comparison of the full model: trains
# configs/recipe.yaml with bench/arms/ARM.yaml on the corpus of bench/corpus.sh for so many steps of 131,072
# tokens, with 20 validations, then evaluates the held-out part of the dictionary. Ends with the last
# validation loss, the seconds in steps and the dictionary's bits per byte. Arms that run on GPUs of their own
# may run side by side. Goes on where it was stopped.
# Environment: MOE (build/gpu/moe), CORPUS (build/corpus), OUT (build/arms; 11 GB an arm).
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 3 ] || { echo "usage: bench/arms.sh GPU ARM STEPS [SETTINGS...]" >&2; exit 2; }
export CUDA_VISIBLE_DEVICES=$1
arm=$2 steps=$3
shift 3
moe=${MOE:-build/gpu/moe}
corpus=${CORPUS:-build/corpus}
out=${OUT:-build/arms}
[ -x "$moe" ] || { echo "arms: no program at $moe. Hint: make build PRESET=gpu, or set MOE" >&2; exit 2; }
[ -r "$corpus/train.jsonl" ] || { echo "arms: no text in $corpus. Hint: bench/corpus.sh" >&2; exit 2; }

mkdir -p "$out"
if [ -e "$out/$arm/config.yaml" ]; then
  "$moe" train --resume "$out/$arm" >>"$out/$arm.log" 2>&1
else
  "$moe" train --config configs/recipe.yaml --config "bench/arms/$arm.yaml" \
    "data.source=$corpus/train.jsonl" "data.validation_source=$corpus/held_out.jsonl" \
    data.validation_fraction=0 training.device=gpu training.gradient_accumulation_steps=4 \
    "training.max_steps=$steps" "training.warmup_steps=$((steps / 50))" training.eval_tokens=500000 \
    "training.eval_every=$((steps / 20))" training.sample_every=0 training.checkpoint_every=0 \
    training.keep_checkpoints=1 "training.output_dir=$out" "training.run_name=$arm" "$@" >"$out/$arm.log" 2>&1
fi
python3 - "$out/$arm/metrics.jsonl" "$arm" <<'RESULT'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
seconds = sum(row.get("step_seconds", 0) for row in rows)
loss = [row["validation_loss"] for row in rows if "validation_loss" in row][-1]
print(f"{sys.argv[2]}: {rows[-1]['step']} steps, validation loss {loss:.4f}, {seconds:.1f} s in steps")
RESULT
"$moe" eval "$out/$arm" --source "$corpus/held_out/dict-gcide.jsonl"
