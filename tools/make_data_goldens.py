# SPDX-License-Identifier: MIT
"""Writes tests/golden/data: the same few texts as Parquet in many shapes, JSON lines, gzip, zstd and tokens.

Made by the libraries whose formats we read (pyarrow, gzip, numpy), not by our own code.
Needs: pip install pyarrow numpy. Use: python3 tools/make_data_goldens.py
"""

import gzip
import json
import struct
import zlib
from pathlib import Path

import numpy as np
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
    table = pa.table({"id": pa.array(range(len(rows)), pa.int64()), "text": array, "url": pa.array(["u"] * len(rows))})
    pq.write_table(table, FOLDER / f"{name}.parquet", row_group_size=group, **options)


def write_parquet():
    parquet("snappy_v1_dictionary", compression="snappy", data_page_version="1.0", use_dictionary=True)
    parquet("zstd_v2_plain", compression="zstd", data_page_version="2.0", use_dictionary=False)
    parquet("gzip_v2_dictionary", compression="gzip", data_page_version="2.0", use_dictionary=True)
    parquet("none_v1_small_pages", compression="none", use_dictionary=False, data_page_size=256, write_page_checksum=True)
    parquet("delta_v2", compression="zstd", data_page_version="2.0", use_dictionary=False,
            column_encoding={"text": "DELTA_BYTE_ARRAY", "url": "PLAIN", "id": "PLAIN"})
    parquet("large_string", type_=pa.large_string())
    parquet("arrow_dictionary", type_=pa.dictionary(pa.int32(), pa.string()))

    required = pa.schema([pa.field("text", pa.string(), nullable=False)])
    filled = [row for row in ROWS if row is not None]
    pq.write_table(pa.table([pa.array(filled)], schema=required), FOLDER / "required.parquet", row_group_size=24)

    nested = pa.array([{"text": row} for row in ROWS])
    pq.write_table(pa.table({"page": nested}), FOLDER / "nested.parquet", row_group_size=24)

    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(FOLDER / "empty_groups.parquet", schema) as writer:
        for part in ([], ROWS[:40], [], ROWS[40:], []):
            writer.write_table(pa.table([pa.array(part, pa.string())], schema=schema))
    pq.write_table(pa.table([pa.array([], pa.string())], schema=schema), FOLDER / "no_rows.parquet")
    pq.write_table(pa.table({"n": pa.array([1, 2]), "tags": pa.array([["a"], ["b"]])}), FOLDER / "no_text.parquet")


def member(data, extra=b""):
    """One gzip member, with an FEXTRA field as dictzip writes."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    flags = 4 if extra else 0
    head = b"\x1f\x8b\x08" + bytes([flags]) + struct.pack("<I", 0) + b"\x02\x03"
    if extra:
        head += struct.pack("<H", len(extra)) + extra
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "rows.json").write_text(json.dumps(ROWS))
    write_parquet()

    lines = []
    for i, row in enumerate(ROWS):
        lines.append(json.dumps({"id": i, "meta": {"text": "not this", "list": [1, {"text": 2}]}, "text": row},
                                ensure_ascii=bool(i % 2)))
    (FOLDER / "rows.jsonl").write_bytes(("\n".join(lines[:30]) + "\n\n" + "\r\n".join(lines[30:])).encode())

    text = ("\n\n".join(row for row in ROWS if row) * 2).encode()
    third = len(text) // 3
    (FOLDER / "text.txt").write_bytes(text[: 3 * third])
    parts = [text[i * third : (i + 1) * third] for i in range(3)]
    (FOLDER / "members.txt.gz").write_bytes(b"".join(gzip.compress(p, mtime=0) for p in parts) + bytes(512))
    (FOLDER / "dictzip.txt.dz").write_bytes(member(text[: 3 * third], b"RA\x08\x00\x01\x00\xcb\xe3\x00\x00\x10\x00"))
    (FOLDER / "frames.txt.zst").write_bytes(b"".join(pa.Codec("zstd").compress(p, asbytes=True) for p in parts))

    header = np.zeros(256, dtype="<i4")
    ids = np.array([50256, 15496, 995, 50256, 50256, 220, 0, 50255, 50256, 464], dtype="<u2")
    header[:3] = 20240520, 1, len(ids)
    (FOLDER / "tokens.bin").write_bytes(header.tobytes() + ids.tobytes())


if __name__ == "__main__":
    main()
