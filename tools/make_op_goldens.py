#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/ops.safetensors: the row-wise operations by PyTorch, forward and backward.

    python tools/make_op_goldens.py tests/golden/ops.safetensors

Inputs are rounded to f32, everything after is f64 (gradients by autograd), results are stored as f32. Written
with other means than the ops where there are any: rotary positions are products of complex numbers, RMSNorm,
SiLU and softmax are torch's own.
"""
import sys

import torch
from safetensors.torch import save_file
from torch.nn.functional import one_hot, rms_norm, silu

torch.manual_seed(3)
EPSILON = 1e-5


def normal(*shape):
    return torch.randn(*shape).double().requires_grad_()


def backward(output_gradients):
    """{output: its gradient} -> gradients are left in the leaves."""
    torch.autograd.backward(list(output_gradients), list(output_gradients.values()))


def norm():
    x, w = normal(7, 33), normal(33)
    y = rms_norm(x, (33,), w, EPSILON)
    dy, residual = normal(7, 33), normal(7, 33)
    backward({y: dy})
    return {"x": x, "w": w, "y": y, "dy": dy, "residual": residual, "dx": residual + x.grad, "dw": w.grad}


def rotary(query=4, kv=2, dim=10, tokens=7):
    packed, wq, wk = normal(tokens, 2 * (query + kv) * dim), normal(dim), normal(dim)
    position = torch.tensor([0, 1, 2, 0, 1, 5, 11])
    angle = torch.outer(torch.arange(12).double(), 100.0 ** (-torch.arange(dim // 2).double() / (dim // 2)))
    rope = torch.cat([angle.cos(), angle.sin()], 1).float().double()

    def turn(x, w):
        x = rms_norm(x, (dim,), w, EPSILON)
        half = torch.complex(x[..., : dim // 2], x[..., dim // 2 :])
        by = torch.complex(rope[:, : dim // 2], rope[:, dim // 2 :])[position][:, None]
        return torch.cat([(half * by).real, (half * by).imag], -1)

    q_and_gate = packed[:, : 2 * query * dim].reshape(tokens, query, 2, dim)
    k, v = packed[:, 2 * query * dim :].reshape(tokens, 2, kv, dim).unbind(1)
    q, gate, k = turn(q_and_gate[:, :, 0], wq), q_and_gate[:, :, 1], turn(k, wk)
    o = normal(tokens, query, dim)
    y = torch.sigmoid(gate) * o
    dq, dk, dv, dy = normal(*q.shape), normal(*k.shape), normal(*v.shape), normal(*y.shape)
    backward({q: dq, k: dk, v: dv, y: dy})
    return {"packed": packed, "wq": wq, "wk": wk, "rope": rope, "position": position, "q": q, "k": k, "v": v,
            "dq": dq, "dk": dk, "dv": dv, "dpacked": packed.grad, "dwq": wq.grad, "dwk": wk.grad,
            "o": o, "y": y, "dy": dy, "do": o.grad}


def router(renormalise, tokens=13, experts=5, choices=2, scale=0.5, balance_weight=0.3, z_weight=0.7):
    logits, dweight = normal(tokens, experts), normal(tokens, choices)
    first = torch.where(torch.arange(tokens) % 6 == 4, -1, 0)
    live = first >= 0
    probability = torch.softmax(logits, 1) * live[:, None]
    lse = torch.logsumexp(logits, 1) * live
    weight, expert = probability.topk(choices)
    if renormalise:
        weight = weight / torch.where(live, weight.sum(1), 1)[:, None]
    expert = torch.where(live[:, None], expert, -1)
    first_choices = one_hot(expert[live][:, 0], experts).sum(0)
    mean, share = probability.sum(0) / live.sum(), first_choices / live.sum()
    loss = torch.stack([experts * (mean * share.double()).sum(), (lse**2).sum() / live.sum()])
    backward({weight: dweight * live[:, None],
              loss: scale * torch.tensor([balance_weight, z_weight], dtype=torch.float64)})
    return {"logits": logits, "dweight": dweight, "first": first, "probability": probability, "lse": lse,
            "weight": weight, "expert": expert, "first_choices": first_choices, "mean": mean, "share": share,
            "loss": loss, "dlogits": logits.grad}


def swiglu(rows=6, width=37):
    h, da, weight = normal(rows, 2 * width), normal(rows, width), normal(rows)
    gate, up = h.chunk(2, 1)
    a = gate * silu(up)
    weighted = weight[:, None] * a
    backward({weighted: da})
    return {"h": h, "da": da, "weight": weight, "a": a, "weighted": weighted, "dh": h.grad,
            "dweight": weight.grad}


def main():
    groups = {"norm": norm(), "rotary": rotary(), "renormalised": router(True), "raw": router(False),
              "swiglu": swiglu()}
    tensors = {}
    for group, values in groups.items():
        for name, value in values.items():
            integral = not value.is_floating_point()
            tensors[f"{group}.{name}"] = value.detach().to(
                torch.int32 if integral else torch.float32).contiguous()
    path = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/ops.safetensors"
    save_file(tensors, path, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
