# SPDX-License-Identifier: MIT
"""PyTorch's best time for our training step on a CPU: the rival that `moe bench` is held against.

    python bench/peers/torch_cpu.py --config bench/quickstart_gpt2.yaml --threads 2 --json

The same architecture as docs/model.md, FP32, with everything that PyTorch offers on a CPU. Where there are
several ways (experts, LM head, AdamW), they take turns and the fastest is kept, for eager and for
torch.compile. Measured: whole optimizer steps (forward, backward, clipping, AdamW) on random tokens, median
after warm-up. Not tried: torch's functional.linear_cross_entropy, several times slower on CPUs than either
head here (torch 2.15).

Where the peer does less than moe: no document mask (plain is_causal attention), no padding tokens, softmax
over all V columns, 32-bit optimizer states. It has no capacity limit: the config must be dropless.
`--check` compares its loss and gradients with tools/reference_model.py.
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # huge pages for large tensors; read when torch is loaded

import torch  # noqa: E402
import yaml  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

EXPERTS = ("loop", "bmm", "grouped")
HEADS = ("full", "chunked")
OPTIMIZERS = ("fused", "foreach")
TRIED_STEPS = 4


@dataclasses.dataclass
class Shape:
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    num_experts: int
    top_k: int
    expert_intermediate_dim: int
    max_seq_len: int
    vocab_size: int = 50304
    capacity_factor: float = 0.0
    aux_loss_weight: float = 0.001
    z_loss_weight: float = 0.0
    renormalize_top_k: bool = True
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    init_std: float = 0.02

    @property
    def head_dim(self):
        return self.d_model // self.n_heads


class GatherRows(torch.autograd.Function):
    """y[r] = x[slot[r] // K]. A permutation apart from the copies, so backward gathers too (no
    scatter-add)."""

    @staticmethod
    def forward(ctx, x_ND, slot_R, row_NK):
        ctx.save_for_backward(row_NK)
        return x_ND.index_select(0, slot_R // row_NK.shape[1])

    @staticmethod
    def backward(ctx, dy_RD):
        (row_NK,) = ctx.saved_tensors
        N, K = row_NK.shape
        return dy_RD.index_select(0, row_NK.flatten()).view(N, K, -1).sum(1), None, None


class PermuteRows(torch.autograd.Function):
    """y = x[forward]; `inverse` is the inverse permutation."""

    @staticmethod
    def forward(ctx, x_RD, forward_R, inverse_R):
        ctx.save_for_backward(inverse_R)
        return x_RD.index_select(0, forward_R)

    @staticmethod
    def backward(ctx, dy_RD):
        (inverse_R,) = ctx.saved_tensors
        return dy_RD.index_select(0, inverse_R), None, None


def swiglu(h):
    gate, up = h.chunk(2, -1)
    return gate * functional.silu(up)


@torch.compiler.disable
def experts_loop(x_RD, gate_up, down, count_E):
    """One product per expert over its rows."""
    parts = x_RD.split(count_E.tolist())
    done = [
        functional.linear(swiglu(functional.linear(part, gate_up[e])), down[e])
        for e, part in enumerate(parts)
    ]
    return torch.cat(done)


@torch.compiler.disable
def experts_bmm(x_RD, gate_up, down, count_E):
    """All experts padded to the fullest, then batched products."""
    E, most = len(count_E), int(count_E.max())
    expert_R = torch.repeat_interleave(torch.arange(E), count_E)
    place_R = torch.arange(len(x_RD)) - (count_E.cumsum(0) - count_E)[expert_R] + expert_R * most
    padded = x_RD.new_zeros(E * most, x_RD.shape[1]).index_copy(0, place_R, x_RD).view(E, most, -1)
    y = torch.bmm(swiglu(torch.bmm(padded, gate_up.transpose(1, 2))), down.transpose(1, 2))
    return y.flatten(0, 1).index_select(0, place_R)


def experts_grouped(x_RD, gate_up, down, count_E):
    """torch's grouped product."""
    end_E = count_E.cumsum(0).to(torch.int32)
    h = functional.grouped_mm(x_RD, gate_up.transpose(1, 2), offs=end_E)
    return functional.grouped_mm(swiglu(h), down.transpose(1, 2), offs=end_E)


class ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy without ever holding all logits: the gradient is made in place, chunk by chunk."""

    ROWS = 512

    @staticmethod
    def forward(ctx, x_ND, w_VD, target_N):
        N = len(x_ND)
        dx, dw = torch.empty_like(x_ND), torch.zeros_like(w_VD)
        loss = x_ND.new_zeros(())
        buffer = x_ND.new_empty(min(N, ChunkedCrossEntropy.ROWS), len(w_VD))
        for start in range(0, N, len(buffer)):
            x = x_ND[start : start + len(buffer)]
            target = target_N[start : start + len(x), None]
            logits = torch.mm(x, w_VD.t(), out=buffer[: len(x)])
            lse = logits.logsumexp(-1, keepdim=True)
            loss += (lse - logits.gather(1, target)).sum()
            gradient = logits.sub_(lse).exp_().scatter_add_(1, target, logits.new_full(target.shape, -1.0))
            torch.mm(gradient, w_VD, out=dx[start : start + len(x)])
            dw.addmm_(gradient.t(), x)
        ctx.save_for_backward(dx.div_(N), dw.div_(N))
        return loss / N

    @staticmethod
    def backward(ctx, dloss):
        dx, dw = ctx.saved_tensors
        return dx * dloss, dw * dloss, None


@torch.compiler.disable
def chunked_cross_entropy(x_ND, w_VD, target_N):
    return ChunkedCrossEntropy.apply(x_ND, w_VD, target_N)


class Layer(nn.Module):
    def __init__(self, shape, experts):
        super().__init__()
        self.shape = s = shape
        self.experts = {"loop": experts_loop, "bmm": experts_bmm, "grouped": experts_grouped}[experts]
        D, d, F = s.d_model, s.head_dim, s.expert_intermediate_dim
        matrix = lambda *size: nn.Parameter(torch.randn(size) * s.init_std)
        norm = lambda size: nn.Parameter(torch.ones(size))
        self.attention_norm, self.q_norm, self.k_norm, self.moe_norm = norm(D), norm(d), norm(d), norm(D)
        self.qkvg = matrix(2 * (s.n_heads + s.n_kv_heads) * d, D)
        self.out = matrix(D, D)
        self.router = matrix(s.num_experts, D)
        self.gate_up = matrix(s.num_experts, 2 * F, D)
        self.down = matrix(s.num_experts, D, F)

    def norm(self, x, weight):
        return functional.rms_norm(x, weight.shape, weight, self.shape.norm_eps)

    def rope(self, x_BTHd, cos, sin):
        low, high = x_BTHd.chunk(2, -1)
        return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)

    def causal_attention(self, q_BHTd, k_BGTd, v_BGTd):
        grouped = q_BHTd.shape[1] != k_BGTd.shape[1]
        return functional.scaled_dot_product_attention(
            q_BHTd, k_BGTd, v_BGTd, is_causal=True, enable_gqa=grouped)

    def attention(self, u_BTD, cos, sin):
        s = self.shape
        B, T, D = u_BTD.shape
        H, G, d = s.n_heads, s.n_kv_heads, s.head_dim
        packed = functional.linear(u_BTD, self.qkvg)
        qg, k, v = packed.split([2 * H * d, G * d, G * d], -1)
        q, gate = qg.view(B, T, H, 2, d).unbind(3)
        q = self.rope(self.norm(q, self.q_norm), cos, sin).transpose(1, 2)
        k = self.rope(self.norm(k.view(B, T, G, d), self.k_norm), cos, sin).transpose(1, 2)
        v = v.view(B, T, G, d).transpose(1, 2)
        q, k = q.to(v.dtype), k.to(v.dtype)  # after the rotation in f32
        o = self.causal_attention(q, k, v).transpose(1, 2) * torch.sigmoid(gate)
        return functional.linear(o.reshape(B, T, D), self.out)

    def moe(self, u_ND):
        s = self.shape
        N, E, K = len(u_ND), s.num_experts, s.top_k
        logits = functional.linear(u_ND, self.router)
        probability = logits.softmax(-1)
        weight_NK, expert_NK = probability.topk(K, dim=-1)
        if s.renormalize_top_k:
            weight_NK = weight_NK / weight_NK.sum(-1, keepdim=True)
        slot_R = expert_NK.flatten().argsort(stable=True)  # rows sorted by expert -> assignment n*K + k
        row_R = torch.empty_like(slot_R).scatter_(0, slot_R, torch.arange(N * K))  # and back
        count_E = torch.zeros(E, dtype=torch.int64).index_add_(
            0, expert_NK.flatten(), torch.ones_like(slot_R))
        x_RD = GatherRows.apply(u_ND, slot_R, row_R.view(N, K))
        y_RD = self.experts(x_RD, self.gate_up, self.down, count_E)
        y_NKD = PermuteRows.apply(y_RD, row_R, slot_R).view(N, K, -1)
        y = (y_NKD * weight_NK[..., None]).sum(1)

        top1_count_E = torch.zeros(E).index_add_(0, expert_NK[:, 0], torch.ones(N))
        balance = E * (probability.mean(0) * top1_count_E / N).sum()
        extra = s.aux_loss_weight * balance
        if s.z_loss_weight:
            extra = extra + s.z_loss_weight * logits.logsumexp(-1).square().mean()
        return y, extra

    def forward(self, x_BTD, cos, sin):
        x = x_BTD + self.attention(self.norm(x_BTD, self.attention_norm), cos, sin)
        y, extra = self.moe(self.norm(x, self.moe_norm).flatten(0, 1))
        return x + y.view_as(x), extra


class Model(nn.Module):
    def __init__(self, shape, experts, head):
        super().__init__()
        self.shape, self.head = shape, head
        self.embedding = nn.Parameter(torch.randn(shape.vocab_size, shape.d_model) * shape.init_std)
        self.layers = nn.ModuleList(Layer(shape, experts) for _ in range(shape.n_layers))
        self.final_norm = nn.Parameter(torch.ones(shape.d_model))
        d = shape.head_dim
        angle = torch.arange(shape.max_seq_len)[:, None] / shape.rope_theta ** (torch.arange(0, d, 2) / d)
        self.register_buffer("cos", angle.cos()[:, None, :])
        self.register_buffer("sin", angle.sin()[:, None, :])

    def loss(self, x_ND, target_N):
        if self.head == "chunked":
            return chunked_cross_entropy(x_ND, self.embedding, target_N)
        return functional.cross_entropy(functional.linear(x_ND, self.embedding), target_N)

    def parts(self, input_BT, target_BT):
        """The mean cross-entropy, and what the routers add to it."""
        x = functional.embedding(input_BT, self.embedding)
        extra = 0.0
        for layer in self.layers:
            x, more = layer(x, self.cos, self.sin)
            extra = extra + more
        x = functional.rms_norm(x, self.final_norm.shape, self.final_norm, self.shape.norm_eps)
        return self.loss(x.flatten(0, 1), target_BT.flatten()), extra

    def forward(self, input_BT, target_BT):
        loss, extra = self.parts(input_BT, target_BT)
        return loss + extra

    def named(self):
        """Our parameters under the names of docs/model.md."""
        renamed = {"attention_norm": "", "moe_norm": "", "qkvg": "attention.", "q_norm": "attention.",
                   "k_norm": "attention.", "out": "attention.", "router": "moe.", "gate_up": "moe.",
                   "down": "moe."}
        for name, parameter in self.named_parameters():
            *where, last = name.split(".")
            yield ".".join([*where, renamed.get(last, "") + last, "weight"]), parameter


class Trainer:
    """One way of doing the step; `milliseconds()` does one and times it."""

    def __init__(self, shape, training, variant):
        torch.manual_seed(1)
        self.batch, self.micro = training["batch_size"], training["gradient_accumulation_steps"]
        self.shape = shape
        self.model = Model(shape, variant["experts"], variant["head"])
        self.forward = torch.compile(self.model) if variant["mode"] == "compile" else self.model
        self.parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in self.parameters if p.dim() > 1], "weight_decay": 0.1},
            {"params": [p for p in self.parameters if p.dim() == 1], "weight_decay": 0.0},
        ]
        self.adamw = torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95), **{variant["optimizer"]: True})

    def tokens_per_step(self):
        return self.batch * self.shape.max_seq_len * self.micro

    def milliseconds(self):
        size = (self.micro, self.batch, self.shape.max_seq_len + 1)
        tokens = torch.randint(0, min(50257, self.shape.vocab_size), size)
        start = time.perf_counter()
        for row in tokens:
            loss = self.forward(row[:, :-1], row[:, 1:]) / self.micro
            loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.adamw.step()
        self.adamw.zero_grad()
        return 1e3 * (time.perf_counter() - start)


def result(trainer, variant, times):
    """The median, and the minimum: on a busy machine only the latter says something."""
    step_ms = statistics.median(times)
    rate = 1e3 * trainer.tokens_per_step() / step_ms
    return {**variant, "step_ms": step_ms, "tokens_per_second": rate, "min_step_ms": min(times)}


def try_ways(shape, training, variants):
    """The fastest of the variants by the minimum of steps that take turns, so that noise hits all alike."""
    trainers = [Trainer(shape, training, variant) for variant in variants]
    times = [[] for _ in variants]
    for step in range(2 + TRIED_STEPS):
        for row, trainer in zip(times, trainers):
            row.append(trainer.milliseconds())
    rows = [result(trainer, variant, row[2:]) for trainer, variant, row in zip(trainers, variants, times)]
    for row in rows:
        report(row, "tried")
    return rows


def fastest(shape, training, mode, fixed, arguments):
    """Tries each way of one part with the others as they are, then measures the winner."""
    variant = {"mode": mode, "experts": "loop", "head": "chunked", "optimizer": "fused", **fixed}
    tried = []
    for part, ways in (("experts", EXPERTS), ("head", HEADS), ("optimizer", OPTIMIZERS)):
        if part not in fixed:
            rows = try_ways(shape, training, [{**variant, part: way} for way in ways])
            variant[part] = min(rows, key=lambda row: row["min_step_ms"])[part]
            tried += rows
    trainer = Trainer(shape, training, variant)
    times = [trainer.milliseconds() for _ in range(arguments.warm_up + arguments.steps)]
    best = result(trainer, variant, times[arguments.warm_up :])
    report(best, "best")
    return {**best, "tried": tried}


def report(row, label):
    ways = " ".join(row[key] for key in ("mode", "experts", "head", "optimizer"))
    print(
        f"{label:6} {ways:30} {row['step_ms']:9.1f} ms (min {row['min_step_ms']:.1f})"
        f" {row['tokens_per_second']:9.0f} tokens/s",
        file=sys.stderr,
    )


def check(modes):
    """Loss and gradients of every variant against the reference model, on a tiny config."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
    from reference_model import Config, ReferenceModel

    config = Config(real_vocab=96)
    shared = {f.name for f in dataclasses.fields(Shape)} & {f.name for f in dataclasses.fields(Config)}
    shape = Shape(**{name: getattr(config, name) for name in shared}, max_seq_len=13, init_std=0.2)
    for mode, experts, head in itertools.product(modes, EXPERTS, HEADS):
        torch.manual_seed(0)
        model = Model(shape, experts, head)
        forward = torch.compile(model) if mode == "compile" else model
        tokens = torch.randint(0, config.vocab_size, (2, 14))
        loss = forward(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        names = dict(model.named())
        weights = {n: names[n].detach().double().requires_grad_() for n in config.weight_shapes()}
        first = torch.zeros(2, 13, dtype=torch.int64)
        exact = ReferenceModel(config, weights).forward(tokens[:, :-1], tokens[:, 1:], first)
        exact.loss.backward()
        worst = max(float((names[n].grad - w.grad).norm() / w.grad.norm()) for n, w in weights.items())
        difference = abs(float(loss.detach()) - float(exact.loss.detach()))
        print(f"{mode} {experts} {head}: loss differs by {difference:.1e}, gradients by {worst:.1e} "
              f"(relative)")
        if difference > 1e-5 or worst > 1e-4:
            raise SystemExit("the peer is not the reference model")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--config", type=pathlib.Path, help="a configuration of moe: model.*, training.batch_size, ...")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--mode", choices=("eager", "compile", "both"), default="both")
    parser.add_argument("--experts", choices=EXPERTS, help="do not try the others")
    parser.add_argument("--head", choices=HEADS, help="do not try the others")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="do not try the others")
    parser.add_argument("--steps", type=int, default=10, help="timed steps; the median counts")
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser.add_argument("--check", action="store_true", help="compare with tools/reference_model.py and stop")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch._dynamo.config.recompile_limit = 64  # one code object serves every variant tried
    modes = ("eager", "compile") if arguments.mode == "both" else (arguments.mode,)
    if arguments.check:
        return check(modes)
    if arguments.config is None:
        parser.error("--config is needed")

    config = yaml.safe_load(arguments.config.read_text())
    known = {f.name for f in dataclasses.fields(Shape)}
    shape = Shape(**{key: value for key, value in config["model"].items() if key in known})
    if shape.capacity_factor != 0:
        parser.error("the peer is dropless: set model.capacity_factor to 0")
    training = {"batch_size": 32, "gradient_accumulation_steps": 1, **config.get("training", {})}
    fixed = {k: v for k in ("experts", "head", "optimizer") if (v := getattr(arguments, k)) is not None}
    rows = [fastest(shape, training, mode, fixed, arguments) for mode in modes]
    best = min(rows, key=lambda row: row["step_ms"])
    if arguments.json:
        summary = {"torch": torch.__version__, "threads": arguments.threads, **best, "modes": rows}
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
