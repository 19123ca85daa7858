#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/hub/ with Hugging Face's own library (made with huggingface_hub 2.4.0).

addresses.txt: how it reads hf:// addresses.   cache.txt: the cache it leaves after downloading a small
repository, served by tests/support/hub_server.py; tests/hub/cache_test.cpp has the same repository.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden/hub"

ADDRESSES = """
hf://datasets/u/n
hf://datasets/u/n/
hf://datasets/HuggingFaceFW/fineweb-edu/sample/10BT
hf://datasets/u/n@v1/a/b
hf://datasets/u/n@a%2Fb/c
hf://datasets/u/n@refs/convert/parquet/x/y
hf://datasets/u/n@refs/pr/12
hf://datasets/u/n@refs%2Fpr%2F1/z
hf://datasets/u/n@refs/heads/x
hf://datasets/u/n@x/
hf://datasets/u/n@a b/x
hf://datasets/u/n/a@b/c
hf://datasets/u/n/a%20b
hf://u/n/a
hf://models/u/n@main/a
hf://datasets/u/n@
hf://datasets/u/n//a
hf://datasets/u
hf://datasets/u/n--m/a
hf://datasets/u/n..m/a
hf://datasets/.u/n
""".split("\n")[1:-1]


def read_address(parse, text):
    try:
        uri = parse(text)
    except ValueError:
        return [text, "refused"]
    return [text, uri.type + "s", uri.id, uri.revision or "", uri.path_in_repo]


def write_repository(folder):
    (folder / "data/deep").mkdir(parents=True)
    (folder / ".refs").write_text("refs/convert/parquet\n")
    (folder / "README.md").write_text("# Three files\n")
    (folder / "data/small.jsonl").write_text('{"text": "One line."}\n')
    (folder / "data/deep/large.bin").write_bytes(bytes(i * 7 % 256 for i in range(5000)))


def describe(cache):
    for path in sorted(cache.rglob("*")):
        name = path.relative_to(cache).as_posix()
        if path.is_symlink():
            yield f"{name} -> {os.readlink(path)}"
        elif path.is_file() and "/refs/" in name:
            yield f"{name} = {path.read_text()}"
        elif path.is_file() and "/blobs/" in name:
            yield f"{name} : {path.stat().st_size} bytes"


def main():
    GOLDEN.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        write_repository(root / "datasets/user/name")
        server = subprocess.Popen([sys.executable, ROOT / "tests/support/hub_server.py", root, "--any-range"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.environ |= {"HF_ENDPOINT": f"http://localhost:{server.stdout.readline().strip()}",
                       "HF_HOME": temporary, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        from huggingface_hub import hf_hub_download  # reads the environment when it is imported
        from huggingface_hub.utils import parse_hf_uri
        for name in ("README.md", "data/small.jsonl", "data/deep/large.bin"):
            hf_hub_download("user/name", name, repo_type="dataset")
        hf_hub_download("user/name", "README.md", repo_type="dataset", revision="refs/convert/parquet")
        server.stdin.close()
        server.wait()
        lines = list(describe(root / "hub"))
    (GOLDEN / "cache.txt").write_text("\n".join(lines) + "\n")
    addresses = ["\t".join(read_address(parse_hf_uri, text)) for text in ADDRESSES]
    (GOLDEN / "addresses.txt").write_text("\n".join(addresses) + "\n")


if __name__ == "__main__":
    main()
