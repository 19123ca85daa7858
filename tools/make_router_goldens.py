#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/router.safetensors: routers other than plain softmax by PyTorch, forward and backward.

    python tools/make_router_goldens.py tests/golden/router.safetensors

Inputs are rounded to f32, everything after is f64 (gradients by autograd), results are stored as f32. The
routers are DeepSeek-V3's (arXiv 2412.19437, section 2.1.2), from its equations. Of three rows one is full,
one ends in padding, and one has nothing else. tests/ops/router_variants_test.cpp has the same settings.
"""
import sys

import torch
from safetensors.torch import save_file
from torch.nn.functional import one_hot

torch.manual_seed(5)
ROWS, TOKENS, EXPERTS, CHOICES = 3, 7, 5, 2
SCALE, BALANCE, Z, SEQUENCE = 0.5, 0.3, 0.7, 0.9
# (sigmoid, renormalised, scale, biased, weight of the sequence loss)
ROUTERS = {
    "sigmoid": (True, True, 2.5, False, 0),
    "sigmoid_raw": (True, False, 1.5, True, SEQUENCE),
    "biased": (False, True, 2.0, True, SEQUENCE),
    "scaled": (False, False, 3.0, False, 0),
}


def normal(*shape):
    return torch.randn(*shape).double().requires_grad_()


def router(sigmoid, renormalise, scale, biased, sequence_weight):
    N = ROWS * TOKENS
    logits, dweight = normal(N, EXPERTS), normal(N, CHOICES)
    bias = 0.2 * torch.randn(EXPERTS)
    first = torch.zeros(ROWS, TOKENS, dtype=torch.int64)
    first[1, 5:] = first[2] = -1
    live = first.flatten() >= 0
    score = torch.sigmoid(logits) if sigmoid else torch.softmax(logits, 1)
    probability = score / score.sum(1, keepdim=True)
    expert = (score + bias.double() if biased else score).topk(CHOICES).indices
    plain = score.topk(CHOICES).indices
    if biased:
        assert not torch.equal(expert[live], plain[live]), "no bias changes a choice"
    weight = score.gather(1, expert)
    if renormalise:
        weight = weight / (weight.sum(1, keepdim=True) + 1e-20)
    weight = scale * weight * live[:, None]
    probability = probability * live[:, None]
    lse = torch.logsumexp(logits, 1) * live
    first_choices = one_hot(expert[live][:, 0], EXPERTS).sum(0)
    mean, share = probability.sum(0) / live.sum(), first_choices / live.sum()
    loss = torch.stack([EXPERTS * (mean * share.double()).sum(), (lse**2).sum() / live.sum()])
    rows = []
    for b in range(2):  # those with tokens
        real = first[b] >= 0
        here = slice(b * TOKENS, b * TOKENS + int(real.sum()))
        f = EXPERTS / (CHOICES * real.sum()) * one_hot(expert[here].flatten(), EXPERTS).sum(0)
        rows.append((f * probability[here].mean(0)).sum())
    sequence = torch.stack(rows).mean()[None]
    torch.autograd.backward(
        [weight, loss, sequence],
        [dweight, SCALE * torch.tensor([BALANCE, Z]).double(),
         SCALE * torch.tensor([sequence_weight]).double()])
    return {"logits": logits, "dweight": dweight, "first": first, "bias": bias, "probability": probability,
            "lse": lse, "weight": weight, "expert": torch.where(live[:, None], expert, -1), "mean": mean,
            "share": share, "loss": loss, "sequence_loss": sequence, "dlogits": logits.grad}


def biases(steps=20, experts=6, rate=1e-3):
    """Wang et al., arXiv 2408.15664, algorithm 1, and the mean taken out."""
    count = torch.randint(0, 12, (steps, experts))
    count[3] = 7  # nobody has more than another
    bias, after = torch.zeros(experts).double(), []
    for n in count:
        bias = bias + rate * torch.sign(n.double().mean() - n)
        bias = bias - bias.mean()
        after.append(bias)
    return {"count": count, "after": torch.stack(after)}


def main():
    groups = {name: router(*settings) for name, settings in ROUTERS.items()}
    groups["bias"] = biases()
    tensors = {}
    for group, values in groups.items():
        for name, value in values.items():
            integral = not value.is_floating_point()
            tensors[f"{group}.{name}"] = value.detach().to(
                torch.int32 if integral else torch.float32).contiguous()
    path = sys.argv[1] if len(sys.argv) > 1 else "tests/golden/router.safetensors"
    save_file(tensors, path, {"torch": torch.__version__})


if __name__ == "__main__":
    main()
