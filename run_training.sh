#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# run_training.sh [OPTIONS OF moe train...]: trains on all GPUs of this machine, one process each, or on its
# CPU where there is none; without options, the quickstart. RANKS=N takes N GPUs, or N processes over MPI on a
# CPU. MOE names the program. SIGTERM and Ctrl-C save and end all ranks. The exit status is that of the rank
#   that failed first, or 0. ./run_training.sh --config configs/train_config.yaml training.batch_size=16
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- --config "$here/configs/quickstart.yaml"

moe=${MOE:-}
for candidate in "$here/build/gpu/moe" "$here/build/cpu/moe" "$(command -v moe || true)"; do
  if [ -z "$moe" ] && [ -x "$candidate" ]; then moe=$candidate; fi
done
if [ -z "$moe" ]; then
  echo "run_training: no program moe in build/ or on the path. Hint: make build" >&2
  exit 1
fi

gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU ' || true)
ranks=${RANKS:-$((gpus > 0 ? gpus : 1))}
if [ "$ranks" -le 1 ]; then exec "$moe" train "$@"; fi
if [ "$gpus" = 0 ]; then
  # one second from SIGTERM to SIGKILL, mpirun's habit, may be too short for a checkpoint
  exec mpirun --oversubscribe --mca odls_base_sigkill_timeout 30 -n "$ranks" "$moe" train "$@"
fi
if [ "$ranks" -gt "$gpus" ]; then
  echo "run_training: RANKS=$ranks, and this machine has $gpus GPUs" >&2
  exit 1
fi

place=$(mktemp)
rm -f "$place" # rank 0 makes it when it listens
pids=()
for ((rank = 0; rank < ranks; ++rank)); do
  "$moe" train "$@" --rank "$rank" --world-size "$ranks" --rendezvous "file:$place" &
  pids+=($!)
done
trap 'kill -TERM "${pids[@]}" 2>/dev/null' TERM INT

status=0
while [ ${#pids[@]} -gt 0 ]; do
  wait -n -p ended "${pids[@]}"
  code=$?
  [ -n "${ended:-}" ] || continue # a trap interrupted it while all still run
  if [ "$status" = 0 ]; then status=$code; fi
  left=()
  for pid in "${pids[@]}"; do if [ "$pid" != "$ended" ]; then left+=("$pid"); fi; done
  pids=("${left[@]}")
done
rm -f "$place"
exit "$status"
