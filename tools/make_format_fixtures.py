#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/formats/VERSION/: what this version of the program leaves on the disk, so that every
later version is held to reading it and going on from it (tests/run/formats_test.cpp). The fixtures of a
version are made once.

  run/       a run of 4 steps: settings, record, W&B and TensorBoard files, samples, checkpoints
  tokens/    shards of `moe tokenize` that broke off after two of three, and its state
  whole/     the same, finished
  export/    the run as `moe export` writes it, without the vocabulary (it is that of assets/)
  expected.json   the losses of the same run over 6 steps without a pause

The vocabulary makes even this model large. So the embedding begins with few different values, and the
safetensors files are kept compressed (.gz).

usage: tools/make_format_fixtures.py VERSION [MOE]
"""
import array
import gzip
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = "stone river lamp green walks of the and to old snow under a bridge sings".split()
WIDTH = 4
SETTINGS = f"""model.d_model={WIDTH} model.n_layers=2 model.n_heads=2 model.n_kv_heads=1 model.num_experts=4
model.top_k=2 model.expert_intermediate_dim=6 model.vocab_size=50257 model.max_seq_len=24
training.batch_size=2 training.max_steps=0 training.gradient_accumulation_steps=1 training.learning_rate=0.01
training.seed=11 training.lr_schedule=constant training.warmup_steps=0 training.embedding_8bit=true
training.checkpoint_every=2 training.keep_checkpoints=2 training.eval_every=2 training.eval_batches=1
training.device=cpu training.threads=1 training.output_dir=. training.sample_prompt=Snow
data.document_split=line data.cache_dir=cache logging.tensorboard=true logging.wandb_mode=offline""".split()


def corpus():
    """160 lines without a random number: the same on every machine."""
    lines = []
    for line in range(160):
        words = [
            WORDS[(line * 7 + word * word * 3 + line * word) % len(WORDS)] for word in range(5 + line % 6)]
        lines.append(" ".join(words).capitalize() + ".")
    return "\n".join(lines) + "\n"


def simplify(path):
    """Gives the embedding 49 different rows."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8:8 + size]), bytearray(data[8 + size:])
    entry = header["model.embed_tokens.weight"]
    begin, end = entry["data_offsets"]
    values = ((row // 7 ** (column % 2) * (1 + column // 2) % 7 - 3) / 64
              for row in range(entry["shape"][0]) for column in range(WIDTH))
    body[begin:end] = array.array("f", values).tobytes()
    path.write_bytes(data[:8 + size] + body)


def main():
    version = sys.argv[1]
    folder = ROOT / "tests/golden/formats" / version
    if folder.exists():
        sys.exit(f"{folder} is there: fixtures of a version are made once")
    work = Path(tempfile.gettempdir()) / "moe-formats"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    # records name its place
    shutil.copy(sys.argv[2] if len(sys.argv) > 2 else ROOT / "build/cpu/moe", work / "moe")

    def moe(*words, code=0):
        found = subprocess.run([work / "moe", *words], cwd=work, stdout=subprocess.DEVNULL).returncode
        if found != code:
            sys.exit(f"moe {' '.join(words)}: exit code {found}, expected {code}")

    (work / "corpus.txt").write_text(corpus())
    (work / "none.yaml").write_text("{}\n")
    moe("train", "--config", "none.yaml", *SETTINGS, "data.source=corpus.txt", "training.run_name=start")
    moe("export", "start", "start_exported")
    simplify(work / "start_exported/model.safetensors")
    for name, steps in (("run", 4), ("straight", 6)):
        moe("import", "start_exported", "--output", name)
        moe("train", "--resume", name, f"training.max_steps={steps}")
    moe("export", "run", "export")
    tokens = ["--source", "corpus.txt", "--shard-tokens", "500", "data.document_split=line", "--output"]
    (work / "tokens/tokens_train_000003.bin").mkdir(parents=True)  # in the way of the third shard
    moe("tokenize", *tokens, "tokens", code=1)
    (work / "tokens/tokens_train_000003.bin").rmdir()
    moe("tokenize", *tokens, "whole")
    rows = [json.loads(line) for line in open(work / "straight/metrics.jsonl")]
    expected = {"losses": [row["loss"] for row in rows if "loss" in row],
                "validation": {
                    row["step"]: row["validation_loss"] for row in rows if "validation_loss" in row}}
    (work / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")

    for name in ("vocab.json", "merges.txt"):
        (work / "export" / name).unlink()
    for name in ("run", "tokens", "whole", "export"):
        shutil.copytree(work / name, folder / name, symlinks=True)
    for name in ("corpus.txt", "expected.json"):
        shutil.copy(work / name, folder / name)
    for path in folder.rglob("*.safetensors"):
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
        path.unlink()
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
