#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Opens the pages of `moe report` and `moe watch` in headless Chromium, in light and dark, and fails on any
message of the browser's console. The live page is opened for a run in each of its states: before its first
step, resumed, ended, stopped, failed, gone. Makes a record of 1,000,000 rows and says how long its report
takes to make and to open.

usage: tools/check_report.py MOE RUN [RUN...] [--screenshots FOLDER] [--chromium PROGRAM] [--rows N]
"""
import argparse
import json
import math
import random
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path


def chromium(program, url, extra, profile):
    """Standard output and the console's messages of one visit."""
    done = subprocess.run([program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                           "--enable-logging=stderr", "--v=0",
                           f"--user-data-dir={profile}", *extra, url], capture_output=True, text=True,
                          timeout=180)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def visible(dom):
    """The text of a page, without its scripts."""
    body = re.sub(r"<script.*?</script>", "", dom[dom.index("<body"):], flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


def open_page(options, url, name, themes=("light", "dark"), says="", charts=True, width=1360):
    for theme in themes:
        with tempfile.TemporaryDirectory() as profile:
            address = f"{url}?theme={theme}"
            began = time.perf_counter()
            dom, console = chromium(
                options.chromium, address, ["--virtual-time-budget=4000", "--dump-dom"], profile)
            seconds = time.perf_counter() - began
            assert not console, console
            ready = re.search(r'data-ready="(\d+)"', dom)
            drawn = dom.count('class="plot"')
            assert ready and (drawn > 2 if charts else drawn == 0), f"{name}: {drawn} charts were drawn"
            text = visible(dom)
            assert says.lower() in text.lower(), f"{name}: no {says!r} in {text[:600]!r}"
            for word in ("NaN", "undefined", "Infinity"):
                assert word not in text, f"{name}: {word} in {text[:2000]!r}"
            if options.screenshots:
                picture = options.screenshots / f"{name}-{theme}.png"
                _, console = chromium(options.chromium, address,
                                      ["--virtual-time-budget=4000", f"--window-size={width},1500",
                                       f"--screenshot={picture}"], profile)
                assert not console, console
        print(f"{name}, {theme}: {drawn} charts, no console messages, {seconds:.2f} s with "
              f"the browser's start")


def long_run(folder, rows):
    """A record as a run of the quickstart's shape leaves it, without its tables."""
    (folder / "config.yaml").write_text("")
    random.seed(1)
    with open(folder / "metrics.jsonl", "w", encoding="utf-8") as out:
        for step in range(1, rows + 1):
            loss = 3 + 7 * math.exp(-step / rows * 8) + random.gauss(0, 0.05) + (
                5 if step == rows // 3 else 0)
            row = {"step": step, "loss": loss, "perplexity": math.exp(loss), "learning_rate": 1e-3,
                   "gradient_norm": abs(random.gauss(1, 0.2)),
                   "tokens": step * 1024, "tokens_per_second": random.gauss(3500, 100), "step_seconds": 0.3,
                   "data_wait_seconds": 1e-4,
                   "balance_loss": 1.01, "z_loss": 4.0, "expert_load_cv": 0.2, "expert_load_entropy": 0.98,
                   "dropped_share": 0.01, "layers/entropy": [0.98, 0.97, 0.99, 0.96]}
            out.write(json.dumps(row, separators=(",", ":")) + "\n")


def watch(options, run, name, **how):
    """The live page of a run."""
    process = subprocess.Popen(
        [options.moe, "watch", str(run), "--port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        address = None
        while not address:
            line = process.stderr.readline()
            assert line, "moe watch ended"
            address = re.search(r"http://\S+", line)
        open_page(options, address[0], name, **how)
    finally:
        process.terminate()
        process.wait()


def watch_states(options, work):
    """A run as it is found in each state (train/run_status.h): its folder is made so."""
    rows = (options.runs[0] / "metrics.jsonl").read_text().splitlines(keepends=True)
    owner = "process 7 on somewhere"

    def run_in(name, rows, status=None, owned=False):
        run = work / name
        run.mkdir()
        shutil.copy(options.runs[0] / "config.yaml", run)
        if rows:
            (run / "metrics.jsonl").write_text("".join(rows))
        if status:
            (run / "status.json").write_text(json.dumps({"process": owner, **status}))
        if owned:
            (run / "run.lock").write_text(owner + "\nboot\n")
        return run

    first = [row for row in rows if json.loads(row)["step"] == 0]
    half = [row for row in rows if json.loads(row)["step"] <= json.loads(rows[-1])["step"] // 2]
    narrow = {"width": 500}
    watch(options, run_in("starting", [], owned=True), "starting", says="Waiting for the first step",
          charts=False)
    watch(options, run_in("first-validation", first, {"state": "running"}, True), "first-validation",
          says="Waiting for the first step", charts=False, **narrow)
    watch(options, run_in("resuming", half, {"state": "stopped", "process": "another"}, True), "resuming",
          says="being resumed")
    watch(options, run_in("resumed", half, {"state": "running", "first_step": 101}, True), "resumed",
          says="running, resumed at step 101", **narrow)
    watch(options, run_in("ended", rows, {"state": "ended"}), "ended", says="complete")
    watch(options, run_in("stopped", half, {"state": "stopped", "why": "signal 15"}), "stopped",
          says="stopped by signal 15 at step")
    watch(options, run_in("failed", half, {"state": "failed", "why": "step 9: a loss <b>"}), "failed",
          says="step 9: a loss")
    watch(options, run_in("died", half, {"state": "running"}), "died", says="its process is gone")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--screenshots", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium-browser")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        page = work / "report.html"
        subprocess.run([options.moe, "report", str(options.runs[0]), "--output", str(page)], check=True)
        open_page(options, page.as_uri(), "report")
        if len(options.runs) > 1:
            subprocess.run(
                [options.moe, "report", *map(str, options.runs), "--output", str(page)], check=True)
            open_page(options, page.as_uri(), "compare")

        watch(options, options.runs[0], "watch")
        watch_states(options, work)

        if options.rows:
            run = work / "long"
            run.mkdir()
            long_run(run, options.rows)
            began = time.perf_counter()
            subprocess.run([options.moe, "report", str(run), "--output", str(page)], check=True)
            size = (run / "metrics.jsonl").stat().st_size
            print(f"{options.rows} rows, {size / 1e6:.0f} MB: report made in "
                  f"{time.perf_counter() - began:.2f} s, {page.stat().st_size / 1e6:.2f} MB")
            options.screenshots = None
            open_page(options, page.as_uri(), "long", ("light",))


if __name__ == "__main__":
    main()
