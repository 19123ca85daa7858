#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench/ranks_check.sh [RANKS] [MOE]: what several GPUs of one machine must show (2 and build/gpu/moe). With
# RANKS_ON=cpu the same over MPI. For each of LAYOUTS (data_parallel zero1 expert+ expert):
#   1. the losses of one rank and of RANKS ranks on the same rows;
#   2. tokens/s at the same micro-batch, and the scaling.
# "expert+" is expert with distributed.overlap; "zero1-" is zero1 in one bucket, so that no gradient sets out
# before backward has ended: what transfers beside passes are worth. Between the two, tools/check_kills.py
# kills a rank of the last layout KILLS times. Last, where PEER=1, PyTorch's DistributedDataParallel with the
# peer's model on the same GPUs.
# SPEED=0 leaves the second out. Its settings: CONFIG (configs/train_config.yaml in bf16 on GPUs), BATCH,
# MICRO (micro-batches a step), STEPS. PYTHON has PyTorch, for PEER. A failure does not stop what follows it;
# the last line says how many failed.
set -uo pipefail
cd "$(dirname "$0")/.."
ranks=${1:-2}
export MOE=${2:-build/gpu/moe}
on=${RANKS_ON:-gpu}
python=${PYTHON:-python3}
layouts=${LAYOUTS:-data_parallel zero1 expert+ expert}
config=${CONFIG:-configs/train_config.yaml}
batch=${BATCH:-16}
micro=${MICRO:-16}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# train NAME RANKS ARGUMENTS...: a run whose output is a file, of which the end is shown when it fails.
train() {
  local name=$1 count=$2 status=0
  shift 2
  RANKS=$count ./run_training.sh "$@" "training.run_name=$name" >"$work/$name.log" 2>&1 || status=$?
  if [ $status != 0 ]; then
    echo "$name: exit status $status"
    tail -n 20 "$work/$name.log" | sed 's/^/    /'
    failed=$((failed + 1))
  fi
  return $status
}
# The settings of a layout.
settings_of() {
  echo "distributed.layout=${1%[+-]}"
  case $1 in
    *+) echo distributed.overlap=true ;;
    *-) echo distributed.bucket_mb=1000000 ;;
  esac
}
largest_difference() {
  "$python" - "$work/$1/metrics.jsonl" "$work/$2/metrics.jsonl" <<'PY'
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
  "$python" - "$work/$1/metrics.jsonl" <<'PY'
import json, statistics, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
print(round(statistics.median([row["tokens_per_second"] for row in rows if "loss" in row][5:])))
PY
}

small=(--config bench/quickstart_gpt2.yaml "training.device=$on" training.max_steps=30
  training.warmup_steps=5 training.eval_every=0 training.mixed_precision=no model.aux_loss_weight=0
  training.optimizer=adamw training.checkpoint_every=0 "training.output_dir=$work" logging.tensorboard=false)
train one 1 "${small[@]}" "training.batch_size=$((4 * ranks))"
for layout in $layouts; do
  # shellcheck disable=SC2046 # one word for each setting
  train "many_$layout" "$ranks" "${small[@]}" $(settings_of "$layout") training.batch_size=2 \
    training.gradient_accumulation_steps=2 || continue
  difference=$(largest_difference one "many_$layout") || failed=$((failed + 1))
  echo "losses, 1 rank and $ranks ranks under $layout: $difference"
done

last=${layouts##* }
"$python" tools/check_kills.py "$ranks:${KILLS:-4}" --device "$on" --moe "$MOE" \
  --set "distributed.layout=${last%[+-]}" ||
  failed=$((failed + 1))

if [ "${SPEED:-1}" = 1 ]; then
  full=(--config "$config" "training.device=$on" "training.max_steps=${STEPS:-25}"
    training.warmup_steps=5 training.eval_every=0
    training.checkpoint_every=0 "training.output_dir=$work" "training.batch_size=$batch"
    "training.gradient_accumulation_steps=$micro" data.source=/usr/share/dictd/gcide.dict.dz data.format=text
    data.document_split=unindented)
  if [ "$on" = gpu ]; then full+=(training.mixed_precision=bf16); fi
  echo "tokens/s, $config, $micro micro-batches of $batch a rank:"
  train alone 1 "${full[@]}" && alone=$(tokens_per_second alone) && echo "  1 rank               $alone"
  for layout in $layouts; do
    # shellcheck disable=SC2046
    train "together_$layout" "$ranks" "${full[@]}" $(settings_of "$layout") || continue
    together=$(tokens_per_second "together_$layout")
    printf '  %d ranks %-13s%s, scaling %d %%\n' "$ranks" "$layout" "$together" \
      $((100 * together / (ranks * ${alone:-1})))
  done
  if [ "${PEER:-0}" = 1 ]; then
    peer=(--config "$config" --batch-size "$batch" --accumulate "$micro" --attention cudnn
      --head full --weights half --steps 3)
    for count in 1 "$ranks"; do
      "$python" -m torch.distributed.run --nproc_per_node="$count" bench/peers/torch_gpu.py \
        "${peer[@]}" 2>&1 |
        grep -E '(step .* tokens/s|Error)' | sed "s/^/  PyTorch DDP, $count: /"
    done
  fi
fi
echo "$failed failed"
[ $failed = 0 ]
