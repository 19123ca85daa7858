#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tokens per second from Parquet to packed rows in Python, beside bench/data_tool on the same file.

usage: data_peers.py make FILE [TEXT]
           a file like FineWeb-Edu's: documents of about 4.8 KB, row groups of 1,000 rows, Snappy, the text of
           a group in one large dictionary page. TEXT: the English text to cut (default: the dictionary of the
           Debian package dict-gcide).
       data_peers.py run FILE [SECONDS]
           tiktoken and tokenizers on the documents, one thread; `datasets` streaming with each of them, one
           process, rows of 1,024 tokens concatenated and cut.
"""
import gzip
import os
import sys
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def make(path, text="/usr/share/dictd/gcide.dict.dz"):
    import pyarrow as pa
    import pyarrow.parquet as pq

    with gzip.open(text) as file:
        words = file.read().decode("utf-8", "replace")
    documents = [words[i:i + 4760] for i in range(0, len(words), 4760)]
    count = len(documents)
    table = pa.table({
        "text": documents,
        "id": [f"<urn:uuid:{i:032x}>" for i in range(count)],
        "dump": ["CC-MAIN-2013-20"] * count,
        "url": [f"http://example.org/{i}" for i in range(count)],
        "file_path": [f"s3://commoncrawl/crawl-data/{i // 100}.warc.gz" for i in range(count)],
        "language": ["en"] * count,
        "language_score": [0.9 + i % 100 / 1000 for i in range(count)],
        "token_count": [len(d) // 4 for d in documents],
        "score": [2.5 + i % 250 / 100 for i in range(count)],
        "int_score": [3 + i % 3 for i in range(count)],
    })
    pq.write_table(table, path, row_group_size=1000, compression="snappy", dictionary_pagesize_limit=64 << 20)
    print(f"{path}: {count} documents, {os.path.getsize(path)} bytes")


def measure(name, documents, seconds, encode):
    """encode(text) -> number of ids; documents: endless."""
    tokens = size = 0
    begin, processor = time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < seconds:
        text = next(documents)
        tokens += encode(text)
        size += len(text.encode())
    wall = time.perf_counter() - begin
    print(f"{name}: {tokens / wall / 1e6:.3f} M tokens/s, {size / wall / 1e6:.2f} MB/s, "
          f"{tokens / (time.process_time() - processor) / 1e6:.3f} M tokens per processor second", flush=True)


def endless(texts):
    while True:
        yield from texts


class Rows:
    """Concatenates and cuts, as numpy arrays."""

    def __init__(self, ids_of):
        self.ids_of, self.rest, self.rows = ids_of, [50256], []

    def __call__(self, text):
        import numpy as np
        ids = self.ids_of(text)
        self.rest += ids
        self.rest.append(50256)
        while len(self.rest) > 1024:
            self.rows = np.array(self.rest[:1025], dtype=np.int32)
            del self.rest[:1024]
        return len(ids) + 1


def tokenizers():
    """name -> function from text to GPT-2 ids, of what is installed."""
    found = {}
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    merges = [tuple(line.split()) for line in open(f"{root}/assets/gpt2_merges.txt", encoding="utf-8")
              if line.strip() and not line.startswith("#version")]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    letters = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    vocabulary = {letters[b]: i for i, b in enumerate(printable + others)}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    bytes_of = {c: b for b, c in letters.items()}
    try:
        import tiktoken
        ranks = {bytes(bytes_of[c] for c in word): i for word, i in vocabulary.items()}
        pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
        found["tiktoken " + tiktoken.__version__] = tiktoken.Encoding(
            "gpt2", pat_str=pattern, mergeable_ranks=ranks,
            special_tokens={"<|endoftext|>": 50256}).encode_ordinary
    except ImportError:
        print("tiktoken: not installed")
    try:
        import tokenizers as hf
        tokenizer = hf.Tokenizer(hf.models.BPE(vocab=vocabulary, merges=merges))
        tokenizer.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
        found["tokenizers " + hf.__version__] = lambda text: tokenizer.encode(
            text, add_special_tokens=False).ids
    except ImportError:
        print("tokenizers: not installed")
    return found


def run(path, seconds=10.0):
    import pyarrow.parquet as pq

    texts = pq.read_table(path, columns=["text"])["text"].to_pylist()
    for name, ids_of in tokenizers().items():
        measure(f"{name}, text in memory", endless(texts), seconds, lambda text, f=ids_of: len(f(text)))
    try:
        import datasets
    except ImportError:
        print("datasets: not installed")
        return
    for name, ids_of in tokenizers().items():
        stream = datasets.load_dataset(
            "parquet", data_files=path, split="train", streaming=True, columns=["text"])
        stream = stream.shuffle(seed=1, buffer_size=1000)
        measure(f"datasets {datasets.__version__} streaming, {name}",
                (row["text"] for row in endless(stream)), seconds, Rows(ids_of))


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("make", "run"):
        sys.exit(__doc__)
    if sys.argv[1] == "make":
        make(*sys.argv[2:4])
    else:
        run(sys.argv[2], *map(float, sys.argv[3:4]))
