#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Trains from a server on this machine that behaves as the Hugging Face hub does (tests/support/hub_server.py: listings,
# redirects to signed URLs that expire, ranges), and prints how much of the time the steps waited for data.
#
#   bench/data_run.sh FILE.parquet [MINUTES] [OVERRIDES...]     10 minutes; such as training.batch_size=64
#
# FILE: documents in a column "text". `bench/peers/data_peers.py make FILE` makes one like FineWeb-Edu's; a part of it
# will do: its documents are dealt anew, by a seed, to FILES files of row groups of 1,000.
# Environment: CONFIG (configs/train_config.yaml), MOE (build/gpu/moe), FILES (14), FAULTS (0: the share of requests that
# fail), PYTHON (python3, with pyarrow). Needs no network and leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."

config=${CONFIG:-configs/train_config.yaml}
moe=${MOE:-build/gpu/moe}
python=${PYTHON:-python3}
[[ $# -ge 1 && -r $1 ]] || { echo "usage: bench/data_run.sh FILE.parquet [MINUTES] [OVERRIDES...]" >&2; exit 2; }
file=$1 minutes=${2:-10}
shift $(($# < 2 ? 1 : 2))
[[ -x $moe ]] || { echo "no program at $moe: build it first (make build PRESET=gpu), or set MOE" >&2; exit 2; }
"$python" -c 'import pyarrow.parquet' 2>/dev/null ||
  { echo "$python lacks pyarrow: pip install pyarrow, or set PYTHON" >&2; exit 2; }

work=$(mktemp -d)
server=
cleanup() {
  [[ -z $server ]] || kill "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

folder=$work/hub/datasets/local/text/data
mkdir -p "$folder"
"$python" - "$file" "$folder" "${FILES:-14}" <<'PYTHON'
import random
import sys

import pyarrow as pa
import pyarrow.parquet as pq

source, folder, files = sys.argv[1], sys.argv[2], int(sys.argv[3])
table = pq.read_table(source)
size = documents = groups = 0
for i in range(files):  # each holds all documents, in an order of its own
    order = list(range(table.num_rows))
    random.Random(i).shuffle(order)
    name = f"{folder}/{i:03}_00000.parquet"
    # One dictionary page holds the texts of a row group, as in FineWeb-Edu.
    pq.write_table(table.take(pa.array(order)), name, row_group_size=1000, compression="snappy",
                   dictionary_pagesize_limit=64 << 20)
    footer = pq.read_metadata(name)
    documents += footer.num_rows
    groups += footer.num_row_groups
print(f"{files} files, {groups} row groups, {documents} documents", file=sys.stderr)
PYTHON

mkfifo "$work/input"
exec 3<>"$work/input"  # the server ends when nobody holds its standard input open
"$python" tests/support/hub_server.py "$work/hub" --expires-after 200 <"$work/input" >"$work/port" 3>&- &
server=$!
for _ in {1..100}; do
  [[ -s $work/port ]] && break
  sleep 0.1
done
port=$(cat "$work/port")
if [[ ${FAULTS:-0} != 0 ]]; then
  "$python" - "$port" "$FAULTS" <<'PYTHON'
import json
import sys
import urllib.parse
import urllib.request

plan = {"rate": float(sys.argv[2]), "seed": 1, "seconds": 1, "scope": "cdn",
        "kinds": ["429", "500", "503", "close", "reset", "truncate", "reset-body", "short-range"]}
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
opener.open(f"http://localhost:{sys.argv[1]}/_control?" + urllib.parse.quote(json.dumps(plan))).read()
PYTHON
fi

# Nothing of the run is kept, so it is ended without saving.
status=0
no_proxy='*' HF_ENDPOINT=http://localhost:$port HF_HUB_CACHE=$work/cache HF_TOKEN=none \
  timeout --signal=KILL "${minutes}m" "$moe" train --config "$config" data.source=hf://datasets/local/text/data \
  data.text_column=text data.validation_fraction=0.01 training.max_steps=100000000 training.checkpoint_every=0 \
  training.eval_every=0 training.output_dir="$work/runs" training.run_name=data_run "$@" >&2 || status=$?
[[ $status == 137 ]] || { echo "the run ended by itself (exit $status)" >&2; exit 1; }

"$python" - "$work/runs/data_run/metrics.jsonl" <<'PYTHON'
import json
import sys

rows = []
for line in open(sys.argv[1]):
    try:
        row = json.loads(line)
    except ValueError:  # cut by the end of the run
        continue
    if "data_wait_seconds" in row:
        rows.append(row)
if len(rows) < 2:
    sys.exit("fewer than two steps: give it more minutes")


def share(part):
    return 100 * sum(r["data_wait_seconds"] for r in part) / sum(r["step_seconds"] for r in part)


later = rows[1:]
seconds = sum(r["step_seconds"] for r in later)
tokens = later[-1]["tokens"] - rows[0]["tokens"]
print(f"steps {len(rows)}, {sum(r['step_seconds'] for r in rows):.1f} s, {tokens / seconds:,.0f} tokens/s after the first")
print(f"data wait {share(rows):.3f} % of all steps, {share(later):.3f} % after the first")
print(f"longest wait after the first {max(r['data_wait_seconds'] for r in later):.3f} s; "
      f"queue at the start of a step: lowest {min(r['data_queue'] for r in later)}, "
      f"mean {sum(r['data_queue'] for r in later) / len(later):.1f}")
last = rows[-1]
print(f"requests {last.get('network_requests', 0)}, retries {last.get('network_retries', 0)}, "
      f"{last.get('network_bytes', 0) / 1e6:.1f} MB received")
PYTHON
