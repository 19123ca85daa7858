# SPDX-License-Identifier: MIT
"""Draws the loss curves of one or more runs from their metrics.jsonl.

    python tools/plot_run.py runs/quickstart/metrics.jsonl -o loss.svg
    python tools/plot_run.py a/metrics.jsonl b/metrics.jsonl --labels gated ungated --x tokens -o loss.png

Training loss is a thin line (with --smooth, its running mean over it), validation loss is dots on a line.
Reads the rows that docs/metrics.md describes; rows without a loss and losses that are not numbers are left
out.
"""

import argparse
import json
import math
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

X_LABELS = {"step": "step", "tokens": "tokens"}
COLOURS = ("#1f5fa8", "#c4511d", "#2f7d4f", "#7a4fa0", "#8a6d1a", "#555555")


def read_rows(path):
    """The rows of a run. A last line cut short by a kill is left out; any other bad line is an error."""
    rows = []
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise SystemExit(f"{path}:{number}: not JSON: {error}")
    return rows


def series(rows, key, x):
    """(x, value) of the rows that have `key` as a finite number. x is carried on to rows that lack it."""
    points, at = [], None
    for row in rows:
        at = row.get(x, at)
        value = row.get(key)
        if at is not None and isinstance(value, (int, float)) and math.isfinite(value):
            points.append((at, value))
    return points


def running_mean(points, width):
    """Mean of the last `width` values (fewer at the start)."""
    smooth, total = [], 0.0
    for i, (x, value) in enumerate(points):
        total += value
        if i >= width:
            total -= points[i - width][1]
        smooth.append((x, total / min(i + 1, width)))
    return smooth


def draw(axes, rows, label, colour, arguments):
    training = series(rows, "loss", arguments.x)
    validation = series(rows, "validation_loss", arguments.x)
    name = f"{label}, " if label else ""
    if training:
        faint = arguments.smooth > 1
        axes.plot(*zip(*training), color=colour, linewidth=0.8, alpha=0.3 if faint else 0.9,
                  label=None if faint else f"{name}training")
        if faint:
            smooth = running_mean(training, arguments.smooth)
            axes.plot(*zip(*smooth), color=colour, linewidth=1.4,
                      label=f"{name}training (mean of {arguments.smooth})")
    if validation:
        axes.plot(*zip(*validation), color=colour, linewidth=1.0, linestyle="--", marker="o", markersize=4,
                  label=f"{name}validation {validation[-1][1]:.3f}")
    return bool(training or validation)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "runs", type=pathlib.Path, nargs="+", help="metrics.jsonl files, or the folders that hold one")
    parser.add_argument(
        "-o", "--output", type=pathlib.Path, default=pathlib.Path("loss.svg"), help=".svg or .png")
    parser.add_argument("--labels", nargs="+", help="one name for each run (default: its folder)")
    parser.add_argument("--x", choices=tuple(X_LABELS), default="step")
    parser.add_argument(
        "--smooth", type=int, default=1, help="steps of the running mean of the training loss")
    parser.add_argument("--title", default="")
    arguments = parser.parse_args()

    paths = [run / "metrics.jsonl" if run.is_dir() else run for run in arguments.runs]
    labels = arguments.labels or ([p.resolve().parent.name for p in paths] if len(paths) > 1 else [""])
    if len(labels) != len(paths):
        parser.error(f"{len(labels)} labels for {len(paths)} runs")

    plt.rcParams.update({"font.size": 10, "svg.hashsalt": "moe", "svg.fonttype": "none",
                         "font.family": ["DejaVu Sans", "sans-serif"]})
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for i, (path, label) in enumerate(zip(paths, labels)):
        if not draw(axes, read_rows(path), label, COLOURS[i % len(COLOURS)], arguments):
            parser.error(f"{path}: no row has a loss")
    axes.set(xlabel=X_LABELS[arguments.x], ylabel="cross-entropy (nats per token)", title=arguments.title)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    date = {"Date": None} if arguments.output.suffix == ".svg" else {}  # the same run gives the same bytes
    figure.savefig(arguments.output, dpi=150, metadata=date)
    print(f"{arguments.output}")


if __name__ == "__main__":
    main()
