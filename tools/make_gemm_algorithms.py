#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes assets/gemm_algorithms.json: the algorithms of cuBLASLt that come with the program.

    tools/make_gemm_algorithms.py ~/.cache/moe/gpu/NVIDIA-H200-cublaslt-130100.json [FILE...]

Each file is one of the user's cache (src/gpu/gemm_algorithm_cache.h), of one kind of GPU and one version of
the library, which its name says. Its products replace those that the asset has of the same kind; other kinds
stay, and small products are left out. docs/architecture.md says how such a file is gathered. --remove KIND
takes a kind out.
"""
import argparse
import json
import pathlib
import re
import sys

ASSET = pathlib.Path(__file__).resolve().parent.parent / "assets" / "gemm_algorithms.json"
ABOUT = ("Which algorithm of cuBLASLt is fastest for which product, by kind of GPU and version of the "
         "library: the eight words of the algorithm, then the parts that the inner dimension is cut into. "
         "Written by tools/make_gemm_algorithms.py from files that runs on these GPUs measured.")
WORDS = 9
LEAST = 1 << 24  # multiplications: smaller products are those of tests, and quickly measured


def is_small(product):
    """Of "NT bf16 bf16 32768x3072x1024 256"."""
    m, n, k = map(int, product.split()[3].split("x"))
    return m * n * k < LEAST


def read_choices(path):
    """{product: words} of a user's file."""
    choices = json.loads(path.read_text())
    for product, words in choices.items():
        if len(words) != WORDS or not all(isinstance(word, int) for word in words) or words[-1] < 1:
            raise SystemExit(f"{path}: {product}: {WORDS} whole numbers expected, found {words}")
    choices = {product: words for product, words in choices.items() if not is_small(product)}
    if not choices:
        raise SystemExit(f"{path}: products of at least {LEAST} multiplications expected, found none")
    return choices


def write(asset):
    """One product a line, so that a change can be read."""
    kinds = [f'"about": {json.dumps(ABOUT)}']
    for kind, choices in sorted(asset.items()):
        lines = ",\n".join(f'    {json.dumps(product)}: {json.dumps(words)}'
                           for product, words in sorted(choices.items()))
        kinds.append(f'"{kind}": {{\n{lines}\n  }}')
    return "{\n  " + ",\n  ".join(kinds) + "\n}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    parser.add_argument("--remove", metavar="KIND", action="append", default=[])
    parser.add_argument("--asset", type=pathlib.Path, default=ASSET)
    options = parser.parse_args()
    asset = json.loads(options.asset.read_text()) if options.asset.exists() else {}
    asset.pop("about", None)
    for kind in options.remove:
        if asset.pop(kind, None) is None:
            raise SystemExit(f"{options.asset}: no {kind}")
    for path in options.files:
        if not re.fullmatch(r"[0-9A-Za-z-]+-cublaslt-[0-9]+", path.stem):
            raise SystemExit(f"{path}: a name like NVIDIA-H200-cublaslt-130100.json expected")
        asset[path.stem] = read_choices(path)
    options.asset.write_text(write(asset))
    for kind, choices in sorted(asset.items()):
        print(f"{kind}: {len(choices)} products", file=sys.stderr)


if __name__ == "__main__":
    main()
