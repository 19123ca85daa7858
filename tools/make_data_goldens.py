# SPDX-License-Identifier: MIT
"""Writes tests/golden/data: the same few texts as Parquet in many shapes, JSON lines, gzip, zstd and tokens.

Made by the libraries whose formats we read (pyarrow, polars, gzip, numpy), not by our own code.
Needs: pip install pyarrow polars numpy. Use: python3 tools/make_data_goldens.py
"""

import gzip
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden" / "data"

TEXTS = [
    "plain words",
    "",
    None,
    "naïve café, Ἀχιλλεύς, 山高水長, \U0001F600\n",
    "quotes \" and \\ and tabs\t and\r\nlines",
    "the same text again and again",
    "the same text again and again",
    None,
    "long " + " ".join(f"w{i * i % 997}" for i in range(900)),
    "last",
]
ROWS = [TEXTS[i % len(TEXTS)] if i % 7 else f"row {i}" for i in range(64)]


def parquet(name, rows=None, type_=None, group=24, **options):
    rows = ROWS if rows is None else rows
    array = pa.array(rows, type=type_ or pa.string())
    table = pa.table(
        {"id": pa.array(range(len(rows)), pa.int64()), "text": array, "url": pa.array(["u"] * len(rows))})
    pq.write_table(table, FOLDER / f"{name}.parquet", row_group_size=group, **options)


def write_parquet():
    parquet("snappy_v1_dictionary", compression="snappy", data_page_version="1.0", use_dictionary=True)
    parquet("zstd_v2_plain", compression="zstd", data_page_version="2.0", use_dictionary=False)
    parquet("gzip_v2_dictionary", compression="gzip", data_page_version="2.0", use_dictionary=True)
    parquet("none_v1_small_pages", compression="none", use_dictionary=False, data_page_size=256,
            write_page_checksum=True)
    parquet("delta_v2", compression="zstd", data_page_version="2.0", use_dictionary=False,
            column_encoding={"text": "DELTA_BYTE_ARRAY", "url": "PLAIN", "id": "PLAIN"})
    parquet("large_string", type_=pa.large_string())
    parquet("arrow_dictionary", type_=pa.dictionary(pa.int32(), pa.string()))

    required = pa.schema([pa.field("text", pa.string(), nullable=False)])
    filled = [row for row in ROWS if row is not None]
    pq.write_table(
        pa.table([pa.array(filled)], schema=required), FOLDER / "required.parquet", row_group_size=24)

    nested = pa.array([{"text": row} for row in ROWS])
    pq.write_table(pa.table({"page": nested}), FOLDER / "nested.parquet", row_group_size=24)

    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(FOLDER / "empty_groups.parquet", schema) as writer:
        for part in ([], ROWS[:40], [], ROWS[40:], []):
            writer.write_table(pa.table([pa.array(part, pa.string())], schema=schema))
    pq.write_table(pa.table([pa.array([], pa.string())], schema=schema), FOLDER / "no_rows.parquet")
    pq.write_table(
        pa.table({"n": pa.array([1, 2]), "tags": pa.array([["a"], ["b"]])}), FOLDER / "no_text.parquet")


# Rows with columns of every kind that a filter compares.
TYPED = [
    {"text": f"t{i}", "int_score": i % 6, "score": None if i % 11 == 0 else i / 7, "small": i % 3,
     "count": 2**63 + i,
     "language": ["en", "de", None][i % 3], "good": [True, False, None][i % 3]} for i in range(60)
]
# What each filter leaves, by numpy and Python.
FILTERS = {
    "int_score >= 3": lambda r: r["int_score"] >= 3,
    "score < 2.5": lambda r: r["score"] is not None and r["score"] < 2.5,
    "small != 1": lambda r: np.float32(r["small"]) != 1,
    "count > 9223372036854775807": lambda r: r["count"] > 2**63 - 1,
    "language == en": lambda r: r["language"] == "en",
    "language != en": lambda r: r["language"] is not None and r["language"] != "en",
    "good == true": lambda r: r["good"] is True,
}


def write_typed():
    schema = pa.schema([("text", pa.string()), ("int_score", pa.int64()), ("score", pa.float64()),
                        ("small", pa.float32()), ("count", pa.uint64()), ("language", pa.string()),
                        ("good", pa.bool_())])
    table = pa.Table.from_pylist(TYPED, schema=schema)
    pq.write_table(table, FOLDER / "typed.parquet", row_group_size=25)
    pl.DataFrame(table).write_parquet(FOLDER / "polars_typed.parquet", row_group_size=25, compression="lz4")
    left = {text: [r["text"] for r in TYPED if passes(r)] for text, passes in FILTERS.items()}
    (FOLDER / "filtered.json").write_text(json.dumps(left))


def write_others():
    frame = pl.DataFrame({"id": range(len(ROWS)), "text": ROWS, "url": ["u"] * len(ROWS)})
    for compression in ("zstd", "snappy", "gzip", "uncompressed"):
        frame.write_parquet(FOLDER / f"polars_{compression}.parquet", compression=compression,
                            row_group_size=24, use_pyarrow=False)
    # Between the texts of two row groups lies a column too long for a reader to take with them.
    table = pa.table({"text": [f"text {i}" for i in range(6)],
                      "other": [np.random.default_rng(i).bytes(20_000) for i in range(6)]})
    pq.write_table(table, FOLDER / "wide.parquet", row_group_size=2, compression="none", use_dictionary=False)
    # Like FineWeb-Edu: the whole text of a row group in one dictionary page of several MiB. Repetitive, to
    # stay small.
    texts = [f"{i:06d} " + "and so on and so forth " * 220 for i in range(1000)]
    table = pa.table({"text": pa.array(texts), "int_score": pa.array([i % 6 for i in range(1000)])})
    pq.write_table(table, FOLDER / "large_dictionary.parquet", row_group_size=1000, compression="zstd",
                   dictionary_pagesize_limit=64 << 20, use_dictionary=["text"])


def member(data, extra=b""):
    """One gzip member, with an FEXTRA field as dictzip writes."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    flags = 4 if extra else 0
    head = b"\x1f\x8b\x08" + bytes([flags]) + struct.pack("<I", 0) + b"\x02\x03"
    if extra:
        head += struct.pack("<H", len(extra)) + extra
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


def write_awkward():
    """Columns that nobody reads, and a file of a data set whose text has another type."""
    image = {"bytes": b"\x89PNG\r\n\x1a\n\xff\xfe", "path": "a.png"}
    rows = [{"text": f"text {i}", "image": image, "boxes": [[1.5, 2.0]], "day": i} for i in range(5)]
    schema = pa.schema([("text", pa.string()),
                        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
                        ("boxes", pa.list_(pa.list_(pa.float64()))), ("day", pa.date32())])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), FOLDER / "image.parquet", row_group_size=2)
    pq.write_table(pa.table({"text": pa.array([1, 2, 3])}), FOLDER / "text_of_numbers.parquet")
    rows = [{"text": text} for text in ("one", "two", "naïve")]
    for name, text in (
        ("list", json.dumps(rows, indent=2)), ("lines", "".join(json.dumps(row) + "\n" for row in rows))):
        (FOLDER / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def write_messages():
    """Conversations, as data sets on the hub have them."""
    rows = [
        {"messages": [{"role": "user", "content": "What is a cat?"},
                      {"role": "assistant", "content": "A small animal."}], "source": "a"},
        {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "And a dog?"},
                      {"role": "assistant", "content": "Another one."}], "source": "b"},
        {"messages": [], "source": "c"}]
    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    schema = pa.schema([("messages", messages), ("source", pa.string())])
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, FOLDER.parent / "chat/messages.parquet", row_group_size=2)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "rows.json").write_text(json.dumps(ROWS))
    write_parquet()
    write_typed()
    write_others()
    write_awkward()
    write_messages()

    lines = []
    for i, row in enumerate(ROWS):
        lines.append(json.dumps({
            "id": i, "meta": {"text": "not this", "list": [1, {"text": 2}]}, "text": row},
                                ensure_ascii=bool(i % 2)))
    (FOLDER / "rows.jsonl").write_bytes(("\n".join(lines[:30]) + "\n\n" + "\r\n".join(lines[30:])).encode())

    text = ("\n\n".join(row for row in ROWS if row) * 2).encode()
    third = len(text) // 3
    (FOLDER / "text.txt").write_bytes(text[: 3 * third])
    parts = [text[i * third : (i + 1) * third] for i in range(3)]
    (FOLDER / "members.txt.gz").write_bytes(b"".join(gzip.compress(p, mtime=0) for p in parts) + bytes(512))
    (FOLDER / "dictzip.txt.dz").write_bytes(
        member(text[: 3 * third], b"RA\x08\x00\x01\x00\xcb\xe3\x00\x00\x10\x00"))
    (FOLDER / "frames.txt.zst").write_bytes(
        b"".join(pa.Codec("zstd").compress(p, asbytes=True) for p in parts))

    header = np.zeros(256, dtype="<i4")
    ids = np.array([50256, 15496, 995, 50256, 50256, 220, 0, 50255, 50256, 464], dtype="<u2")
    header[:3] = 20240520, 1, len(ids)
    (FOLDER / "tokens.bin").write_bytes(header.tobytes() + ids.tobytes())


if __name__ == "__main__":
    main()
