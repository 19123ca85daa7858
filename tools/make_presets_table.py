#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the tables of docs/presets.md: what `moe plan --json` says of each preset. Nothing in them is from
anywhere else. With --check it writes nothing, and exits with 1 if the file says something else than the
program or if a preset does not fit where the table says that it does. So it runs as a test.

usage: tools/make_presets_table.py --program build/cpu/moe [--check]
"""
import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "presets.md"
GIB = 1 << 30

PRESETS = ["moe_10m", "moe_120m", "moe_400m", "moe_1.7b", "moe_7b", "moe_30b"]
LOW = ["low_memory"]

# What `moe plan --gpu` takes, and the words for it. Of a GPU without a name the memory alone counts: a GiB
# less than its data sheet says, as for those that the program knows.
GPUS = {
    "memory=7": "8 GB",
    "memory=15": "16 GB",
    "rtx4090": "24 GB (RTX 4090)",
    "h100": "80 GB (H100)",
    "h200": "141 GB (H200)",
}

# (preset, overlays, GPU, how many): each must fit. None: a CPU, in f32.
CLAIMS = [
    ("moe_10m", [], None, 1),
    ("moe_120m", [], "memory=7", 1),
    ("moe_120m", [], "rtx4090", 1),
    ("moe_400m", [], "memory=15", 1),
    ("moe_400m", [], "rtx4090", 1),
    ("moe_1.7b", LOW, "memory=15", 1),
    ("moe_1.7b", LOW, "rtx4090", 1),
    ("moe_1.7b", [], "h100", 1),
    ("moe_1.7b", [], "h200", 1),
    ("moe_1.7b", [], "h200", 8),
    ("moe_7b", LOW, "h100", 1),
    ("moe_7b", [], "h200", 1),
    ("moe_7b", [], "h100", 8),
    ("moe_7b", [], "h200", 8),
    ("moe_30b", LOW, "h100", 8),
    ("moe_30b", [], "h200", 8),
]


class Plans:
    def __init__(self, program):
        self.program, self.known = program, {}

    def of(self, preset, overlays, gpu, gpus=1):
        key = (preset, tuple(overlays), gpu, gpus)
        if key not in self.known:
            command = [self.program, "plan", "--json", "--gpus", str(gpus)]
            for name in [preset, *overlays]:
                command += ["--config", name]
            command += ["--gpu", gpu] if gpu else ["training.device=cpu", "training.mixed_precision=no"]
            found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
            if found.returncode != 0:
                sys.exit(f"{' '.join(command)}: {found.stderr}")
            self.known[key] = json.loads(found.stdout)
        return self.known[key]


def count(n):
    """Three digits, as the program has them: 1.73 B."""
    for unit, words in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " K")):
        if n >= unit:
            return f"{n / unit:.3g}{words}"
    return f"{n:.3g}"


def gib(n):
    return f"{n / GIB:.3g} GiB"


def duration(seconds):
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def name(preset, overlays):
    return " + ".join(f"`{each}`" for each in [preset, *overlays])


def rows_of(plan):
    batch = plan["micro_batch"]
    ranks = "" if plan["ranks"] == 1 else f"{plan['ranks']} x "
    return f"{ranks}{batch['per_step']} x {batch['rows']} x {batch['row_tokens']}"


def chosen(plan):
    return next((layout for layout in plan["layouts"] if layout["chosen"]), {})


def speed(plan):
    """Tokens a second and the time of the run, both by prediction."""
    rate = chosen(plan).get("tokens_per_second")
    return (count(rate), duration(plan["tokens"] / rate)) if rate else ("-", "-")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def presets_table(plans):
    rows = []
    for preset in PRESETS:
        plan = plans.of(preset, [], "h200")
        rows.append([f"`{preset}`", f"{plan['parameters']:,}", f"{plan['active_parameters']:,}",
                     count(plan["flops_per_token"]), f"{plan['tokens_per_step']:,}", f"{plan['steps']:,}",
                     count(plan["tokens"]), f"{plan['tokens'] / plan['active_parameters']:.1f}",
                     gib(plan["checkpoint_bytes"])])
    return table(["preset", "parameters", "active", "FLOP a token", "tokens a step", "steps", "tokens",
                  "for each active parameter", "a checkpoint"], rows)


def plans_table(plans):
    rows = []
    for preset, overlays, gpu, gpus in CLAIMS:
        plan = plans.of(preset, overlays, gpu, gpus)
        if gpu is None:
            where = "a CPU, in f32"
        else:
            where = GPUS[gpu] if gpus == 1 else f"{gpus} of {GPUS[gpu]}"
        layout = chosen(plan).get("layout", "-") if gpus > 1 else "-"
        rows.append([name(preset, overlays), where, gib(plan["memory"]["bytes"]), rows_of(plan), layout,
                     *speed(plan)])
    return table(["", "on", "memory of each", "micro-batches of a step", "layout", "tokens/s, predicted",
                  "the run, predicted"], rows)


def largest(plans, overlays, gpu):
    """The largest preset that fits one such GPU."""
    for preset in reversed(PRESETS):
        if plans.of(preset, overlays, gpu)["memory"]["fits"]:
            return preset
    sys.exit(f"no preset fits {gpu}")


def fits_table(plans):
    rows = []
    for gpu, words in GPUS.items():
        row = [words]
        for overlays in ([], LOW):
            preset = largest(plans, overlays, gpu)
            plan = plans.of(preset, overlays, gpu)
            row += [f"`{preset}`", str(plan["micro_batch"]["rows"]), gib(plan["memory"]["bytes"]),
                    speed(plan)[0]]
        rows.append(row)
    each = ["rows of a micro-batch", "memory", "tokens/s, predicted"]
    return table(["one GPU of", "largest preset", *each, "with `low_memory`", *each], rows)


def page_with(page, tables):
    for title, text in tables.items():
        begin, end = f"<!-- made: {title} -->\n", f"<!-- end: {title} -->"
        if begin not in page or end not in page:
            sys.exit(f"{PAGE.relative_to(ROOT)}: no place for the table {title}")
        found = re.escape(begin) + ".*?" + re.escape(end)
        page = re.sub(found, lambda _, made=begin + text + end: made, page, flags=re.S)
    return page


def broken_claims(plans):
    return [f"{' '.join([preset, *overlays])} does not fit {gpus} x {gpu}: {plan['memory']}"
            for preset, overlays, gpu, gpus in CLAIMS
            if not (plan := plans.of(preset, overlays, gpu, gpus))["memory"]["fits"]]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--program", required=True)
    arguments.add_argument("--check", action="store_true")
    options = arguments.parse_args()
    plans = Plans(str(Path(options.program).resolve()))
    wrong = broken_claims(plans)
    page = PAGE.read_text()
    now = page_with(page, {"presets": presets_table(plans), "plans": plans_table(plans),
                           "fits": fits_table(plans)})
    if not options.check:
        PAGE.write_text(now)
    elif now != page:
        old = page.splitlines()
        wrong += [f"docs/presets.md has not: {line}" for line in now.splitlines() if line not in old]
        wrong.append(f"make it again: tools/make_presets_table.py --program {options.program}")
    print("\n".join(wrong) or "docs/presets.md: as the program says")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
