#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# moe against PyTorch (bench/peers/torch_gpu.py) on one GPU: the same shapes and the same tokens a step,
# taking turns.
#
#   bench/compare_gpu.sh [OVERRIDES...]        for moe, such as training.batch_size=64
#
# Environment: CONFIG (configs/train_config.yaml), MOE (build/gpu/moe), ROUNDS (3), PYTHON (python3, with
# PyTorch),
# PEER (options for the peer, such as "--batch-size 64"). PyTorch first looks for its fastest variant.
set -euo pipefail
cd "$(dirname "$0")/.."

config=${CONFIG:-configs/train_config.yaml}
moe=${MOE:-build/gpu/moe}
rounds=${ROUNDS:-3}
python=${PYTHON:-python3}
peer=bench/peers/torch_gpu.py
read -ra peer_options <<<"${PEER:-}"

[[ -x $moe ]] ||
  { echo "no program at $moe: build it first (make build PRESET=gpu), or set MOE" >&2; exit 2; }
"$python" -c 'import torch, yaml; assert torch.cuda.is_available()' 2>/dev/null ||
  {
    echo "$python lacks PyTorch with a GPU: pip install -r tools/requirements-dev.txt, or set PYTHON" >&2
    exit 2
  }

# field KEY: that value of the JSON object on standard input.
field() { "$python" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

echo "looking for PyTorch's fastest variant" >&2
found=$("$python" $peer --config "$config" "${peer_options[@]}" --steps 2 --json)
variant=(--attention "$(field attention <<<"$found")" --head "$(field head <<<"$found")"
  --weights "$(field weights <<<"$found")")

results=$(mktemp)
trap 'rm -f "$results"' EXIT
for ((round = 1; round <= rounds; ++round)); do
  echo "round $round of $rounds" >&2
  ours=$("$moe" bench --config "$config" --json model.capacity_factor=0 "$@" | field tokens_per_second)
  theirs=$("$python" $peer --config "$config" "${peer_options[@]}" "${variant[@]}" --json 2>/dev/null)
  echo "$ours $(field tokens_per_second <<<"$theirs") $(field micro_tokens_per_second <<<"$theirs")" \
    >>"$results"
done

echo "machine   $(field gpu <<<"$found")"
changed=$(git diff --quiet HEAD 2>/dev/null || echo ' (changed)')
echo "commit    $(git rev-parse --short HEAD 2>/dev/null)$changed, $config $*"
echo "PyTorch   $(field torch <<<"$found"), ${variant[*]} ${peer_options[*]}"
"$python" - "$results" <<'TABLE'
import statistics, sys

rows = [[float(x) for x in line.split()] for line in open(sys.argv[1])]
print(f"\n{'tokens/s':10}{'moe':>12}{'PyTorch':>12}{'(no AdamW)':>12}{'moe / PyTorch':>15}")
named = [(f"round {i + 1}", row) for i, row in enumerate(rows)]
named.append(("median", [statistics.median(column) for column in zip(*rows)]))
for name, (moe, torch, micro) in named:
    print(f"{name:10}{moe:12.0f}{torch:12.0f}{micro:12.0f}{moe / torch:15.2f}")
TABLE
