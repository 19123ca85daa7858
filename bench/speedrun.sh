#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench/speedrun.sh [SETTINGS...]: from text to an evaluated and exported model (docs/speedrun.md). It makes
# the corpus of bench/corpus.sh, trains configs/recipe.yaml on it, evaluates the held-out text, exports the
# model for transformers, checks the export, and draws the curves. Ends with a table of what each part took
# and gave. Goes on where it was stopped; a part that is done is not done again.
# Environment: MOE (build/gpu/moe or build/cpu/moe), OUT (build/speedrun), CORPUS (build/corpus),
# STEPS (1145), CONFIG (configs/recipe.yaml with 131,072 tokens a step),
# TASKS ("hellaswag=PLACE piqa=PLACE", docs/evaluation.md).
set -euo pipefail
cd "$(dirname "$0")/.."

out=${OUT:-build/speedrun}
corpus=${CORPUS:-build/corpus}
steps=${STEPS:-1145}
moe=${MOE:-}
for program in build/gpu/moe build/cpu/moe; do
  [ -n "$moe" ] || ! [ -x "$program" ] || moe=$program
done
[ -x "$moe" ] || { echo "speedrun: no program. Hint: make build, or set MOE" >&2; exit 2; }
mkdir -p "$out"

# part NAME COMMAND...: runs it unless it is done, and records its seconds.
part() {
  local name=$1 began=$SECONDS
  shift
  if [ -e "$out/$name.done" ]; then
    echo "speedrun: $name was done before"
    return
  fi
  echo "speedrun: $name"
  "$@"
  echo $((SECONDS - began)) >"$out/$name.done"
}

train() {
  if [ -e "$out/run/config.yaml" ]; then
    "$moe" train --resume "$out/run"
    return
  fi
  local config=(--config configs/recipe.yaml training.gradient_accumulation_steps=4)
  [ -z "${CONFIG:-}" ] || config=(--config "$CONFIG")
  "$moe" train "${config[@]}" "data.source=$corpus/train.jsonl" data.format=jsonl \
    "data.validation_source=$corpus/held_out.jsonl" data.validation_fraction=0 "training.max_steps=$steps" \
    "training.warmup_steps=$((steps / 50))" "training.eval_every=$((steps / 20))" \
    training.eval_tokens=500000 training.sample_every=0 training.keep_checkpoints=1 \
    "training.output_dir=$out" training.run_name=run "$@"
}

evaluate() {
  local tasks=() task
  for task in ${TASKS:-}; do tasks+=(--task "$task"); done
  "$moe" eval "$out/run" --source "$corpus/held_out.jsonl" --json >"$out/held_out.json"
  if [ -e "$corpus/held_out/dict-gcide.jsonl" ]; then
    "$moe" eval "$out/run" --source "$corpus/held_out/dict-gcide.jsonl" --json >"$out/dictionary.json"
  fi
  if [ ${#tasks[@]} -gt 0 ]; then
    "$moe" eval "$out/run" "${tasks[@]}" --output "$out/items.jsonl" --json >"$out/tasks.json"
  fi
}

export_model() {
  rm -rf "$out/export"
  "$moe" export "$out/run" "$out/export" --verify
}

draw() {
  "$moe" report "$out/run" --output "$out/report.html" --png "$out/report.png"
}

part corpus bench/corpus.sh "$corpus"
part training train "$@"
part evaluation evaluate
part export export_model
part report draw
python3 bench/speedrun_table.py "$out"
