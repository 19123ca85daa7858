#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains a small model with the program and computes what its rows of metrics say from outside: from the
weights of each step's checkpoint and the tokens that the step read, with tools/reference_model.py in float64.
Fails on the first number that differs by more than its bound.

usage: tools/check_metrics.py MOE [--text FILE] [--steps N]
needs: pip install torch numpy safetensors pyyaml

The run reads a token file in order (no shuffling, one stream), so that a batch is known: rows of T tokens,
one after another. A step is of two micro-batches; every step is followed by a validation and a checkpoint.
Once without a limit on the experts' load and once with capacity factor 1, where assignments are dropped.
"""
import argparse
import dataclasses
import gzip
import json
import math
import subprocess
import tempfile
from pathlib import Path

import numpy
import torch
import yaml
from reference_model import Config, ReferenceModel
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
END_OF_TEXT, REAL_VOCABULARY = 50256, 50257
B, T, MICRO_BATCHES, VALIDATIONS = 3, 64, 2, 2
# docs/metrics.md: activations of so many sequences, queries with so many tokens before
PROBED_ROWS, FIRST_QUERY = 2, 8
SLICES, SLICE = 16, 4096  # and slices of large weights
MODEL = {"d_model": 64, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "num_experts": 8, "top_k": 2,
         "expert_intermediate_dim": 48,
         "aux_loss_weight": 0.01, "z_loss_weight": 0.001, "max_seq_len": T, "init_std": 0.1}


def group_of(name):
    for part, group in (
        ("norm", "norms"), ("embedding", "embedding"), ("router", "router"), ("attention", "attention")):
        if part in name:
            return group
    return "experts"


def byte_lengths():
    """Bytes of text that each id of GPT-2's vocabulary stands for: bytes, then merges, then <|endoftext|>
    with none."""
    pieces = {}
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in visible] + [chr(256 + i) for i in range(256 - len(visible))]
    for letter in letters:
        pieces[letter] = len(pieces)
    lengths = [1] * 256
    for line in (ROOT / "assets/gpt2_merges.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#version") or not line.strip():
            continue
        lengths.append(len(line.replace(" ", "")))  # one letter stands for one byte
    return numpy.array(lengths + [0])


class Tokens:
    def __init__(self, path):
        self.ids = torch.from_numpy(numpy.fromfile(path, dtype=numpy.uint16, offset=1024).astype(numpy.int64))

    def batch(self, index):
        """(input, target, first) of the index-th batch; first: where in its row the document of a token
        starts."""
        begin = index * B * T
        rows = self.ids[begin : begin + B * T].view(B, T)
        target = self.ids[begin + 1 : begin + B * T + 1].view(B, T)
        place = torch.where(rows == END_OF_TEXT, torch.arange(T), 0)
        return rows, target, place.cummax(1).values


class Checker:
    def __init__(self, what, row):
        self.what, self.row, self.worst = what, row, {}

    def __call__(self, name, expected, bound=0.0):
        """bound: of the difference, relative to the largest number expected."""
        assert name in self.row, f"{self.what}: no {name}"
        found = numpy.array(self.row[name], dtype=float)
        wanted = numpy.array(expected, dtype=float)
        assert found.shape == wanted.shape, (
            f"{self.what}, {name}: shape {found.shape}, expected {wanted.shape}")
        error = 0.0
        if (found != wanted).any():
            error = float(numpy.abs(found - wanted).max() / max(numpy.abs(wanted).max(), 1e-30))
        assert error <= bound, (f"{self.what}, {name}: {self.row[name]}, expected {expected} "
                                f"(differ by {error:.1e}, bound {bound:.0e})")
        self.worst[name] = error


def norms_by_group(tensors):
    squares = {}
    for name, tensor in tensors.items():
        squares[group_of(name)] = squares.get(group_of(name), 0.0) + float(tensor.double().square().sum())
    return {group: math.sqrt(square) for group, square in squares.items()}


def gates_of(tensors, config):
    """The rows of the fused projections that are gates: of each query head [q | gate]."""
    found = []
    for name, tensor in tensors.items():
        if name.endswith("qkvg.weight"):
            heads = tensor[: 2 * config.n_heads * config.head_width].view(
                config.n_heads, 2, config.head_width, -1)
            found.append(heads[:, 1].flatten())
    return torch.cat(found).double()


def sampled(tensor):
    flat = tensor.double().flatten()
    n = len(flat)
    if n <= SLICES * SLICE:
        return flat
    return torch.cat(
        [flat[begin : begin + SLICE] for begin in (i * (n - SLICE) // (SLICES - 1) for i in range(SLICES))])


def check_step(check, config, weights, batches, training):
    """The row of a step: from the weights before it."""
    parameters = {name: w.double().requires_grad_() for name, w in weights.items()}
    outputs = [ReferenceModel(config, parameters).forward(*batch) for batch in batches]
    # All micro-batches have as many targets, so that the mean of their means is the mean over all.
    (sum(output.loss for output in outputs) / len(outputs)).backward()
    loss = sum(float(output.cross_entropy.detach()) for output in outputs) / len(outputs)
    check("loss", loss, 1e-6)
    check("perplexity", math.exp(loss), 1e-5)
    gradients = {name: w.grad for name, w in parameters.items()}
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients.values()))
    check("gradient_norm", norm, 2e-5)
    for group, expected in norms_by_group(gradients).items():
        check("gradient_norm/" + group, expected, 2e-5)
    check("clip_scale", min(1.0, training["max_grad_norm"] / norm), 2e-5)

    layers = range(config.n_layers)
    mean = lambda values: [sum(v) / len(v) for v in values]
    balance = mean([[float(o.routing[i].balance_loss.detach()) for o in outputs] for i in layers])
    z = mean([[float(o.routing[i].z_loss.detach()) for o in outputs] for i in layers])
    asked = numpy.array([sum(o.routing[i].asked_E.numpy() for o in outputs) for i in layers], dtype=float)
    kept = numpy.array([sum(int(o.routing[i].kept_NK.sum()) for o in outputs) for i in layers], dtype=float)
    share = asked / asked.sum(1, keepdims=True)
    nats = -numpy.where(share > 0, share * numpy.log(numpy.where(share > 0, share, 1)), 0).sum(1)
    entropy = nats / math.log(config.num_experts)
    cv = asked.std(1) / asked.mean(1)
    busiest = asked.max(1) / asked.mean(1)
    dropped = 1 - kept / asked.sum(1)
    check("layers/expert_counts", asked)
    for name, one, each, bound in (("expert_load_entropy", entropy.mean(),
                                    ("layers/entropy", entropy), 1e-12),
                                   ("expert_load_cv", cv.mean(), ("layers/load_cv", cv), 1e-12),
                                   ("expert_load_max_over_mean", busiest.max(),
                                    ("layers/max_over_mean", busiest), 1e-12),
                                   ("dropped_share", dropped.mean(), ("layers/dropped_share", dropped),
                                    1e-12),
                                   ("balance_loss", numpy.mean(balance), ("layers/balance_loss", balance),
                                    1e-6),
                                   ("z_loss", numpy.mean(z), ("layers/z_loss", z), 1e-5)):
        check(name, one, bound)
        check(*each, bound)
    check("dead_experts", int((asked == 0).sum()))
    check("layers/dead_share", (asked == 0).mean(1))
    return gates_of(gradients, config), float(dropped.mean()), int((asked == 0).sum())


@torch.no_grad()
def check_validation(check, config, before, weights, batches, gate_gradient, lengths):
    """The row of a validation: from the weights after a step, and those before it for the update."""
    check("weight_norm", math.sqrt(sum(float(w.double().square().sum()) for w in weights.values())), 1e-9)
    for group, expected in norms_by_group(weights).items():
        check("weight_norm/" + group, expected, 1e-9)
    check("weight_norm/gate", float(gates_of(weights, config).norm()), 1e-9)
    if before:
        moved = norms_by_group({name: sampled(w) - sampled(before[name]) for name, w in weights.items()})
        size = norms_by_group({name: sampled(w) for name, w in before.items()})
        for group, step in moved.items():
            check("update_ratio/" + group, step / size[group], 1e-9)
        old = gates_of(before, config)
        check("update_ratio/gate", float((gates_of(weights, config) - old).norm() / old.norm()), 1e-9)
        check("gradient_norm/gate", float(gate_gradient.norm()), 2e-5)

    dropless = dataclasses.replace(config, capacity_factor=0.0)  # as every validation is
    model = ReferenceModel(dropless, {name: w.double() for name, w in weights.items()})
    outputs = [model.forward(*batch) for batch in batches]
    loss = sum(float(o.cross_entropy) for o in outputs) / len(outputs)
    bytes_of_text = sum(int(lengths[target.numpy()].sum()) for _, target, _ in batches)
    check("validation_loss", loss, 1e-6)
    check("validation_perplexity", math.exp(loss), 1e-5)
    check("validation_bits_per_byte", loss / math.log(2) * len(batches) * B * T / bytes_of_text, 1e-6)

    first = batches[0][2][:PROBED_ROWS]
    position = torch.arange(T).expand(PROBED_ROWS, T) - first
    queries = position >= FIRST_QUERY
    sinks, gates, largest, confidence = [], [], [], []
    for attention, routing, residual in zip(outputs[0].attention, outputs[0].routing, outputs[0].residual):
        weight_BHTT = attention.probability_BHTT[:PROBED_ROWS]
        first_BHT1 = first[:, None, :, None].expand(-1, weight_BHTT.shape[1], -1, 1)
        on_first = weight_BHTT.gather(3, first_BHT1)[..., 0]
        sinks.append(float(on_first.transpose(1, 2)[queries].mean()))
        gates.append(float(attention.gate_BTHd[:PROBED_ROWS].mean()))
        largest.append(float(residual[:PROBED_ROWS].abs().max()))
        confidence.append(float(routing.probability_NE[: PROBED_ROWS * T].max(1).values.mean()))
    for name, values, one, bound in (("attention_sink", sinks, numpy.mean(sinks), 1e-5),
                                     ("gate_mean", gates, numpy.mean(gates), 1e-6),
                                     ("max_activation", largest, max(largest), 1e-5),
                                     ("router_confidence", confidence, numpy.mean(confidence), 1e-5)):
        check(name, one, bound)
        check("layers/" + name, values, bound)
    check("attention_sink_uniform", float((1 / (position[queries] + 1).double()).mean()), 1e-12)
    return float(numpy.mean(sinks))


def train(moe, work, name, tokens, capacity, steps):
    """Step 0 first, so that its weights are saved."""
    run = work / name
    settings = {"data.source": f"[{tokens}]", "data.validation_source": f"[{tokens}]",
                "data.format": "tokens", "data.shuffle": "false",
                "data.streams": 1, "data.packing": "concat", "training.batch_size": B,
                "training.gradient_accumulation_steps": MICRO_BATCHES, "training.eval_every": 1,
                "training.eval_batches": VALIDATIONS,
                "training.checkpoint_every": 1, "training.keep_checkpoints": steps + 2,
                "training.learning_rate": 5e-3,
                "training.warmup_steps": 0, "training.device": "cpu", "training.output_dir": work,
                "training.run_name": name,
                "model.capacity_factor": capacity, **{f"model.{key}": value for key, value in MODEL.items()}}
    words = [f"{key}={value}" for key, value in settings.items()]
    config = work / "empty.yaml"
    config.write_text("training: {}\n")
    for command in (["--config", str(config), *words, "training.max_steps=0"],
                    ["--resume", str(run), f"training.max_steps={steps}"]):
        done = subprocess.run([moe, "train", *command], capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stderr
    return run


def check_run(run, tokens, steps, lengths):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    known = Config.__dataclass_fields__
    config = Config(real_vocab=REAL_VOCABULARY,
                    **{key: value for key, value in settings["model"].items() if key in known})
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    trained = {row["step"]: row for row in rows if "loss" in row}
    validated = {row["step"]: row for row in rows if "validation_loss" in row}
    weights = [load_file(run / f"checkpoints/step-{step:08}/model.safetensors") for step in range(steps + 1)]
    held_out = [tokens.batch(i) for i in range(VALIDATIONS)]
    worst, checked, dropped, dead, sinks = {}, 0, [], [], []

    def note(check):
        for name, error in check.worst.items():
            worst[name] = max(worst.get(name, 0.0), error)
        return len(check.worst)

    for step in range(steps + 1):
        gate_gradient = None
        if step > 0:
            check = Checker(f"{run.name}, step {step}", trained[step])
            batches = [tokens.batch((step - 1) * MICRO_BATCHES + i) for i in range(MICRO_BATCHES)]
            gate_gradient, share, idle = check_step(
                check, config, weights[step - 1], batches, settings["training"])
            dropped.append(share)
            dead.append(idle)
            checked += note(check)
        check = Checker(f"{run.name}, validation at step {step}", validated[step])
        before = weights[step - 1] if step > 0 else None
        sinks.append(check_validation(check, config, before, weights[step], held_out, gate_gradient, lengths))
        checked += note(check)
    print(f"{run.name}: {checked} numbers and lists of {steps} steps and {steps + 1} validations equal; "
          f"dropped share "
          f"{min(dropped):.3f} to {max(dropped):.3f}, dead experts {min(dead)} to {max(dead)}, attention "
          f"sink {min(sinks):.4f} to {max(sinks):.4f}")
    return worst


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe")
    parser.add_argument("--text", type=Path, default=Path("/usr/share/dictd/gcide.dict.dz"))
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    lengths = byte_lengths()
    assert len(lengths) == REAL_VOCABULARY, len(lengths)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with gzip.open(options.text) as file:
            text = file.read(2_000_000)[1_000_000:]
        (work / "text.txt").write_bytes(text[text.index(b"\n\n") :])
        subprocess.run([options.moe, "tokenize", "--source", str(work / "text.txt"), "--output",
                        str(work / "tokens"), "data.format=text",
                        "data.document_split=blank_line"], check=True, capture_output=True)
        path = max((work / "tokens").glob("*.bin"), key=lambda file: file.stat().st_size)
        worst = {}
        for name, capacity in (("dropless", 0), ("capacity", 1)):
            run = train(options.moe, work, name, path, capacity, options.steps)
            for key, error in check_run(run, Tokens(path), options.steps, lengths).items():
                worst[key] = max(worst.get(key, 0.0), error)
        print("largest relative differences: "
              + ", ".join(f"{key} {error:.1e}" for key, error in sorted(worst.items()) if error > 0))


if __name__ == "__main__":
    main()
