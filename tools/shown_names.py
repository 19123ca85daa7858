# SPDX-License-Identifier: MIT
"""The names under which W&B and TensorBoard show the metrics of a record: the table of docs/metrics.md, which
a test holds against the program."""
import json
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs/metrics.md"
SECTION = PAGE.read_text().split("## Names in W&B and TensorBoard")[1].split("## Alerts")[0]
# name, shown name, "lowest", "highest" or ""
TABLE = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (\w*) ?\|$", SECTION, re.MULTILINE)
BY_LAYER = ("layers/entropy", "layers/max_over_mean")


def shown_name(name):
    for ours, shown, _ in TABLE:
        if ours == name:
            return shown
        if ours.endswith("*") and name.startswith(ours[:-1]):
            return shown[:-1] + name[len(ours) - 1:]
    raise AssertionError(f"{name} is not in the table of {PAGE.name}")


def shown_row(row, first_layer):
    """A row of the record by the names that are shown, with the curves of layers; an alert as it is."""
    if "alert" in row:
        return row
    shown = {name if name == "step" else shown_name(name): value for name, value in row.items()}
    for name in BY_LAYER:
        for layer, value in enumerate(row.get(name, []), start=first_layer):
            shown[f"router_layers/{name.split('/')[1]}/{layer:02}"] = value
    return shown


def first_layer(run):
    """Of the routers. The settings of a run are lines "  name: value"."""
    found = re.search(r"^  first_dense_layers: (\d+)", (run / "config.yaml").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def rows(run):
    layer = first_layer(run)
    return [shown_row(json.loads(line), layer) for line in (run / "metrics.jsonl").read_text().splitlines()]
