# SPDX-License-Identifier: MIT
"""Training with transformers: the rival of moe for models of other families, and the judge of its losses.

    python bench/peers/transformers_train.py make FAMILY FOLDER         random weights, as save_pretrained
    python bench/peers/transformers_train.py train FOLDER --tokens tokens.bin --output peer.csv --batch 16
    python bench/peers/transformers_train.py row FAMILY --run RUN --peer peer.csv --exact exact.csv

bench/families.sh does all of it. The peer: products in BF16, SDPA, grouped products of experts, torch.compile
where it works (else eager, and the row says so), AdamW (fused) with f32 master weights and moments, no
balance loss; with --precision f32, all in f32 and eager. Rows are the token file cut into pieces of --length
tokens, in order.
"""

import argparse
import csv
import json
import pathlib
import statistics
import sys
import time

import torch
import transformers
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from loss_curve import (  # noqa: E402
    REAL_VOCABULARY, curve_of_peer, curve_of_run, require_tokens, rows_of)

WARM = 20  # steps before the clock: compilation and warm-up
BOUND = 0.005  # of the mean over all steps of |ours - theirs| / theirs
# transformers gives the embedding of pad_token_id no gradient. OLMoE's class has 1 for it: in the vocabulary
# of GPT-2 that is a mark which texts have.
SHAPE = {"pad_token_id": 50300, "hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8,
         "num_hidden_layers": 8,
         "max_position_embeddings": 1024, "vocab_size": 50304, "bos_token_id": 50256, "eos_token_id": 50256,
         "tie_word_embeddings": False}
EXPERTS = {"num_experts_per_tok": 4}
QWEN = SHAPE | EXPERTS | {"head_dim": 64, "num_experts": 32, "moe_intermediate_size": 512,
                          "intermediate_size": 2048, "norm_topk_prob": True}
DENSE = SHAPE | {"num_hidden_layers": 16, "intermediate_size": 2816}
FAMILIES = {
    "qwen3_moe": ("Qwen3Moe", QWEN),
    "olmoe": ("Olmoe", SHAPE | EXPERTS | {"num_experts": 32, "intermediate_size": 512}),
    "mixtral": ("Mixtral", SHAPE | {"num_experts_per_tok": 2, "num_local_experts": 8,
                                    "intermediate_size": 2048}),
    "qwen2_moe": ("Qwen2Moe", SHAPE | EXPERTS | {
        "num_experts": 32, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 1024,
        "intermediate_size": 2048, "norm_topk_prob": False}),
    "glm4_moe": ("Glm4Moe", SHAPE | EXPERTS | {
        "head_dim": 64, "n_routed_experts": 32, "moe_intermediate_size": 512, "n_shared_experts": 1,
        "first_k_dense_replace": 1, "intermediate_size": 2048, "use_qk_norm": True, "attention_bias": True,
        "n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 1.0}),
    "minimax_m2": ("MiniMaxM2", SHAPE | EXPERTS | {
        "head_dim": 64, "num_local_experts": 32, "intermediate_size": 512,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "partial_rotary_factor": 0.5}}),
    "granitemoe": ("GraniteMoe", SHAPE | EXPERTS | {
        "num_local_experts": 32, "intermediate_size": 512, "embedding_multiplier": 12.0,
        "residual_multiplier": 0.22, "attention_multiplier": 0.015625, "logits_scaling": 6.0}),
    "qwen3": ("Qwen3", DENSE | {"head_dim": 64}),
    "llama": ("Llama", DENSE),
}


def make(arguments):
    name, settings = FAMILIES[arguments.family]
    transformers.set_seed(1)
    torch.set_default_device(arguments.device)
    config = getattr(transformers, name + "Config")(**settings)
    model = getattr(transformers, name + "ForCausalLM")(config)
    model.save_pretrained(arguments.folder)


class Trainer:
    def __init__(self, arguments):
        self.rate, self.warmup = arguments.rate, arguments.warmup
        f32 = arguments.precision == "f32"
        torch.set_float32_matmul_precision("highest" if f32 else "high")
        options = {"dtype": torch.float32 if f32 else torch.bfloat16, "attn_implementation": "sdpa"}
        try:
            self.model = transformers.AutoModelForCausalLM.from_pretrained(
                arguments.folder, experts_implementation="eager" if f32 else "grouped_mm", **options)
        except (TypeError, ValueError):  # a class that has experts of its own kind
            self.model = transformers.AutoModelForCausalLM.from_pretrained(arguments.folder, **options)
        self.model.to(arguments.device)
        exact = transformers.AutoModelForCausalLM.from_pretrained(arguments.folder, dtype=torch.float32)
        exact = dict(exact.named_parameters())
        self.weights = dict(self.model.named_parameters())
        self.master = {n: exact[n].detach().to(arguments.device, copy=True) for n in self.weights}
        self.copy_weights()
        matrices = [w for w in self.master.values() if w.dim() > 1]
        norms = [w for w in self.master.values() if w.dim() == 1]
        self.adamw = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}], lr=0.0,
            betas=(0.9, 0.95), eps=1e-8, fused=True)
        self.loss = torch.compile(self.eager) if arguments.compile else self.eager

    def eager(self, input_BT, target_BT):
        logits = self.model(input_ids=input_BT, use_cache=False).logits[..., :REAL_VOCABULARY]
        return functional.cross_entropy(logits.flatten(0, 1).float(), target_BT.flatten())

    @torch.no_grad()
    def copy_weights(self):
        torch._foreach_copy_(list(self.weights.values()), list(self.master.values()))

    def step(self, step, ids_BT1):
        for group in self.adamw.param_groups:
            group["lr"] = self.rate * min(1.0, (step + 1) / max(1, self.warmup))
        loss = self.loss(ids_BT1[:, :-1].contiguous(), ids_BT1[:, 1:].contiguous())
        loss.backward()
        for name, master in self.master.items():
            gradient = self.weights[name].grad
            master.grad = None if gradient is None else gradient.float()
            self.weights[name].grad = None
        norm = nn.utils.clip_grad_norm_(self.master.values(), 1.0, foreach=True)
        self.adamw.step()
        self.copy_weights()
        return loss.detach(), norm


def wait(device):
    if device != "cpu":
        torch.cuda.synchronize()


def train(arguments):
    B, T, steps = arguments.batch, arguments.length, arguments.steps
    ids = require_tokens(arguments.tokens, steps, B, T)
    trainer = Trainer(arguments)
    results = []
    for step in range(steps):
        if step == WARM:
            wait(arguments.device)
            started = time.perf_counter()
        results.append(trainer.step(step, rows_of(ids, step, B, T).to(arguments.device)))
    wait(arguments.device)
    seconds = (time.perf_counter() - started) / (steps - WARM)
    with open(arguments.output, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "gradient_norm", "tokens_per_second"])
        writer.writerows([i + 1, float(loss), float(norm), B * T / seconds]
                         for i, (loss, norm) in enumerate(results))


def row(arguments):
    """One row of the table; an error when the curves are apart."""
    ours = curve_of_run(arguments.run)
    theirs, exact = curve_of_peer(arguments.peer), curve_of_peer(arguments.exact)
    for curve in theirs, exact:
        if set(ours) != set(curve):
            raise SystemExit(f"moe has {len(ours)} steps, transformers {len(curve)}")
    loss = {step: r["loss"] for step, r in theirs.items()}
    last = len(theirs)
    apart = sum(abs(ours[s][0] - loss[s]) / loss[s] for s in ours) / last
    apart_exact = sum(abs(ours[s][0] / exact[s]["loss"] - 1) for s in ours) / last
    rows = map(json.loads, (arguments.run / "metrics.jsonl").read_text().splitlines())
    speed = [r["tokens_per_second"] for r in rows if "loss" in r and r["step"] > WARM]
    speed, rival = statistics.median(speed), theirs[last]["tokens_per_second"]
    print(f"| {arguments.family} | {ours[1][0]:.4f}, {loss[1]:.4f} | {ours[last][0]:.4f}, {loss[last]:.4f} | "
          f"{apart:.2%} | {apart_exact:.2%} | {speed:,.0f} | {rival:,.0f} ({arguments.how}) | "
          f"{speed / rival:.2f} |")
    if apart >= BOUND:
        raise SystemExit(f"{arguments.family}: the curves differ by {apart:.4f}, allowed is {BOUND}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make", help="a model with random weights")
    command.add_argument("family", choices=FAMILIES)
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("--device", default="cuda", help="where the weights are drawn")
    command.set_defaults(work=make)
    command = commands.add_parser("train", help="train it")
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("--tokens", type=pathlib.Path, required=True)
    command.add_argument("--output", type=pathlib.Path, required=True)
    command.add_argument("--steps", type=int, default=50)
    command.add_argument("--batch", type=int, default=16)
    command.add_argument("--length", type=int, default=1024)
    command.add_argument("--rate", type=float, default=3e-4)
    command.add_argument("--warmup", type=int, default=10)
    command.add_argument("--compile", type=int, default=1, help="0: eager")
    command.add_argument("--device", default="cuda")
    command.add_argument("--precision", choices=("bf16", "f32"), default="bf16")
    command.set_defaults(work=train)
    command = commands.add_parser("row", help="a row of the table")
    command.add_argument("family")
    command.add_argument("--run", type=pathlib.Path, required=True)
    command.add_argument("--peer", type=pathlib.Path, required=True)
    command.add_argument("--exact", type=pathlib.Path, required=True, help="the peer's in f32")
    command.add_argument("--how", default="compiled")
    command.set_defaults(work=row)
    arguments = parser.parse_args()
    arguments.work(arguments)


if __name__ == "__main__":
    main()
