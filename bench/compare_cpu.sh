#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# moe against PyTorch (bench/peers/torch_cpu.py) on one CPU: the same shapes, the same threads, taking turns.
# All in f32; where the processor multiplies bf16, moe in bf16 beside them.
#
#   bench/compare_cpu.sh [threads]        all cores by default
#
# Environment: CONFIG (bench/quickstart_gpt2.yaml), MOE (build/cpu/moe), ROUNDS (3), PYTHON (python3, with the
# packages of tools/requirements-dev.txt). PyTorch first looks for its fastest variant, once in eager mode and
# once compiled; the rounds then measure only those. Run it on a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."

threads=${1:-$(nproc)}
config=${CONFIG:-bench/quickstart_gpt2.yaml}
moe=${MOE:-build/cpu/moe}
rounds=${ROUNDS:-3}
python=${PYTHON:-python3}
peer=bench/peers/torch_cpu.py

[[ -x $moe ]] || { echo "no program at $moe: build it first (make build), or set MOE" >&2; exit 2; }
"$python" -c 'import torch, yaml' 2>/dev/null ||
  { echo "$python lacks PyTorch: pip install -r tools/requirements-dev.txt, or set PYTHON" >&2; exit 2; }

# field KEY: that value of the JSON object on standard input.
field() { "$python" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# variant MODE: the options of PyTorch's fastest variant in that mode.
variant() {
  local found
  found=$("$python" $peer --config "$config" --threads "$threads" --mode "$1" --steps 3 --json)
  echo "--mode $1 --experts $(field experts <<<"$found") --head $(field head <<<"$found")" \
    "--optimizer $(field optimizer <<<"$found")"
}

# run_moe PRECISION [FIELD]
run_moe() {
  "$moe" bench --config "$config" --json training.device=cpu "training.threads=$threads" \
    "training.mixed_precision=$1" "${@:3}" | field "${2:-tokens_per_second}"
}

# run_peer OPTIONS...
run_peer() {
  "$python" $peer --config "$config" --threads "$threads" "$@" --json 2>/dev/null | field tokens_per_second
}

# What auto becomes here.
half=()
case $(run_moe auto device --steps 1) in *bf16,*) half=(bf16) ;; esac

echo "looking for PyTorch's fastest variants" >&2
read -ra eager <<<"$(variant eager)"
read -ra compiled <<<"$(variant compile)"

results=$(mktemp)
trap 'rm -f "$results"' EXIT
for ((round = 1; round <= rounds; ++round)); do
  echo "round $round of $rounds" >&2
  line="$(run_moe no) $(run_peer "${eager[@]}") $(run_peer "${compiled[@]}")"
  for precision in "${half[@]}"; do line+=" $(run_moe "$precision")"; done
  echo "$line" >>"$results"
done

processor=$(sed -n 's/^model name[[:space:]]*: //p;T;q' /proc/cpuinfo)
echo "machine   $processor, $threads threads, load $(cut -d' ' -f1 /proc/loadavg)"
echo "commit    $(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo ' (changed)'), $config"
echo "PyTorch   $("$python" -c 'import torch; print(torch.__version__)')"
echo "eager     ${eager[*]}"
echo "compiled  ${compiled[*]}"
"$python" - "$results" <<'TABLE'
import statistics, sys

rows = [[float(x) for x in line.split()] for line in open(sys.argv[1])]
half = len(rows[0]) > 3
print(f"\n{'tokens/s':10}{'moe':>12}{'eager':>12}{'compiled':>12}{'moe / best':>12}"
      + (f"{'moe bf16':>12}{'bf16 / best':>12}" if half else ""))
rows_named = [(f"round {i + 1}", row) for i, row in enumerate(rows)]
rows_named.append(("median", [statistics.median(column) for column in zip(*rows)]))
for name, (moe, *torch, bf16) in ((name, row if half else [*row, 0]) for name, row in rows_named):
    print(f"{name:10}{moe:12.0f}{torch[0]:12.0f}{torch[1]:12.0f}{moe / max(torch):12.2f}"
          + (f"{bf16:12.0f}{bf16 / max(torch):12.2f}" if half else ""))
TABLE
