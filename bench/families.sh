#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A mid-size model of each family with random weights of transformers, trained 50 steps by moe and by
# transformers on the same batches of real text, both in bf16: losses and tokens/s as a table. Fails when the
# mean over the steps of the relative difference of the losses is 0.5 % or more. Beside it stands that
# difference from transformers in f32. Before, in f32: import --verify on the GPU, and greedy texts, which
# must be those of the CPU.
#
#   bench/families.sh FOLDER [FAMILY...]        FOLDER gets the curves and logs; default: all families
#
# Environment: MOE (build/gpu/moe), PYTHON (python3 with PyTorch and transformers), TOKENS (a token file; else
# made from TEXT, the GCIDE dictionary), BATCH (16 rows of 1,024 tokens), WORK (a fast disk with 30 GB).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: bench/families.sh FOLDER [FAMILY...]}
shift
moe=${MOE:-build/gpu/moe} python=${PYTHON:-python3} batch=${BATCH:-16} steps=50
text=${TEXT:-/usr/share/dictd/gcide.dict.dz}
peer=bench/peers/transformers_train.py
mkdir -p "$out"
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/moe_families.XXXXXX")
trap 'rm -rf "$work"' EXIT
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1 TRANSFORMERS_VERBOSITY=error

# run LOG COMMAND...: with the output in a file.
run() {
  local log=$out/$1.log
  shift
  "$@" >"$log" 2>&1
}
must() { run "$@" || { tail -n 30 "$out/$1.log" >&2; echo "families: failed: $*" >&2; exit 1; }; }

tokens=${TOKENS:-}
if [ -z "$tokens" ]; then
  must tokenize "$moe" tokenize --source "$text" --output "$work/tokens" data.format=text \
    data.document_split=unindented
  tokens=$out/tokens.bin
  must cut "$python" bench/peers/loss_curve.py cut $((steps * batch * 1024 + 1)) "$work/tokens" "$tokens"
fi

echo "| family | first loss: moe, transformers | last | mean difference | from f32 | moe tokens/s |" \
  "transformers | ratio |"
echo "|---|---|---|---|---|---|---|---|"
failed=0
[ $# -gt 0 ] || set -- qwen3_moe olmoe mixtral qwen2_moe glm4_moe minimax_m2 granitemoe qwen3 llama
for family in "$@"; do
  model=$work/$family
  must "${family}_make" "$python" $peer make "$family" "$model"
  must "${family}_verify" "$moe" import "$model" --verify --output "$work/exact" data.tokenizer=gpt2 \
    "data.source=[$tokens]" data.format=tokens model.max_seq_len=1024 training.device=gpu \
    training.mixed_precision=no
  for device in gpu cpu; do
    must "${family}_text_$device" "$moe" generate "$work/exact" --prompt "The ship sailed into the" \
      --prompt A --temperature 0 --max-new-tokens 48 --ignore-end-of-text --json --quiet \
      training.device=$device training.mixed_precision=no
  done
  cmp "$out/${family}_text_gpu.log" "$out/${family}_text_cpu.log" || failed=1
  rm -rf "$work/exact"
  must "${family}_import" "$moe" import "$model" --output "$work/run" "data.source=[$tokens]" \
    data.tokenizer=gpt2 data.format=tokens data.shuffle=false data.streams=1 data.document_mask=false \
    data.packing=concat data.validation_fraction=0 model.max_seq_len=1024 model.aux_loss_weight=0 \
    training.batch_size="$batch" training.gradient_accumulation_steps=1 training.max_steps=$steps \
    training.learning_rate=3e-4 training.warmup_steps=10 training.lr_schedule=constant \
    training.weight_decay=0.1 training.optimizer=adamw training.mixed_precision=bf16 \
    training.eval_every=0 training.checkpoint_every=0 training.device=gpu logging.log_every=1
  must "${family}_moe" "$moe" train --resume "$work/run"
  how=compiled
  if ! run "${family}_peer" "$python" $peer train "$model" --tokens "$tokens" --batch "$batch" \
    --output "$out/$family.csv"; then
    how=eager
    must "${family}_eager" "$python" $peer train "$model" --tokens "$tokens" --batch "$batch" \
      --output "$out/$family.csv" --compile 0
  fi
  must "${family}_exact" "$python" $peer train "$model" --tokens "$tokens" --batch "$batch" \
    --output "$out/$family.f32.csv" --precision f32 --compile 0
  cp "$work/run/metrics.jsonl" "$out/$family.jsonl"
  "$python" $peer row "$family" --run "$work/run" --peer "$out/$family.csv" \
    --exact "$out/$family.f32.csv" --how "$how" || failed=1
  rm -rf "$model" "$work/run"
done
exit $failed
