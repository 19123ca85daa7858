#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench/speedrun_table.py OUT: the table at the end of bench/speedrun.sh, from the files that it leaves in
OUT. The time of a part is that of the pass that finished it; that of the steps is all of the run's."""

import json
import pathlib
import sys


def time(seconds):
    return f"{seconds / 60:.1f} min" if seconds >= 600 else f"{seconds:.0f} s"


def main(out):
    rows = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "step_seconds" in row]
    seconds = sum(row["step_seconds"] for row in steps)
    table = [(part, time(float((out / f"{part}.done").read_text())))
             for part in ("corpus", "training", "evaluation", "export", "report")]
    table.append(("all steps", time(seconds)))
    table.append(("steps", f"{steps[-1]['step']:,}"))
    table.append(("tokens", f"{steps[-1]['tokens']:,}"))
    for name, file in (("held-out text", "held_out.json"), ("dictionary", "dictionary.json")):
        if (out / file).exists():
            result = json.loads((out / file).read_text())
            table.append((name, f"loss {result['loss']:.4f}, {result['bits_per_byte']:.4f} bits per byte"))
    if (out / "tasks.json").exists():
        for task, score in json.loads((out / "tasks.json").read_text()).get("tasks", {}).items():
            table.append((task, json.dumps(score)))
    exported = sum(file.stat().st_size for file in (out / "export").glob("*.safetensors"))
    table.append(("exported weights", f"{exported / 1e9:.2f} GB"))
    width = max(len(name) for name, _ in table)
    for name, value in table:
        print(f"{name:<{width}}  {value}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: bench/speedrun_table.py OUT")
    main(pathlib.Path(sys.argv[1]))
