#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains and tokenises a data set behind a hub that fails (tests/support/hub_server.py), again and again,
until so many faults have been injected: connections reset before, in and after the head, bodies cut, lengths
and ranges that are wrong, 4xx and 5xx with and without Retry-After, stalls, a byte now and then, damaged
heads, redirects to nowhere, signed addresses that expire. Each time the token files must be those of the same
text on the disk, byte for byte, with each document once, and the losses and the last weights those of a run
that nothing disturbed, bit for bit. The last line says whether.

Which request meets which fault is drawn from the seed, what the request asks and how often it was asked
before: a failure is repeated by its seed. The seed of a round is the one given plus the round's number. Waits
are made short by the program's own MOE_NET_FIRST_WAIT, MOE_NET_LONGEST_WAIT and HF_HUB_DOWNLOAD_TIMEOUT.

usage: tools/check_network.py [--faults N] [--seed N] [--rate SHARE] [--moe MOE]
       tools/check_network.py --faults 10000
"""
import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = "hf://datasets/us/er/text"
SETTINGS = """model.d_model=32 model.n_layers=1 model.n_heads=2 model.n_kv_heads=1 model.num_experts=4
model.top_k=2 model.max_seq_len=32 model.expert_intermediate_dim=32 training.batch_size=16
training.gradient_accumulation_steps=1 training.learning_rate=0.001 training.warmup_steps=0
training.lr_schedule=constant training.eval_every=0 training.checkpoint_every=0 training.device=cpu
data.packing=pad data.shuffle_window_mb=1 data.unit_kb=4 data.validation_fraction=0""".split()
EXACT = ("loss", "gradient_norm", "tokens", "balance_loss", "z_loss", "layers/expert_counts")
# Of wrong heads five in a row are the server's last word: rarer than what passes.
COMMON = """close reset truncate reset-body 408 429-after 429-date 500 502 503 504 stall stall-body slow-head
slow-body short-range long-length short-length chunked-truncate no-status nowhere""".split()
RARE = "429 wrong-range ignore-range wrong-total wrong-etag encoded no-location bad-location".split()
WORDS = "stone river lamp green walks of the and to old snow under a bridge sings fog corn mill".split()
END_OF_TEXT = 50256


class Hub:
    def __init__(self, root):
        self.process = subprocess.Popen([sys.executable, ROOT / "tests/support/hub_server.py", root,
                                         "--token", "hf_secret",
                                         "--page-size", "2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.endpoint = f"http://localhost:{self.process.stdout.readline().strip()}"

    def control(self, **plan):
        query = "?" + urllib.parse.quote(json.dumps(plan)) if plan else ""
        with urllib.request.urlopen(f"{self.endpoint}/_control{query}") as answer:
            return json.load(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def write_corpus(folder, documents):
    """Numbered documents of a few words, each in a line with 2 KB that are read and thrown away: many
    requests a step."""
    draw = random.Random(7)
    folder.mkdir(parents=True)
    for part in range(5):
        with open(folder / f"part-{part}.jsonl", "w") as file:
            for number in range(part, documents, 5):
                text = f"{number}: " + " ".join(draw.choices(WORDS, k=12))
                filler = "".join(draw.choices("abcdefghijklmnop", k=2000))
                file.write(json.dumps({"filler": filler, "text": text}) + "\n")


class Check:
    def __init__(self, options, work):
        self.options, self.work = options, work
        write_corpus(work / "root/datasets/us/er/text", options.documents)
        (work / "empty.yaml").write_text("")
        self.hub = Hub(work / "root")
        self.faults, self.requests = Counter(), 0

    def moe(self, name, *words):
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("HF_", "WANDB_", "MOE_"))
                       and not key.lower().endswith("_proxy")}
        environment |= {"HF_ENDPOINT": self.hub.endpoint, "HF_TOKEN": "hf_secret",
                        "HF_HOME": str(self.work / "hf"),
                        "HF_HUB_DOWNLOAD_TIMEOUT": "0.3", "HF_HUB_ETAG_TIMEOUT": "3",
                        "MOE_NET_FIRST_WAIT": "0.001", "MOE_NET_LONGEST_WAIT": "0.01"}
        with open(self.work / f"{name}.log", "w") as log:
            code = subprocess.run(
                [self.options.moe, *words], env=environment, stdout=log, stderr=log, check=False).returncode
        said = (self.work / f"{name}.log").read_text()
        if code != 0:
            sys.exit(f"{name}: moe ended with {code}\n{said[-3000:]}")
        for secret in ("hf_secret", "secret-"):
            if secret in said:
                sys.exit(f"{name}: a secret is in what it said: {self.work / name}.log")

    def train(self, name):
        self.moe(name, "train", "--config", self.work / "empty.yaml", *SETTINGS, f"data.source={PLACE}",
                 f"training.max_steps={self.options.steps}", f"training.output_dir={self.work}",
                 f"training.run_name={name}")
        rows = [json.loads(line) for line in open(self.work / name / "metrics.jsonl")]
        record = [[row["step"]] + [row.get(key) for key in EXACT] for row in rows if "loss" in row]
        weights = next(
            (self.work / name / "checkpoints").glob(f"step-{self.options.steps:08}/model.safetensors"))
        return record, hashlib.sha256(weights.read_bytes()).hexdigest()

    def tokenize(self, name, place):
        folder = self.work / f"{name}-tokens"
        self.moe(f"{name}-tokens", "tokenize", "--source", place, "--output", folder, "data.unit_kb=4")
        return b"".join(path.read_bytes() for path in sorted(folder.glob("*.bin")))

    def count(self, name):
        report = self.hub.control()
        if report["violations"]:
            sys.exit(f"{name}: {report['violations'][:3]}")
        self.faults += Counter(report["faults"])
        self.requests += sum(count for kind, count in report["counts"].items() if kind != "bytes")

    def disturb(self, seed):
        self.hub.control(rate=self.options.rate, kinds=3 * COMMON + RARE, seed=seed, weighed=True, seconds=0,
                         pause=0.5, expires_after=50)

    def run(self):
        self.hub.control(seed=0)
        tokens = self.tokenize("disk", self.work / "root/datasets/us/er/text")
        documents = sum(
            tokens[at:at + 2] == END_OF_TEXT.to_bytes(2, "little") for at in range(1024, len(tokens), 2))
        if documents != self.options.documents:
            sys.exit(f"{documents} documents in the token files of the disk, not {self.options.documents}")
        straight = self.train("straight")
        done = 0
        while sum(self.faults.values()) < self.options.faults:
            seed = self.options.seed + done
            done += 1
            begin = time.monotonic()
            self.disturb(seed)
            same_tokens = self.tokenize(f"round-{seed}", PLACE) == tokens
            self.count(f"round-{seed}")
            self.disturb(seed)
            record, weights = self.train(f"round-{seed}")
            self.count(f"round-{seed}")
            print(f"seed {seed}: {sum(self.faults.values())} faults in {self.requests} requests so far, "
                  f"{time.monotonic() - begin:.0f} s", flush=True)
            if not same_tokens:
                sys.exit(f"FAILED: seed {seed}: the token files are not those of the disk")
            for one, other in zip(straight[0], record):
                if one != other:
                    sys.exit(f"FAILED: seed {seed}: step {one[0]}: {one} without faults, {other} with")
            if len(record) != len(straight[0]) or weights != straight[1]:
                sys.exit(f"FAILED: seed {seed}: {len(record)} steps of {len(straight[0])}, or other last "
                         f"weights")
        print("  " + ", ".join(f"{kind} {count}" for kind, count in sorted(self.faults.items())))
        print(f"passed: {sum(self.faults.values())} faults of {len(self.faults)} kinds in {self.requests} "
              f"requests; 0 bytes "
              f"wrong, 0 of {documents} documents lost or doubled, losses of {len(straight[0])} steps and "
              f"the last weights "
              f"bit-identical, {done} times (seeds {self.options.seed} to {self.options.seed + done - 1})")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moe", default=str(ROOT / "build/cpu/moe"))
    parser.add_argument("--faults", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.5, help="share of the requests that fail")
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        check = Check(options, Path(work))
        try:
            check.run()
        finally:
            check.hub.close()


if __name__ == "__main__":
    main()
