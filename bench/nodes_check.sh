#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# bench/nodes_check.sh [MOE]: training on two "nodes" of one machine, started as on two machines.
#   RANKS_ON=cpu (the default): two network namespaces with addresses of their own, joined by a virtual cable;
#     mpirun starts two ranks on each and they talk over it. Needs root, iproute2 and a moe built with MPI
#     (build/cpu/moe).
#   RANKS_ON=gpu: two GPUs that NCCL takes for two hosts, so that it goes by sockets; started by torchrun, by
#     what mpirun puts into the environment, and by what srun puts there (build/gpu/moe; PYTHON has PyTorch,
#     for torchrun).
# Each must have the losses of the same ranks on one node: the same bits on CPUs, within 0.001 on GPUs. A
# failure does not stop what follows it; the last line says how many failed.
set -uo pipefail
cd "$(dirname "$0")/.."
on=${RANKS_ON:-cpu}
moe=$(realpath "${1:-build/$on/moe}")
python=${PYTHON:-python3}
work=$(mktemp -d)
failed=0
settings=(--config "$PWD/configs/quickstart.yaml" "training.device=$on" training.max_steps=12
  training.warmup_steps=2 training.eval_every=0 training.mixed_precision=no
  training.batch_size=4 training.checkpoint_every=5 model.max_seq_len=64
  training.gradient_accumulation_steps=2
  distributed.layout=expert "training.output_dir=$work")
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# check NAME WORDS...: the run NAME against `near`. WORDS must be in its log.
check() {
  local name=$1 words=$2
  if ! grep -q -- "$words" "$work/$name.log"; then
    echo "$name: its log does not say \"$words\""
    failed=$((failed + 1))
  fi
  if ! "$python" - "$work/near/metrics.jsonl" "$work/$name/metrics.jsonl" "$on" "$name" <<'PY'; then
import json, sys
def losses(path):
    return [row["loss"] for row in map(json.loads, open(path)) if "loss" in row]
near, far = losses(sys.argv[1]), losses(sys.argv[2])
most = max(abs(a - b) for a, b in zip(near, far))
print(f"{sys.argv[4]}: {len(far)} steps, last loss {far[-1]:.6f}; largest difference to one node {most:.3g}")
sys.exit(len(near) != len(far) or most > (0 if sys.argv[3] == "cpu" else 1e-3))
PY
    tail -n 15 "$work/$name.log" | sed 's/^/    /'
    failed=$((failed + 1))
  fi
}

tidy() {
  for node in 0 1; do
    ip netns pids "moe$node" 2>/dev/null | xargs -r kill 2>/dev/null
    ip netns delete "moe$node" 2>/dev/null
  done
  rm -rf "$work"
}
trap tidy EXIT

if [ "$on" = cpu ]; then
  mpirun --oversubscribe -n 4 "$moe" train "${settings[@]}" training.run_name=near >"$work/near.log" 2>&1 ||
    { tail -n 15 "$work/near.log"; exit 1; }
  for node in 0 1; do ip netns add "moe$node" || exit 1; done
  ip link add moe-a netns moe0 type veth peer name moe-b netns moe1 || exit 1
  ip -n moe0 addr add 10.77.0.1/24 dev moe-a
  ip -n moe1 addr add 10.77.0.2/24 dev moe-b
  for node in 0 1; do
    ip -n "moe$node" link set lo up
    ip -n "moe$node" link set "$([ $node = 0 ] && echo moe-a || echo moe-b)" up
  done
  # mpirun's way to another machine (ssh's place): HOST COMMAND...
  cat >"$work/agent" <<'SH'
#!/bin/sh
case $1 in 10.77.0.1) node=moe0 ;; 10.77.0.2) node=moe1 ;; *) exit 1 ;; esac
shift
exec ip netns exec $node sh -c "$*"
SH
  chmod +x "$work/agent"
  # No shared memory between the two: what they say to each other goes over the cable.
  before=$(ip netns exec moe0 cat /sys/class/net/moe-a/statistics/tx_bytes)
  ip netns exec moe0 mpirun --host 10.77.0.1:2,10.77.0.2:2 --mca plm_rsh_agent "$work/agent" \
    --mca btl tcp,self \
    --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
    "$moe" train "${settings[@]}" training.run_name=mpirun >"$work/mpirun.log" 2>&1
  check mpirun "ranks over MPI"
  sent=$(($(ip netns exec moe0 cat /sys/class/net/moe-a/statistics/tx_bytes) - before))
  echo "the first node sent $((sent / 1000000)) MB to the second"
  if [ "$sent" -lt 1000000 ]; then failed=$((failed + 1)); fi
else
  RANKS=2 MOE=$moe ./run_training.sh "${settings[@]}" training.run_name=near >"$work/near.log" 2>&1 ||
    { tail -n 15 "$work/near.log"; exit 1; }
  # together NAME VARIABLES...: each node with its GPU; %N stands for the node's number.
  together() {
    local name=$1 node pids=()
    shift
    for node in 0 1; do
      env NCCL_HOSTID="node$node" NCCL_SOCKET_IFNAME=lo NCCL_DEBUG=INFO CUDA_VISIBLE_DEVICES=$node \
        "${@//%N/$node}" \
        train "${settings[@]}" "training.run_name=$name" >"$work/$name$node.log" 2>&1 &
      pids+=($!)
    done
    wait "${pids[@]}"
    cat "$work/$name"[01].log >"$work/$name.log"
    check "$name" "via NET/Socket"
  }
  port=$((20000 + RANDOM % 10000))
  together torchrun "$python" -m torch.distributed.run --no-python --nnodes 2 --node-rank %N \
    --nproc-per-node 1 \
    --master-addr 127.0.0.1 --master-port $port "$moe"
  together mpirun OMPI_COMM_WORLD_RANK=%N OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=0 \
    OMPI_COMM_WORLD_LOCAL_SIZE=1 \
    PMIX_NAMESPACE=nodes MASTER_ADDR=127.0.0.1 MASTER_PORT=$((port + 1)) "$moe"
  together srun SLURM_PROCID=%N SLURM_STEP_NUM_TASKS=2 SLURM_LOCALID=0 'SLURM_STEP_TASKS_PER_NODE=1(x2)' \
    SLURM_NODEID=%N \
    SLURM_STEP_NODELIST=127.0.0.1,127.0.0.2 SLURM_JOB_ID=$port SLURM_STEP_ID=0 "$moe"
fi
echo "$failed failed"
[ $failed = 0 ]
