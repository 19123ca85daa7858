# SPDX-License-Identifier: MIT
"""The loss of moe and of PyTorch, step by step, from the same weights over the same rows of real text.

    python bench/peers/loss_curve.py cut 9830401 FOLDER_OF_MOE_TOKENIZE tokens.bin
    python bench/peers/loss_curve.py peer --config C --weights model.safetensors --tokens tokens.bin \\
        --output peer.csv
    python bench/peers/loss_curve.py compare --run RUN --peer peer.csv --output curves.csv

bench/loss_curve.sh does all of it. Rows are the token file cut into max_seq_len tokens, in order (moe reads
it so with data.shuffle=false, data.streams=1 and data.document_mask=false). The peer is the model of
torch_gpu.py: products in BF16, routers, norms, master weights and AdamW's moments in f32, gradients in BF16.
On a CPU, and on a GPU with training.mixed_precision no or tf32, it is that of torch_cpu.py, all in f32.
Clipping, schedule (linear warm-up, then constant), the embedding's rate and decay (matrices only) are moe's.
With training.optimizer muon or muon8bit the matrices are torch.optim.Muon's (torch_muon.py), whose products
PyTorch takes in BF16; with mixed_precision no they are f32, as moe's.
"""

import argparse
import csv
import dataclasses
import json
import pathlib
import sys
import time

import numpy
import torch
import yaml
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import torch_cpu  # noqa: E402
import torch_gpu  # noqa: E402
import torch_muon  # noqa: E402

HEADER = 1024  # bytes of a token file before its 16-bit ids
END_OF_TEXT = 50256
REAL_VOCABULARY = 50257  # the embedding's other rows are padding
LAST = 50  # steps at the end over which the curves are compared
BF16_WAYS = {"attention": "cudnn", "experts": "grouped", "head": "full"}  # of those in torch_gpu.py


def read_tokens(path):
    return numpy.memmap(path, dtype=numpy.uint16, mode="r", offset=HEADER)


def rows_of(ids, step, B, T):
    """[B, T + 1] of a step: rows of T tokens in order, each with the token behind it."""
    begin = step * B * T
    rows = numpy.lib.stride_tricks.sliding_window_view(ids[begin : begin + B * T + 1], T + 1)[::T]
    return torch.from_numpy(rows.astype(numpy.int64))


def require_tokens(path, steps, B, T):
    ids = read_tokens(path)
    if steps * B * T + 1 > len(ids):
        raise SystemExit(f"{steps} steps need {steps * B * T + 1} tokens, {path} has {len(ids)}")
    return ids


def cut(arguments):
    """The first tokens of a folder of token files as one file; tokens_val_* is the held-out text and comes
    after tokens_train_*."""
    files = sorted(arguments.folder.glob("*.bin"))
    if not files:
        raise SystemExit(f"{arguments.folder} has no token files (*.bin)")
    ids = numpy.concatenate([read_tokens(f) for f in files])[: arguments.tokens]
    if len(ids) < arguments.tokens:
        raise SystemExit(f"{arguments.folder} has {len(ids)} tokens, {arguments.tokens} are needed")
    if ids[0] != END_OF_TEXT:
        raise SystemExit("the text does not begin with <|endoftext|>")
    header = numpy.zeros(HEADER // 4, dtype=numpy.int32)
    header[:3] = 20240520, 1, len(ids)
    arguments.output.write_bytes(header.tobytes() + ids.tobytes())


def read_safetensors(path):
    """(name, f32 tensor) of each tensor in the file."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    data = numpy.memmap(path, dtype=numpy.uint8, mode="r", offset=8 + size)
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise SystemExit(f"{path}: expected F32 weights, {name} is {entry['dtype']}")
        begin, end = entry["data_offsets"]
        yield name, torch.from_numpy(data[begin:end].view(numpy.float32).reshape(entry["shape"]).copy())


class Parts(nn.Module):
    """Gives the cross-entropy and the routers' losses apart; softmax over the real vocabulary, as moe's."""

    def __init__(self, shape, bf16):
        super().__init__()

        def loss(x_ND, target_N):
            logits = functional.linear(x_ND, self.model.embedding)[:, :REAL_VOCABULARY]
            return functional.cross_entropy(logits.float(), target_N)

        self.model = torch_gpu.Model(shape, BF16_WAYS) if bf16 else torch_cpu.Model(shape, "loop", "full")
        self.model.loss = loss

    def forward(self, input_BT, target_BT):
        return self.model.parts(input_BT, target_BT)


class Trainer:
    def __init__(self, shape, training, weights, device):
        self.training = training
        exact = training["mixed_precision"] in ("no", False)  # YAML 1.1 reads no as False
        self.bf16 = device == "cuda" and training["mixed_precision"] in ("bf16", "fp16")
        torch.set_float32_matmul_precision("highest" if exact else "high")
        parts = Parts(shape, self.bf16)
        self.names = dict(parts.model.named())
        for name, parameter in self.names.items():  # the type each is computed in
            if self.bf16 and parameter.dim() > 1 and not name.endswith("router.weight"):
                parameter.data = parameter.data.bfloat16()
        self.master = {}
        for name, value in read_safetensors(weights):
            self.master[name] = value.to(device)
        if set(self.master) != set(self.names):
            raise SystemExit(f"other weights: {set(self.master) ^ set(self.names)}")
        self.copy_weights()
        self.muon = None
        if training["optimizer"].startswith("muon"):
            self.muon = torch_muon.Muon(self.master, shape, training["weight_decay"], exact)
        others = {n: w for n, w in self.master.items() if not self.muon or n not in self.muon.named}
        embedding = others.pop("embedding.weight")
        matrices = [w for w in others.values() if w.dim() > 1]
        norms = [w for w in others.values() if w.dim() == 1]
        decay, scale = training["weight_decay"], training["embedding_lr_scale"]
        groups = [{"params": [embedding], "weight_decay": decay, "scale": scale},
                  {"params": matrices, "weight_decay": decay, "scale": 1.0},
                  {"params": norms, "weight_decay": 0.0, "scale": 1.0}]
        self.adamw = torch.optim.AdamW(
            groups, lr=0.0, betas=(training["beta1"], training["beta2"]), eps=1e-8, fused=True)
        self.forward = torch.compile(parts) if self.bf16 else parts

    @torch.no_grad()
    def copy_weights(self):
        torch._foreach_copy_([self.names[n] for n in self.master], list(self.master.values()))

    def step(self, step, ids_BT1):
        rate = self.training["learning_rate"] * min(1.0, (step + 1) / max(1, self.training["warmup_steps"]))
        for group in self.adamw.param_groups:
            group["lr"] = rate * group["scale"]
        backend = torch_gpu.BACKENDS["cudnn"] if self.bf16 else torch.nn.attention.SDPBackend.MATH
        with torch.nn.attention.sdpa_kernel(backend):
            loss, extra = self.forward(ids_BT1[:, :-1], ids_BT1[:, 1:])
            (loss + extra).backward()
        for name, master in self.master.items():
            master.grad = self.names[name].grad.float()
            self.names[name].grad = None
        norm = nn.utils.clip_grad_norm_(self.master.values(), self.training["max_grad_norm"], foreach=True)
        self.adamw.step()
        if self.muon:
            self.muon.step(rate)
        self.copy_weights()
        return loss.detach(), norm


def refuse_other_optimizers(training):
    """Settings that the peer has in one way only."""
    only = {"router_lr_scale": 1, "norm_lr_scale": 1, "head_lr_scale": 1, "weight_decay_mode": "plain",
            "weight_decay_schedule": "constant", "muon_beta2": 0, "spike_sigma": 0}
    if training["optimizer"].startswith("muon"):
        only |= {"muon_coefficients": "quintic", "muon_scale": "rms", "muon_steps": 5, "muon_momentum": 0.95,
                 "muon_nesterov": True, "muon_momentum_warmup_steps": 0}
    for name, value in only.items():
        if training.get(name, value) != value:
            raise SystemExit(f"the peer has training.{name} = {value}, the run has {training[name]}")


def peer(arguments):
    config = yaml.safe_load(arguments.config.read_text())
    known = {f.name for f in dataclasses.fields(torch_cpu.Shape)}
    shape = torch_cpu.Shape(**{key: value for key, value in config["model"].items() if key in known})
    if shape.capacity_factor != 0:
        raise SystemExit("the peer is dropless: set model.capacity_factor to 0")
    defaults = {"batch_size": 32, "learning_rate": 6e-4, "warmup_steps": 100, "weight_decay": 0.1,
                "beta1": 0.9, "beta2": 0.95, "max_grad_norm": 1.0, "max_steps": 1000,
                "optimizer": "adamw8bit", "embedding_lr_scale": 1.0, "mixed_precision": "bf16"}
    training = {**defaults, **config["training"]}
    refuse_other_optimizers(training)
    B, T, steps = training["batch_size"], shape.max_seq_len, training["max_steps"]
    ids = require_tokens(arguments.tokens, steps, B, T)
    torch.set_default_device(arguments.device)
    if arguments.device == "cuda":
        torch._dynamo.config.cache_size_limit = 64
    torch.manual_seed(1)
    trainer = Trainer(shape, training, arguments.weights, arguments.device)
    losses, started = [], time.perf_counter()
    for step in range(steps):
        losses.append(trainer.step(step, rows_of(ids, step, B, T).to(arguments.device)))
        if step in (0, 1) or (step + 1) % 50 == 0:
            loss = float(losses[-1][0])
            print(f"PyTorch step {step + 1}: loss {loss:.6f}, {time.perf_counter() - started:.1f} s",
                  file=sys.stderr)
    with open(arguments.output, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "gradient_norm"])
        writer.writerows([i + 1, float(loss), float(norm)] for i, (loss, norm) in enumerate(losses))


def curve_of_run(run):
    """step -> (loss, gradient norm) of a run's metrics."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {row["step"]: (row["loss"], row["gradient_norm"]) for row in rows if "loss" in row}


def curve_of_peer(path):
    """step -> the columns of a peer's CSV."""
    with open(path, newline="") as file:
        return {int(row["step"]): {name: float(value) for name, value in row.items()}
                for row in csv.DictReader(file)}


def losses_of(path):
    """step -> (loss, gradient norm), of a run or of a peer's CSV."""
    if path.suffix != ".csv":
        return curve_of_run(path)
    return {step: (row["loss"], row["gradient_norm"]) for step, row in curve_of_peer(path).items()}


def compare(arguments):
    ours, theirs = losses_of(arguments.run), losses_of(arguments.peer)
    if set(ours) != set(theirs):
        raise SystemExit(f"{arguments.run} has {len(ours)} steps, {arguments.peer} {len(theirs)}")
    steps = sorted(ours)
    with open(arguments.output, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "moe", "pytorch", "moe_gradient_norm", "pytorch_gradient_norm"])
        writer.writerows([s, ours[s][0], theirs[s][0], ours[s][1], theirs[s][1]] for s in steps)
    relative = {s: (ours[s][0] - theirs[s][0]) / theirs[s][0] for s in steps}
    last = steps[-LAST:]
    result = {"steps": len(steps), "first_loss": {"moe": ours[steps[0]][0], "pytorch": theirs[steps[0]][0]},
              "mean_loss_of_last": {"moe": sum(ours[s][0] for s in last) / len(last),
                                    "pytorch": sum(theirs[s][0] for s in last) / len(last)},
              "last": len(last),
              "mean_difference": sum(relative[s] for s in last) / len(last),
              "mean_absolute_difference": sum(abs(relative[s]) for s in last) / len(last),
              "largest_difference": max(abs(d) for d in relative.values())}
    print(json.dumps(result))
    if result["mean_absolute_difference"] >= arguments.bound:
        raise SystemExit(f"the curves differ by {result['mean_absolute_difference']:.4f}, allowed is "
                         f"{arguments.bound}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("cut", help="the first tokens of a folder of token files as one file")
    command.add_argument("tokens", type=int)
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("output", type=pathlib.Path)
    command.set_defaults(work=cut)
    command = commands.add_parser("peer", help="train PyTorch's model")
    command.add_argument(
        "--config", type=pathlib.Path, required=True, help="the resolved settings of moe's run")
    command.add_argument("--weights", type=pathlib.Path, required=True, help="model.safetensors of step 0")
    command.add_argument("--tokens", type=pathlib.Path, required=True)
    command.add_argument("--output", type=pathlib.Path, required=True)
    command.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    command.set_defaults(work=peer)
    command = commands.add_parser("compare", help="both curves beside each other")
    command.add_argument("--run", type=pathlib.Path, required=True, help="moe's, or the CSV of another peer")
    command.add_argument("--peer", type=pathlib.Path, required=True)
    command.add_argument("--output", type=pathlib.Path, required=True)
    command.add_argument(
        "--bound", type=float, default=0.005, help="of the mean relative difference at the end")
    command.set_defaults(work=compare)
    arguments = parser.parse_args()
    arguments.work(arguments)


if __name__ == "__main__":
    main()
