# SPDX-License-Identifier: MIT
"""Writes tests/golden/tasks: items of each evaluation as Parquet files with the columns of the published data
sets, the same as JSON lines, and one file with every kind of column that can and cannot be read.

Made by pyarrow, not by our own code. Needs: pip install pyarrow. Use: python3 tools/make_task_goldens.py
"""
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden" / "tasks"
TEXTS = pa.list_(pa.string())

HELLASWAG = pa.schema([("ind", pa.int32()), ("activity_label", pa.string()), ("ctx_a", pa.string()),
                       ("ctx_b", pa.string()),
                       ("ctx", pa.string()), ("endings", TEXTS), ("source_id", pa.string()),
                       ("split", pa.string()),
                       ("split_type", pa.string()), ("label", pa.string())])
ARC = pa.schema([("id", pa.string()), ("question", pa.string()),
                 ("choices", pa.struct([("text", TEXTS), ("label", TEXTS)])), ("answerKey", pa.string())])
PIQA = pa.schema([("goal", pa.string()), ("sol1", pa.string()), ("sol2", pa.string()), ("label", pa.int64())])

ITEMS = {
    "hellaswag": (HELLASWAG, [
        {"ind": 24 + i, "activity_label": "Baking", "ctx_a": f"A man has {i} loaves.", "ctx_b": "the other",
         "ctx": f"A man has {i} loaves. the other",
         "endings": [f"eats {i}.", "naïvely sleeps.", "runs.", "[step] waits."],
         "source_id": "x~1", "split": "val", "split_type": "indomain", "label": str(i % 4)}
        for i in range(7)]),
    "arc_easy": (ARC, [
        {"id": f"q{i}", "question": f"What is {i}?",
         "choices": {"text": ["ice", "sun", "a stone"][:2 + i % 2],
                                                                 "label": ["A", "B", "C"][:2 + i % 2]},
         "answerKey": "AB"[i % 2]} for i in range(5)]),
    "piqa": (PIQA,
             [{"goal": f"dry it {i} times", "sol1": "in the sun", "sol2": "in the rain, 山", "label": i % 2}
                    for i in range(6)]),
    "lambada": (
        pa.schema([("text", pa.string())]), [{"text": f"she opened the {i} old doors"} for i in range(4)]),
}

SHAPES = pa.schema([
    ("text", pa.string()), ("small", pa.int32()), ("large", pa.uint64()), ("half", pa.float32()),
    ("whole", pa.float64()),
    ("good", pa.bool_()), ("texts", TEXTS), ("numbers", pa.large_list(pa.int64())),
    ("certain", pa.list_(pa.field("e", pa.int64(), False))),
    ("deep", pa.struct([("inner", pa.struct([("texts", TEXTS), ("n", pa.int32())]))])),
    ("list_of_structs", pa.list_(pa.struct([("a", pa.string())]))), ("list_of_lists", pa.list_(TEXTS)),
    ("day", pa.date32())])
# Of the last two nothing is to be read; nulls are left out.
ROWS = [
    {"text": "one", "small": -1, "large": 2**63 + 1, "half": 0.5, "whole": 1e300, "good": True,
     "texts": ["a", "", None, "b"],
     "numbers": [1, 2], "certain": [7], "deep": {"inner": {"texts": ["x"], "n": 3}}},
    {"text": "", "good": False, "texts": [], "numbers": [], "certain": [], "deep": {"inner": {"texts": []}}},
    {},
    {"text": "quote \" and é", "small": 4, "texts": [None], "numbers": [None, 5]},
]
STRUCTS = {"list_of_structs": [{"a": "y"}, {"a": "z"}]}
LEFT_OUT = {"list_of_lists": [["p"], ["q"]], "day": 3}


def write_image():
    """Items beside pictures, which no task reads."""
    schema, items = ITEMS["piqa"]
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{**item, "image": {"bytes": b"\x89PNG\xff\xfe", "path": None}} for item in items]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.append(pa.field("image", image))),
                   FOLDER / "piqa_with_image.parquet")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_image()
    for task, (schema, items) in ITEMS.items():
        pq.write_table(
            pa.Table.from_pylist(items, schema=schema), FOLDER / f"{task}.parquet", row_group_size=3)
        (FOLDER / f"{task}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    rows = [{**row, **STRUCTS, **LEFT_OUT} for row in ROWS]
    pq.write_table(pa.Table.from_pylist(rows, schema=SHAPES), FOLDER / "shapes.parquet", row_group_size=2)
    (FOLDER / "shapes.jsonl").write_text("".join(json.dumps({**row, **STRUCTS}) + "\n" for row in ROWS))


if __name__ == "__main__":
    main()
