#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the W&B folder of a run against wandb's own code and against metrics.jsonl: the installed `wandb
sync` reads the .wandb file and uploads it to tests/support/wandb_server.py on the loopback; what arrives
there must be the rows of the record, each step once and in order. Where the installed wandb still has its
Python reader (up to 0.21), that reads the file as well; another folder with such a version may be named.

With --moe, runs of a tiny model follow: some whose second record ends 0 to 9 bytes before a block of the log
does, each read and synced as above; and one that uploads live while the server answers 500, 429 and 409,
loses replies, and is away
for so many seconds as --outage says.

usage: tools/check_wandb.py [RUN] [--reader FOLDER_WITH_WANDB_0.21] [--moe PROGRAM [--outage SECONDS]]
needs: pip install wandb
"""
import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import shown_names

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
    items = None
    if record.HasField("history"):
        items = {item.key: item.value_json for item in record.history.item}
    print(json.dumps([record.num, record.WhichOneof("record_type"), items]))
"""


def load_histogram(layers):
    bars = [0] * 32
    for counts in layers:
        total = sum(counts)
        for count in counts:
            bars[min(31, int(count * len(counts) / total / 0.125) if total else 0)] += 1
    return bars


def expected_history(run):
    """Step -> key -> number or list: the rows of a step together, lists as the bars that W&B draws."""
    steps = {}
    for row in shown_names.rows(run):
        if "alert" in row:
            continue
        step = steps.setdefault(row.pop("step"), {})
        for key, value in row.items():
            if isinstance(value, str):
                value = WORDS.get(value, value)
            elif isinstance(value, list) and value and isinstance(value[0], list):
                value = load_histogram(value)
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


class Server:
    """tests/support/wandb_server.py while the object is open."""

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, str(ROOT / "tests/support/wandb_server.py")],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"
        self.environment = dict(os.environ, WANDB_BASE_URL=self.url, WANDB_API_KEY="0" * 40, no_proxy="*")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def report(self, plan=None):
        query = "?" + urllib.parse.quote(json.dumps(plan)) if plan else ""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return json.loads(opener.open(self.url + "/_control" + query).read())


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
    found = subprocess.run(
        [sys.executable, "-c", DECODE, str(records)], env=environment, capture_output=True, text=True)
    if found.returncode != 0:
        print("this wandb has no Python reader:", found.stderr.strip().splitlines()[-1])
        return
    decoded = [json.loads(line) for line in found.stdout.splitlines()]
    assert [number for number, _, _ in decoded] == list(
        range(1, len(decoded) + 1)), "records are not numbered from 1"
    kinds = [kind for _, kind, _ in decoded]
    assert kinds[:2] == ["header", "run"] and kinds[-1] == "exit", kinds
    history = [{key: json.loads(value) for key, value in items.items()} for _, _, items in decoded if items]
    compare(
        history, expected, f"wandb's Python reader ({len(decoded)} records, {records.stat().st_size} bytes)")


def sync(folder, expected):
    with Server() as server, tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, Path(copy) / folder.name)
        done = subprocess.run(["wandb", "sync", str(Path(copy) / folder.name)], env=server.environment,
                              capture_output=True, text=True, cwd=copy)
        report = server.report()
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
    best = {shown: kind for _, shown, kind in shown_names.TABLE if kind}
    for key, value in last.items():
        found = summary[key]
        if key in best:
            of_run = [step[key] for step in expected.values() if key in step and math.isfinite(step[key])]
            side, choose = ("min", min) if best[key] == "lowest" else ("max", max)
            assert found[side] == choose(of_run), f"summary, {key}: {side} {choose(of_run)} is {found}"
        if key in best or (isinstance(found, dict) and "last" in found):
            found = found["last"]
        assert equal(value, found), f"summary, {key}: {value} is {found}"
    config = json.loads(run["description"]["config"])
    assert config["model"]["value"]["d_model"] > 0
    print(f"wandb sync: summary of {len(last)} keys equal, {len(run['files']['output.log'])} lines of "
          f"output, "
          f"{len(run['files']['wandb-events.jsonl'])} samples of the system")


def check(run, reader):
    state = json.loads((run / "wandb.json").read_text())
    folder = run / state["folder"]
    expected = expected_history(run)
    records = folder / f"run-{state['id']}.wandb"
    read_with_python(records, reader, expected)
    sync(folder, expected)
    return records


def bytes_left(records, number):
    """In the block of 32 KiB in which the record of this number (from 1) ends."""
    data, at = records.read_bytes(), 7
    while number > 0:
        if 32768 - at % 32768 < 7:  # too little for a piece
            at += -at % 32768
        whole_or_last = data[at + 6] in (1, 4)
        at += 7 + int.from_bytes(data[at + 4 : at + 6], "little")
        number -= whole_or_last
    return -at % 32768


TINY = {"model.d_model": 64, "model.n_layers": 2, "model.n_heads": 4, "model.n_kv_heads": 2,
        "model.num_experts": 4,
        "model.top_k": 2, "model.expert_intermediate_dim": 32, "model.max_seq_len": 32,
        "training.batch_size": 2,
        "training.warmup_steps": 0, "training.device": "cpu", "training.threads": 1, "training.eval_every": 0,
        "training.checkpoint_every": 0, "data.document_split": "line"}


def training(moe, work, name, settings):
    """The command of a run of a tiny model on random words."""
    text, config = work / "text.txt", work / "config.yaml"
    if not text.exists():
        words = random.Random(1)
        text.write_text("\n".join(" ".join(
            words.choices(["one", "two", "three", "lantern", "light", "dark"], k=40)) for _ in range(2000)))
        config.write_text("training: {}\n")
    settings = {**TINY, "data.source": f"[{text}]", "training.output_dir": work, "training.run_name": name,
                **settings}
    return [moe, "train", "--config", str(config), *(f"{key}={value}" for key, value in settings.items())]


def check_boundaries(moe, work, reader):
    """The notes of a run are in its second record: their length decides where that ends."""
    seen, length = set(), 20_000
    for attempt in range(40):
        wanted = next((left for left in range(10) if left not in seen), None)
        if wanted is None:
            break
        command = training(
            moe, work, f"notes{attempt}", {"training.max_steps": 1, "logging.wandb_mode": "offline"})
        subprocess.run(
            command, env=dict(os.environ, WANDB_NOTES="n" * length), check=True, capture_output=True)
        run = work / f"notes{attempt}"
        state = json.loads((run / "wandb.json").read_text())
        left = bytes_left(run / state["folder"] / f"run-{state['id']}.wandb", 2)
        length += left - wanted  # the time in the record makes it a byte longer or shorter now and then
        if left < 10 and left not in seen:
            seen.add(left)
            print(f"a record that ends {left} bytes before its block:", flush=True)
            check(run, reader)
    assert seen == set(range(10)), f"not all ends of blocks were met: {seen}"


def wait_for(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.5)


FAULTS = ["500", "", "lost", "429", "409", "", "close", "503", "lost", "lost", "409", "409", "", "500"]


def check_online(moe, work, outage):
    """A run that uploads while the server fails and is away; then what has arrived."""
    with Server() as server:
        settings = {"training.max_steps": 10**8, "logging.wandb_project": "p", "training.eval_every": 50,
                    "training.eval_batches": 1, "training.sample_every": 500}
        with open(work / "online.log", "w") as log:
            process = subprocess.Popen(
                training(moe, work, "online", settings), env=server.environment, stderr=log, stdout=log)
        steps = lambda: sum(
            len(run["files"].get("wandb-history.jsonl", [])) for run in server.report()["runs"].values())
        wait_for(lambda: steps() > 0, "the first lines")
        server.report({"script": FAULTS, "scope": ""})
        faults = lambda: sum(count for fault, count in server.report()["faults"].items() if fault != "outage")
        wait_for(lambda: faults() >= 4, "some faults")
        server.report({"outage": True})
        before = steps()
        time.sleep(outage)
        assert steps() == before and process.poll() is None
        server.report({"outage": False})
        wait_for(
            lambda: faults() == sum(map(bool, FAULTS)) and steps() > before, "the rest of the faults", 600)
        process.terminate()
        process.wait()
        report = server.report()
    told = (work / "online.log").read_text(errors="replace").splitlines()
    assert any("all uploaded" in line for line in told), [line for line in told if "wandb" in line]
    assert not report["violations"], report["violations"]
    ((name, run),) = report["runs"].items()
    assert run["complete"] and run["exitcode"] == process.returncode == 128 + signal.SIGTERM, (
        run["exitcode"], process.returncode)
    history = [json.loads(line) for line in run["files"]["wandb-history.jsonl"]]
    compare(history, expected_history(work / "online"),
            f"online, with faults and {outage} s without the server")
    local = next((work / "online/wandb").glob(f"run-*-{name}/files/output.log")).read_text().split("\n")[:-1]
    output = run["files"]["output.log"]
    assert len(output) == len(local) and all(one.endswith(other) for one, other in zip(output, local)), (
        len(output), len(local))
    print(f"online: {before} steps had arrived before the outage; {len(output)} lines of output once and in "
          f"order; "
          f"{sum(report['counts'].values())} requests, of them failed {report['faults']}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--reader", type=Path)
    parser.add_argument("--moe")
    parser.add_argument("--outage", type=int, default=45)
    options = parser.parse_args()
    if not options.run and not options.moe:
        parser.error("name a run, or a program with --moe")
    if options.run:
        check(options.run, options.reader)
    if options.moe:
        with tempfile.TemporaryDirectory() as work:
            check_boundaries(options.moe, Path(work), options.reader)
            check_online(options.moe, Path(work), options.outage)


if __name__ == "__main__":
    main()
