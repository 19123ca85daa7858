#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the W&B folder of a run against wandb's own code and against metrics.jsonl: the installed `wandb sync` reads the
.wandb file and uploads it to tests/support/wandb_server.py on the loopback; what arrives there must be the rows of the
record, each step once and in order. Where the installed wandb still has its Python reader (up to 0.21), that reads the
file as well; another folder with such a version may be named.

usage: tools/check_wandb.py RUN [--reader FOLDER_WITH_WANDB_0.21]      needs: pip install wandb
"""
import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
OWN = {"step", "_step", "_runtime", "_timestamp"}
DECODE = """
import json, sys
from wandb.sdk.internal.datastore import DataStore
from wandb.proto import wandb_internal_pb2 as pb
store = DataStore()
store.open_for_scan(sys.argv[1])
while (data := store.scan_data()) is not None:
    record = pb.Record()
    record.ParseFromString(data)
    items = {item.key: item.value_json for item in record.history.item} if record.HasField("history") else None
    print(json.dumps([record.num, record.WhichOneof("record_type"), items]))
"""


def load_histogram(layers):
    bars = [0] * 32
    for counts in layers:
        total = sum(counts)
        for count in counts:
            bars[min(31, int(count * len(counts) / total / 0.125) if total else 0)] += 1
    return bars


def expected_history(metrics):
    """Step -> key -> number or list: the rows of a step together, lists as the bars that W&B draws."""
    steps = {}
    for line in metrics.read_text().splitlines():
        row = json.loads(line)
        if "alert" in row:
            continue
        step = steps.setdefault(row.pop("step"), {})
        for key, value in row.items():
            if isinstance(value, str):
                value = WORDS.get(value, value)
            elif isinstance(value, list) and value and isinstance(value[0], list):
                key, value = key.rpartition("/")[0] + "/expert_load", load_histogram(value)
            elif isinstance(value, list):
                value = [v if not isinstance(v, str) and v > 0 else 0 for v in value]
            step.setdefault(key, value)
    return steps


def equal(one, other):
    if isinstance(other, dict):
        return other.get("_type") == "histogram" and list(one) == other["values"]
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return one == other


def compare(history, expected, what):
    assert [row["_step"] for row in history] == sorted(expected), f"{what}: steps differ"
    values = 0
    for row in history:
        want = expected[row["_step"]]
        assert set(row) - OWN == set(want), f"{what}, step {row['_step']}: keys {set(row) - OWN ^ set(want)}"
        for key, value in want.items():
            assert equal(value, row[key]), f"{what}, step {row['_step']}, {key}: {value} is {row[key]}"
            values += 1
        assert row["step"] == row["_step"] and row["_timestamp"] > 1.6e9 and row["_runtime"] >= 0
    print(f"{what}: {len(history)} steps, {values} values equal to metrics.jsonl")


def read_with_python(records, reader, expected):
    environment = dict(os.environ, PYTHONPATH=str(reader)) if reader else os.environ
    found = subprocess.run([sys.executable, "-c", DECODE, str(records)], env=environment, capture_output=True, text=True)
    if found.returncode != 0:
        print("this wandb has no Python reader:", found.stderr.strip().splitlines()[-1])
        return
    decoded = [json.loads(line) for line in found.stdout.splitlines()]
    assert [number for number, _, _ in decoded] == list(range(1, len(decoded) + 1)), "records are not numbered from 1"
    kinds = [kind for _, kind, _ in decoded]
    assert kinds[:2] == ["header", "run"] and kinds[-1] == "exit", kinds
    history = [{key: json.loads(value) for key, value in items.items()} for _, _, items in decoded if items]
    compare(history, expected, f"wandb's Python reader ({len(decoded)} records, {records.stat().st_size} bytes)")


def sync(folder, expected):
    server = subprocess.Popen([sys.executable, str(ROOT / "tests/support/wandb_server.py")], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    environment = dict(os.environ, WANDB_BASE_URL=base, WANDB_API_KEY="0" * 40, no_proxy="*")
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, Path(copy) / folder.name)
        done = subprocess.run(["wandb", "sync", str(Path(copy) / folder.name)], env=environment, capture_output=True,
                              text=True, cwd=copy)
    report = json.loads(urllib.request.urlopen(base + "/_control").read())
    server.stdin.close()
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stderr
    assert not report["violations"], report["violations"]
    (run,) = report["runs"].values()
    assert run["complete"] and run["exitcode"] == 0, (run["complete"], run["exitcode"])
    history = [json.loads(line) for line in run["files"]["wandb-history.jsonl"]]
    compare(history, expected, "wandb sync")
    summary = json.loads(run["files"]["wandb-summary.json"][-1])
    last = {}
    for step in sorted(expected):
        last.update(expected[step])
    for key, value in last.items():
        assert equal(value, summary[key]), f"summary, {key}: {value} is {summary[key]}"
    config = json.loads(run["description"]["config"])
    assert config["model"]["value"]["d_model"] > 0
    print(f"wandb sync: summary of {len(last)} keys equal, {len(run['files']['output.log'])} lines of output, "
          f"{len(run['files']['wandb-events.jsonl'])} samples of the system")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--reader", type=Path)
    options = parser.parse_args()
    state = json.loads((options.run / "wandb.json").read_text())
    folder = options.run / state["folder"]
    expected = expected_history(options.run / "metrics.jsonl")
    read_with_python(folder / f"run-{state['id']}.wandb", options.reader, expected)
    sync(folder, expected)


if __name__ == "__main__":
    main()
