#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench/ranks_check.sh [RANKS] [MOE]: what several GPUs of one machine must show (2 and build/gpu/moe). With RANKS_ON=cpu the
# same over MPI. 1. The losses of one rank and of RANKS ranks on the same rows. 2. Tokens/s at the same micro-batch, and
# the scaling. 3. A rank killed at a random moment: the others name it and end; the run goes on to the same losses.
# Settings of the speed measurement: CONFIG (configs/train_config.yaml in bf16 on GPUs), BATCH, STEPS.
set -euo pipefail
cd "$(dirname "$0")/.."
ranks=${1:-2}
export MOE=${2:-build/gpu/moe}
on=${RANKS_ON:-gpu}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rows=$((4 * ranks))
small=(--config configs/quickstart.yaml "training.device=$on" training.max_steps=30 training.eval_every=0 model.aux_loss_weight=0
  training.optimizer=adamw training.checkpoint_every=10 "training.output_dir=$work" logging.tensorboard=false)

train() { # NAME RANKS ARGUMENTS...
  local name=$1 count=$2
  shift 2
  RANKS=$count ./run_training.sh "$@" "training.run_name=$name" >"$work/$name.log" 2>&1
}
check() { # NAME STATUS
  if [ "$2" != 0 ]; then
    tail -n 20 "$work/$1.log" >&2
    exit 1
  fi
}
largest_difference() {
  python3 - "$work/$1/metrics.jsonl" "$work/$2/metrics.jsonl" <<'PY'
import json, sys
def losses(path):
    rows = [json.loads(line) for line in open(path)]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}
a, b = map(losses, sys.argv[1:3])
print(f"{len(a)} and {len(b)} steps, last loss {a[max(a)]:.6f} and {b[max(b)]:.6f}, "
      f"largest difference {max(abs(a[s] - b[s]) for s in a):.3g}")
assert a.keys() == b.keys() and max(abs(a[s] - b[s]) for s in a) < 1e-2
PY
}
tokens_per_second() {
  python3 - "$work/$1/metrics.jsonl" <<'PY'
import json, statistics, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
print(round(statistics.median([row["tokens_per_second"] for row in rows if "loss" in row][5:])))
PY
}

train one 1 "${small[@]}" "training.batch_size=$rows" && status=0 || status=$?
check one $status
train many "$ranks" "${small[@]}" "training.batch_size=4" && status=0 || status=$?
check many $status
grep -h '^ranks' "$work/many.log"
echo "losses, 1 and $ranks ranks: $(largest_difference one many)"

train killed "$ranks" "${small[@]}" "training.batch_size=4" &
job=$!
sleep "${KILL_AFTER:-6}"
victim=$(pgrep -f "$MOE train .*run_name=killed" | tail -n 1 || true)
if [ -n "$victim" ]; then kill -9 "$victim"; fi
began=$SECONDS
wait $job && status=0 || status=$?
echo "kill -9: all ended $((SECONDS - began)) s later, exit status $status"
grep -h -E 'rank [0-9]+ of|signal 9' "$work/killed.log" || true
RANKS=$ranks ./run_training.sh --resume "$work/killed" >"$work/again.log" 2>&1 || check again $?
echo "resumed: $(largest_difference many killed)"

config=${CONFIG:-configs/train_config.yaml}
full=(--config "$config" "training.device=$on" "training.max_steps=${STEPS:-25}" training.warmup_steps=5 training.eval_every=0
  training.checkpoint_every=0 "training.output_dir=$work" "training.batch_size=${BATCH:-16}"
  data.source=/usr/share/dictd/gcide.dict.dz data.format=text data.document_split=unindented)
if [ "$on" = gpu ]; then full+=(training.mixed_precision=bf16); fi
train alone 1 "${full[@]}" && status=0 || status=$?
check alone $status
train together "$ranks" "${full[@]}" && status=0 || status=$?
check together $status
alone=$(tokens_per_second alone) together=$(tokens_per_second together)
echo "tokens/s, $config, batch ${BATCH:-16} a rank: 1 rank $alone, $ranks ranks $together, scaling $((100 * together / (ranks * alone))) %"
