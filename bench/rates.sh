#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench/rates.sh [SEED...]: what learning rates by role, Muon and routers are worth (docs/recipe.md). A small
# model learns a dictionary for 300 steps with each arm below; the table has the validation loss and, means of
# the last 50 steps, the fullest expert's load over the mean, the share that is dropped, and tokens a second.
# Default: seeds 1 and 2.
# Environment: MOE (build/gpu/moe), TEXT (/usr/share/dictd/gcide.dict.dz of the package dict-gcide),
# OUT (build/rates), ARMS (a file of lines "NAME SETTINGS..." in place of those here).
set -euo pipefail
cd "$(dirname "$0")/.."

moe=${MOE:-build/gpu/moe}
text=${TEXT:-/usr/share/dictd/gcide.dict.dz}
out=${OUT:-build/rates}
seeds=("$@")
[ $# -gt 0 ] || seeds=(1 2)
[ -x "$moe" ] || { echo "rates: no program at $moe. Hint: make build PRESET=gpu, or set MOE" >&2; exit 2; }
[ -r "$text" ] || { echo "rates: no text at $text. Hint: apt install dict-gcide, or set TEXT" >&2; exit 2; }

small=(model.d_model=512 model.n_layers=8 model.n_heads=8 model.n_kv_heads=4 model.num_experts=32
  model.expert_intermediate_dim=256 model.max_seq_len=512)
run=(training.learning_rate=1e-3 training.batch_size=64
  training.max_steps=300 training.warmup_steps=30 training.mixed_precision=bf16
  training.eval_every=300 training.eval_batches=32 training.checkpoint_every=0 training.sample_every=0
  training.device=gpu "training.output_dir=$out" "data.source=$text")

# Later settings replace earlier ones.
arms() {
  local muon="training.optimizer=muon8bit"
  local at_2="$muon training.learning_rate=2e-3 training.embedding_lr_scale=4"
  local at_3="$muon training.learning_rate=3e-3 training.embedding_lr_scale=3"
  local cautious="training.weight_decay_mode=cautious"
  local v3="model.router_bias_rate=1e-3 model.sequence_loss_weight=1e-4"
  local one_of_two="model.shared_expert_dim=256 model.renormalize_top_k=false"
  cat <<ARMS
one_3e-4 training.learning_rate=3e-4
one_5e-4 training.learning_rate=5e-4
one_1e-3 training.learning_rate=1e-3
one_3e-3 training.learning_rate=3e-3
embedding_x4 training.learning_rate=1e-3 training.embedding_lr_scale=4
embedding_x8 training.learning_rate=1e-3 training.embedding_lr_scale=8
embedding_x16 training.learning_rate=1e-3 training.embedding_lr_scale=16
embedding_x32 training.learning_rate=1e-3 training.embedding_lr_scale=32
embedding_x8_5e-4 training.learning_rate=5e-4 training.embedding_lr_scale=8
embedding_x16_5e-4 training.learning_rate=5e-4 training.embedding_lr_scale=16
muon_1e-3 $muon training.learning_rate=1e-3 training.embedding_lr_scale=8
muon_2e-3 $at_2
muon_3e-3 $at_3
muon_4e-3 $muon training.learning_rate=4e-3 training.embedding_lr_scale=2
muon_6e-3 $muon training.learning_rate=6e-3 training.embedding_lr_scale=1.5
muon_f32 $at_2 training.optimizer=muon
muon_quintic $at_2 training.muon_coefficients=quintic
muon_4_steps $at_3 training.muon_steps=4
muon_cautious $at_3 $cautious
muon_decay_to_0 $at_3 $cautious training.weight_decay_schedule=cosine_to_zero
normuon $at_3 training.muon_beta2=0.95
balance_1e-3 $at_3 model.aux_loss_weight=0.001
balance_0 $at_3 model.aux_loss_weight=0
balance_previous $at_3 distributed.balance_loss=previous_step
bias $at_3 model.aux_loss_weight=0 model.router_bias_rate=1e-3
bias_1e-2 $at_3 model.aux_loss_weight=0 model.router_bias_rate=1e-2
sigmoid $at_3 model.router_score=sigmoid
sigmoid_bias $at_3 model.router_score=sigmoid model.aux_loss_weight=0 $v3
shared $at_3 model.top_k=1 $one_of_two
dense_first $at_3 model.first_dense_layers=1
all_x4 training.embedding_lr_scale=4 training.router_lr_scale=4 training.norm_lr_scale=4
ARMS
}

mkdir -p "$out"
printf '%-24s %6s %12s %9s %9s %10s\n' arm seed validation max/mean dropped tokens/s
while read -r name settings; do
  for seed in "${seeds[@]}"; do
    folder=$out/$name-$seed
    rm -rf "$folder"
    # shellcheck disable=SC2086  # settings are words
    "$moe" train --config bench/quickstart_gpt2.yaml "${small[@]}" "${run[@]}" \
      "training.run_name=$name-$seed" "training.seed=$seed" $settings >"$folder.log" 2>&1 ||
      { tail -n 5 "$folder.log"; exit 1; }
    python3 - "$folder/metrics.jsonl" "$name" "$seed" <<'TABLE'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
loss = [row["validation_loss"] for row in rows if "validation_loss" in row][-1]
last = [row for row in rows if "loss" in row][-50:]
fullest, dropped, speed = (
    sum(row[name] for row in last) / len(last)
    for name in ("expert_load_max_over_mean", "dropped_share", "tokens_per_second")
)
print(
    f"{sys.argv[2]:24} {sys.argv[3]:>6} {loss:12.4f} {fullest:9.2f} {dropped:9.4f} {speed:10.0f}", flush=True
)
TABLE
  done
done < <(if [ -n "${ARMS:-}" ]; then cat "$ARMS"; else arms; fi)
