#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `moe import` and `moe export` to two promises, on a model with random weights that it makes.

Memory: beside the largest tensor, as the run has it, no more than 128 MiB of the process's own (RssAnon of
/proc; pages of mapped files are the system's to take back). Import from a folder, import from a hub on the
loopback (tests/support/hub_server.py), export. --verify is left out: it computes with the whole model.

Kills: SIGKILL at moments drawn from the seed, in turn in an import from a folder, in one from the hub, in an
export. After each kill the place has nothing, or all. The next attempt there must succeed, leave nothing
beside, and give the same files, byte for byte, as one that nobody disturbed.

The last line says whether. Needs /proc.

usage: tools/check_import.py [--moe MOE] [--gb GB] [--kills N] [--seed N] [--tokenizer FILE] [--rows N]
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST = 128 << 20  # bytes beside one tensor
OF_PLACE = ("config.yaml", "state.json", "manifest.json", "README.md")  # they name a place or a time
EMPTY = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_act": "silu",
         "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": None,
         "tie_word_embeddings": False, "torch_dtype": "bfloat16"}


def tensors(config):
    """Names and shapes of a Mixtral."""
    D, F, V = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    kv = D * config["num_key_value_heads"] // config["num_attention_heads"]
    yield "model.embed_tokens.weight", (V, D)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (D,)
        for name, rows in (("q", D), ("k", kv), ("v", kv), ("o", D)):
            yield f"{layer}self_attn.{name}_proj.weight", (rows, D)
        yield layer + "post_attention_layernorm.weight", (D,)
        moe = layer + "block_sparse_moe."
        yield moe + "gate.weight", (config["num_local_experts"], D)
        for e in range(config["num_local_experts"]):
            yield f"{moe}experts.{e}.w1.weight", (F, D)
            yield f"{moe}experts.{e}.w3.weight", (F, D)
            yield f"{moe}experts.{e}.w2.weight", (D, F)
    yield "model.norm.weight", (D,)
    yield "lm_head.weight", (V, D)


def count(shape):
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


def write_shard(path, some, draw):
    """bf16 of some 0.01, of either sign: low bytes at random."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in some:
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + 2 * count(shape)]}
        at += 2 * count(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = bytearray(1 << 20)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for begin in range(0, at, len(block)):
            if begin % (64 << 20) == 0:
                block[0::2] = draw.randbytes(len(block) // 2)
                block[1::2] = bytes(draw.choices((0x3c, 0xbc), k=len(block) // 2))
            file.write(block[:min(len(block), at - begin)])


def write_model(folder, config, seed, shard_bytes, tokenizer=None):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    if tokenizer:
        name = "tekken.json" if Path(tokenizer).name.startswith("tekken") else "tokenizer.json"
        shutil.copy(tokenizer, folder / name)
    draw, shards, size = random.Random(seed), [[]], 0
    for name, shape in tensors(config):
        if size + 2 * count(shape) > shard_bytes and shards[-1]:
            shards.append([])
            size = 0
        shards[-1].append((name, shape))
        size += 2 * count(shape)
    weight_map = {}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(folder / name, shard, draw)
        weight_map |= {tensor: name for tensor, _ in shard}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def largest(config):
    """Bytes of the run's largest tensor: f32, all experts of a layer in one."""
    D, F = config["hidden_size"], config["intermediate_size"]
    return 4 * max(config["vocab_size"] * D, config["num_local_experts"] * 2 * F * D)


class Hub:
    def __init__(self, root):
        self.process = subprocess.Popen([sys.executable, ROOT / "tests/support/hub_server.py", root],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = f"http://localhost:{self.process.stdout.readline().strip()}"

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Check:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.good = True
        self.hub = Hub(work / "root")

    def start(self, *words):
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("HF_", "MOE_")) and not key.lower().endswith("_proxy")}
        environment |= {"HF_ENDPOINT": self.hub.endpoint, "HF_HOME": str(self.work / "hf"),
                        "MOE_NET_FIRST_WAIT": "0.01", "MOE_NET_LONGEST_WAIT": "0.1"}
        return subprocess.Popen([self.options.moe, *map(str, words)], env=environment, cwd=self.work,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *words):
        process = self.start(*words)
        said = process.communicate()[0]
        if process.returncode != 0:
            sys.exit(f"moe {' '.join(map(str, words))} ended with {process.returncode}\n{said[-3000:]}")

    def measured(self, what, beside, *words):
        """Runs it, and looks at its memory all the while."""
        process = self.start(*words)
        anonymous = whole = 0
        begin = time.monotonic()
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            anonymous = max(anonymous, int(fields.get("RssAnon", "0 kB").split()[0]) << 10)
            whole = max(whole, int(fields.get("VmHWM", "0 kB").split()[0]) << 10)
            time.sleep(0.001)
        said = process.communicate()[0]
        if process.returncode != 0:
            sys.exit(f"moe {' '.join(map(str, words))} ended with {process.returncode}\n{said[-3000:]}")
        good = anonymous <= MOST + beside
        self.good &= good
        print(f"{what:34} {anonymous / 2**20:7.1f} MiB of its own (at most {(MOST + beside) / 2**20:.0f}), "
              f"{whole / 2**20:8.1f} with mapped files, {time.monotonic() - begin:6.1f} s"
              f"{'' if good else '  TOO MUCH'}", flush=True)

    def memory(self):
        """The largest tensor counts once; nothing of it is needed today."""
        config = EMPTY | {"hidden_size": 1024, "intermediate_size": 3584, "num_attention_heads": 16,
                          "num_key_value_heads": 4, "num_local_experts": 8, "num_experts_per_tok": 2,
                          "vocab_size": self.options.rows}
        config["num_hidden_layers"] = max(1, round(self.options.gb * 1e9 / 2 / (8 * 3 * 1024 * 3584)))
        model = self.work / "root/models/us/large"
        write_model(model, config, 1, 1 << 30, self.options.tokenizer)
        size = sum(path.stat().st_size for path in model.iterdir())
        print(f"a model of {size / 1e9:.2f} GB, whose largest tensor has {largest(config) / 2**20:.0f} MiB")
        beside = largest(config)
        self.measured("import from a folder", beside, "import", model, "--output", "runs/folder")
        self.measured("import from the hub", beside, "import", "hf://us/large", "--output", "runs/hub")
        shutil.rmtree(self.work / "hf")
        shutil.rmtree(self.work / "runs/hub")
        self.measured("export", beside, "export", "runs/folder", "out", "--shard-gb", "1")
        theirs, ours = (hashes(folder) for folder in (model, self.work / "out"))
        name = "config.json"
        same = theirs == ours and (self.work / "out" / name).read_bytes() == (model / name).read_bytes()
        self.good &= same
        print(f"{len(ours)} tensors of the export {'are' if same else 'ARE NOT'} those that came in")
        for folder in ("runs", "out"):
            shutil.rmtree(self.work / folder)
        shutil.rmtree(model)

    def kills(self):
        config = EMPTY | {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4,
                          "num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": 2,
                          "vocab_size": 50304, "num_hidden_layers": 4}
        model = self.work / "root/models/us/small"
        write_model(model, config, 2, 20 << 20)
        self.run("import", model, "--output", "runs/whole")
        self.run("export", "runs/whole", "whole", "--without-run")
        ways = {"import from a folder": ("runs/killed", ["import", model, "--output", "runs/killed"]),
                "import from the hub": ("runs/hub", ["import", "hf://us/small", "--output", "runs/hub"]),
                "export": ("killed", ["export", "runs/whole", "killed", "--without-run"])}
        run = files(self.work / "runs/whole")
        expected = {"runs/killed": run, "runs/hub": run, "killed": files(self.work / "whole")}
        seconds = {}
        for name, (place, words) in ways.items():
            begin = time.monotonic()
            self.run(*words)
            seconds[name] = time.monotonic() - begin
            self.compare(name, place, expected[place])
        draw = random.Random(self.options.seed)
        whole = 0
        for kill in range(self.options.kills):
            name = list(ways)[kill % len(ways)]
            place, words = ways[name]
            shutil.rmtree(self.work / place)
            shutil.rmtree(self.work / "hf", ignore_errors=True)
            for _ in range(3):  # three in a row: what one leaves the next one finds
                process = self.start(*words)
                time.sleep(draw.uniform(0, 1.1 * seconds[name]))
                process.send_signal(signal.SIGKILL)
                said = process.communicate()[0]
                if (self.work / place).exists():
                    whole += 1
                    self.compare(name + ", killed", place, expected[place])
                    shutil.rmtree(self.work / place)
                elif process.returncode == 1:
                    sys.exit(f"{name}: {said[-2000:]}")
            self.run(*words)
            self.compare(name + ", after kills", place, expected[place])
            beside = [path for path in (self.work / place).parent.iterdir() if ".partial-" in path.name]
            if beside:
                self.good = False
                print(f"{name}: left beside: {beside}")
        print(f"{3 * self.options.kills} kills (seed {self.options.seed}), {whole} of them too late")

    def compare(self, name, place, expected):
        found = files(self.work / place)
        if found != expected:
            self.good = False
            print(f"{name}: {place} differs in {sorted(set(found.items()) ^ set(expected.items()))[:4]}")


def hashes(folder):
    """Of each tensor of a folder, with its type and shape."""
    found = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with open(path, "rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(length))
            for name, entry in header.items():
                if name == "__metadata__":
                    continue
                begin, end = entry["data_offsets"]
                file.seek(8 + length + begin)
                digest = hashlib.blake2b()
                for at in range(begin, end, 1 << 20):
                    digest.update(file.read(min(1 << 20, end - at)))
                found[name] = (entry["dtype"], tuple(entry["shape"]), digest.hexdigest())
    return found


def files(folder):
    """What a run or an export holds, but for what names its place or its time."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in OF_PLACE}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--moe", default=str(ROOT / "build/cpu/moe"))
    parser.add_argument("--gb", type=float, default=2, help="of the model that memory is measured with")
    parser.add_argument("--kills", type=int, default=30, help="times three")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokenizer",
                        help="a tokenizer.json or tekken.json for the large model; needs --rows")
    parser.add_argument("--rows", type=int, default=50304, help="of the large model's embedding")
    options = parser.parse_args()
    options.moe = str(Path(options.moe).resolve())
    work = Path(tempfile.mkdtemp(prefix="moe-import-"))
    check = Check(options, work)
    try:
        if options.gb > 0:
            check.memory()
        if options.kills > 0:
            check.kills()
    finally:
        check.hub.close()
        shutil.rmtree(work)
    print("good" if check.good else "NOT GOOD")
    return 0 if check.good else 1


if __name__ == "__main__":
    sys.exit(main())
