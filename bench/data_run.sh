#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Trains from a server on this machine that behaves as the Hugging Face hub does (tests/support/hub_server.py:
# listings, redirects to signed URLs that expire, ranges), with every sink of metrics on: the record, the
# terminal, TensorBoard, and Weights & Biases online against tests/support/wandb_server.py. Prints how much of
# the time the steps waited for data and for the sinks.
#
#   bench/data_run.sh FILE.parquet [MINUTES] [OVERRIDES...]     10 minutes; such as training.batch_size=64
#
# FILE: documents in a column "text". `bench/peers/data_peers.py make FILE` makes one like FineWeb-Edu's. The
# hub has it FILES times, each with other bytes between data and footer: other files to everybody but the
# reader of Parquet.
# Environment: CONFIG (configs/train_config.yaml), MOE (build/gpu/moe), FILES (14), FAULTS (0: the share of
# requests for data that fail), SINKS (all; none: only the record and the terminal), PYTHON (python3, its
# standard library only),
# TMPDIR (room for FILES times the file). Needs no network and leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."

config=${CONFIG:-configs/train_config.yaml}
moe=${MOE:-build/gpu/moe}
python=${PYTHON:-python3}
sinks=${SINKS:-all}
[[ $# -ge 1 && -r $1 ]] ||
  { echo "usage: bench/data_run.sh FILE.parquet [MINUTES] [OVERRIDES...]" >&2; exit 2; }
[[ $sinks == all || $sinks == none ]] || { echo "SINKS is all or none" >&2; exit 2; }
file=$1 minutes=${2:-10}
shift $(($# < 2 ? 1 : 2))
[[ -x $moe ]] ||
  { echo "no program at $moe: build it first (make build PRESET=gpu), or set MOE" >&2; exit 2; }

work=$(mktemp -d)
servers=()
cleanup() {
  [[ ${#servers[@]} == 0 ]] || kill "${servers[@]}" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

folder=$work/hub/datasets/local/text/data
mkdir -p "$folder"
"$python" - "$file" "$folder" "${FILES:-14}" <<'PYTHON'
import sys

source, folder, files = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = open(source, "rb").read()
if data[:4] != b"PAR1" or data[-4:] != b"PAR1":
    sys.exit(f"{source} is no Parquet file")
# places are counted from the start, the footer's from the end
footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
for i in range(files):
    with open(f"{folder}/{i:03}_00000.parquet", "wb") as out:
        out.write(data[:footer] + b"copy %08d" % i + data[footer:])
print(f"hub: {files} files of {len(data) / 1e6:.1f} MB", file=sys.stderr)
PYTHON

# serve NAME PROGRAM...: its port in `port`. A server ends when nobody holds its standard input open.
mkfifo "$work/input"
exec 3<>"$work/input"
serve() {
  local name=$1
  shift
  "$python" "$@" <"$work/input" >"$work/$name.port" 3>&- &
  servers+=($!)
  for _ in {1..100}; do
    [[ -s $work/$name.port ]] && break
    sleep 0.1
  done
  port=$(cat "$work/$name.port")
  [[ $port ]] || { echo "$1 did not start" >&2; exit 1; }
}
serve hub tests/support/hub_server.py "$work/hub" --expires-after 200
hub=http://localhost:$port
ask='import sys, urllib.parse, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(sys.argv[1] + "/_control?" + urllib.parse.quote(sys.argv[2])).read().decode())'
if [[ ${FAULTS:-0} != 0 ]]; then
  "$python" -c "$ask" "$hub" '{"rate": '"$FAULTS"', "seed": 1, "seconds": 1, "scope": "cdn", "kinds":
    ["429", "500", "503", "close", "reset", "truncate", "reset-body", "short-range"]}' >"$work/plan"
fi
watched=()
wandb=
if [[ $sinks == all ]]; then
  serve wandb tests/support/wandb_server.py
  wandb=http://127.0.0.1:$port
  watched=(logging.tensorboard=true logging.wandb_mode=online logging.wandb_project=bench)
fi

# Nothing of the run is kept, so it is ended without saving.
status=0
no_proxy='*' HF_ENDPOINT=$hub HF_HUB_CACHE=$work/cache HF_TOKEN=none \
  WANDB_BASE_URL=$wandb WANDB_RUN_ID=bench \
  WANDB_API_KEY=0000000000000000000000000000000000000000 \
  timeout --signal=KILL "${minutes}m" "$moe" train --config "$config" \
  data.source=hf://datasets/local/text/data data.text_column=text data.validation_fraction=0.01 \
  training.max_steps=100000000 training.checkpoint_every=0 training.eval_every=0 \
  training.output_dir="$work/runs" training.run_name=data_run "${watched[@]}" "$@" >&2 || status=$?
[[ $status == 137 ]] || { echo "the run ended by itself (exit $status)" >&2; exit 1; }
[[ ! $wandb ]] || "$python" -c "$ask" "$wandb" '{}' >"$work/wandb.json"

"$python" - "$work" <<'PYTHON'
import json
import sys
from pathlib import Path

work = Path(sys.argv[1])
run = work / "runs/data_run"
rows = []
for line in (run / "metrics.jsonl").open():
    try:
        row = json.loads(line)
    except ValueError:  # cut by the end of the run
        continue
    if "data_wait_seconds" in row:
        rows.append(row)
if len(rows) < 3:
    sys.exit("fewer than three steps: give it more minutes")

# seconds/report of a row is of the row before: the last row's is not known, the first row has none.
steps = rows[1:]
seconds = sum(r["step_seconds"] for r in steps)
waits = [r["data_wait_seconds"] for r in steps]
reports = [r["seconds/report"] for r in steps]
tokens = steps[-1]["tokens"] - rows[0]["tokens"]
print(f"{len(rows)} steps; the first took {rows[0]['step_seconds']:.2f} s, "
      f"of it {rows[0]['data_wait_seconds']:.2f} s waiting "
      f"for data; the others {1e3 * seconds / len(steps):.1f} ms each, {tokens / seconds:,.0f} tokens/s:")
for name, part in (("data wait", waits), ("sinks", reports)):
    print(f"  {name:9} {100 * sum(part) / seconds:8.4f} %   mean {1e3 * sum(part) / len(part):8.3f} ms   "
          f"longest {1e3 * max(part):8.3f} ms")
last = rows[-1]
queue = [r["data_queue"] for r in steps]
print(f"  batches ready when a step began: lowest {min(queue)}, mean {sum(queue) / len(queue):.1f}; requests "
      f"{last.get('network_requests', 0)}, retries {last.get('network_retries', 0)}, "
      f"{last.get('network_bytes', 0) / 1e6:.1f} MB")
if (work / "wandb.json").exists():
    seen = json.loads((work / "wandb.json").read_text())
    lines = seen["runs"]["bench"]["files"].get("wandb-history.jsonl", [])
    history = [json.loads(line)["_step"] for line in lines]
    whole = history == [r["step"] for r in rows][:len(history)]
    events = sum(f.stat().st_size for f in (run / "tensorboard").iterdir())
    print(f"  W&B: {len(history)} steps had arrived when the run was killed, "
          f"{'once and in order' if whole else 'NOT IN ORDER'}, "
          f"{len(seen['violations'])} violations; TensorBoard: {events / 1e3:.1f} KB")
    if not whole or seen["violations"] or not history:
        sys.exit(1)
PYTHON
