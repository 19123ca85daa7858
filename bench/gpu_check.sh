#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# All that a GPU must show, one command:
#
#   bench/gpu_check.sh [STAGE...]      default: start tests bench
#
#   start      what the machine is and which kernels run there
#   tests      the tests of operations and of the model on the GPU, then those that have kernels of Hopper's
#              own again (portable: only these), with the kernels that every GPU can run
#   bench      moe bench at the full model: 32 x 1024, 64 x 1024, 16 x 2048, capacity factor 1, forced balance
#   quick      the first of these, with fewer micro-batches a step
#   layer      the MoE layer alone over 65,536 tokens (moe bench --part moe-layer)
#   peer       PyTorch's best time for the same step (bench/peers/torch_gpu.py), with moe in turn
#   curve      300 steps of real text beside PyTorch (bench/loss_curve.sh)
#   memory     the peak of configs/train_config_16gb.yaml, measured by nvidia-smi
#   sanitize   compute-sanitizer: memcheck, racecheck, initcheck, synccheck over small tests
#
# Environment: BUILD (build/gpu; a folder with moe, gpu_tests or tests/gpu), OUT (build/gpu_check: logs and
# JSON), PYTHON (python3 with PyTorch), TOKENS (a token file for `curve`), CONFIG. Each stage has a time limit
# (LIMIT, 400 s) and goes on after a failure; the last line says how many failed.
set -uo pipefail
cd "$(dirname "$0")/.."

build=${BUILD:-build/gpu}
out=${OUT:-build/gpu_check}
python=${PYTHON:-python3}
config=${CONFIG:-configs/train_config.yaml}
limit=${LIMIT:-400}
moe=$build/moe
tests=$build/tests/gpu
[ -x "$tests" ] || tests=$build/gpu_tests
export MOE_TEST_DEVICE=gpu MOE_SOURCE_DIR=$PWD XDG_CACHE_HOME=${XDG_CACHE_HOME:-$PWD/build/cache}
mkdir -p "$out"
[ -x "$moe" ] ||
  { echo "gpu_check: no program at $moe. Hint: make build PRESET=gpu, or set BUILD" >&2; exit 2; }

failed=()
# check NAME COMMAND...: its output to OUT/NAME.log; one line with the outcome and the time.
check() {
  local name=$1 started=$SECONDS status=0
  shift
  timeout "$limit" "$@" >"$out/$name.log" 2>&1 || status=$?
  local word=ok
  if [ $status = 124 ]; then
    word="STOPPED after $limit s"
  elif [ $status != 0 ]; then
    word="FAILED ($status)"
  fi
  printf '%-24s %-22s %4d s   %s\n' "$name" "$word" $((SECONDS - started)) "$out/$name.log"
  if [ $status != 0 ]; then
    failed+=("$name")
    tail -n "${TAIL:-15}" "$out/$name.log" | sed 's/^/    /'
  fi
  return $status
}

start() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap --format=csv,noheader
  check start "$moe" plan --config "$config" training.device=gpu &&
    grep -E '^memory|^  total|free now' "$out/start.log" | sed 's/^/    /'
}

# run_tests NAME FILTER [VARIABLE=VALUE...]: in shards, several at a time; a failure names its test.
run_tests() {
  local name=$1 filter=$2
  shift 2
  check "$name" env "$@" bash -c '
    shards=${SHARDS:-4}; pids=()
    for ((i = 0; i < shards; ++i)); do
      GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$i "$0" --gtest_brief=1 --gtest_filter="$1" & pids+=($!)
    done
    status=0
    for pid in "${pids[@]}"; do wait "$pid" || status=1; done
    exit $status' "$tests" "$filter"
  local passed
  passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$out/$name.log" |
    awk '{ sum += $1 } END { print sum + 0 }')
  red=$(grep -c '^\[  FAILED  \] .*)$' "$out/$name.log")
  skipped=$(grep -c '^\[  SKIPPED \] .*)$' "$out/$name.log")
  echo "    $passed passed, $red failed, $skipped skipped"
  [ "$passed" -gt 0 ] || failed+=("$name: no test ran")
}
kPortable='GroupedMatmul*:Experts*:Attention*:Model*'
tests() {
  run_tests tests '*-VectorTest*:GemmTest*:CpuDeviceTest*'  # those are of the CPU's own kernels
  portable
}
portable() { run_tests tests_portable "$kPortable" MOE_GPU_KERNELS=portable; }

# bench_one NAME OVERRIDES...: JSON to OUT/NAME.json and the table's first lines.
bench_one() {
  local name=$1
  shift
  check "$name" bash -c '"$0" bench --config "$1" --json training.device=gpu "${@:3}" >"$2"' \
    "$moe" "$config" \
    "$out/$name.json" "$@" || return
  "$python" - "$out/$name.json" <<'TABLE'
import json, sys
r = json.load(open(sys.argv[1]))
print(f"    {r['tokens_per_second']:.0f} tokens/s, {r['step_ms']:.1f} ms a step, "
      f"first step after {r['first_step_s']:.1f} s, "
      f"{1e-3 * r['gflops']:.0f} of {1e-3 * r['machine_gflops']:.0f} TFLOP/s, "
      f"{r['memory_bytes'] / 2**30:.1f} GiB")
for name, p in r["phases"].items():
    print(f"    {name:14}{p['ms']:10.1f} ms{1e-3 * p['gflops']:8.0f} TFLOP/s{p['gbytes']:8.0f} GB/s"
          f"{100 * p['floor_ms'] / p['ms']:6.0f} % of its floor")
TABLE
}
bench() {
  bench_one bench_32x1024 model.capacity_factor=0
  bench_one bench_64x1024 model.capacity_factor=0 training.batch_size=64 \
    training.gradient_accumulation_steps=8
  bench_one bench_16x2048 model.capacity_factor=0 training.batch_size=16 model.max_seq_len=2048
  bench_one bench_capacity model.capacity_factor=1 training.gradient_accumulation_steps=4
  bench_one bench_balanced --forced-balance model.capacity_factor=0 training.gradient_accumulation_steps=4
}
quick() { bench_one bench_quick model.capacity_factor=0 training.gradient_accumulation_steps=4; }

layer() {
  check layer "$moe" bench --config "$config" --part moe-layer training.device=gpu model.capacity_factor=0 &&
    sed 's/^/    /' "$out/layer.log"
}
peer() {
  CONFIG=$config MOE=$moe PYTHON=$python ROUNDS=${ROUNDS:-2} check peer bench/compare_gpu.sh &&
    tail -n 12 "$out/peer.log"
}
curve() {
  CONFIG=$config MOE=$moe PYTHON=$python TOKENS=${TOKENS:-} check curve bench/loss_curve.sh "$out/curve" &&
    tail -n 12 "$out/curve.log"
}

# The highest memory that nvidia-smi sees the GPU use while the program runs, beside what the program planned.
memory() {
  check memory bash -c '
    "$0" bench --config "$1" --steps 2 --warmup 1 --json training.device=gpu "${@:2}" >"$OUT/memory.json" &
    pid=$!
    most=0
    while kill -0 $pid 2>/dev/null; do
      used=$(nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits | head -1)
      [ "$used" -gt "$most" ] && most=$used
      sleep 0.1
    done
    wait $pid && echo "peak of the whole GPU: $most MiB"' "$moe" configs/train_config_16gb.yaml \
    training.gradient_accumulation_steps=2 && tail -n 1 "$out/memory.log" | sed 's/^/    /'
}

# Small tests of each family; racecheck and synccheck look at shared memory and barriers only.
kSmall='Norm*:Router*:Permute*:Swiglu*:Attention*:Experts*:GroupedMatmul*:Loss*:Gate*:AdamW8*:Muon*'
kSmall=${SANITIZE_FILTER:-$kSmall}
sanitize() {
  local sanitizer tool
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  for tool in ${SANITIZE_TOOLS:-memcheck racecheck initcheck synccheck}; do
    check "sanitize_$tool" "$sanitizer" --tool "$tool" --error-exitcode 9 "$tests" --gtest_brief=1 \
      --gtest_filter="$kSmall-*FiniteDifferences*:*Gradient*"
    grep -E 'ERROR SUMMARY|RACECHECK SUMMARY|PASSED' "$out/sanitize_$tool.log" | sed 's/^/    /'
  done
}

export OUT=$out
stages=("$@")
[ $# -gt 0 ] || stages=(start tests bench)
for stage in "${stages[@]}"; do
  case $stage in
    start | tests | portable | bench | quick | layer | peer | curve | memory | sanitize) ;;
    *) echo "gpu_check: no stage '$stage'; see the head of $0" >&2; exit 2 ;;
  esac
done
for stage in "${stages[@]}"; do "$stage"; done
echo "gpu_check: ${#failed[@]} failed${failed[*]:+: ${failed[*]}}"
[ ${#failed[@]} = 0 ]
