# SPDX-License-Identifier: MIT
"""torch.optim.Muon for tensors that hold several matrices: an expert's gate, up and down, and a layer's q,
its gate, k, v and output projection are matrices apart, as in moe.

    python bench/peers/torch_muon.py        compares it with torch.optim.Muon on each matrix by itself

The iteration and the scale are PyTorch's own functions, under torch.func.vmap: matrix by matrix, thousands of
small products a step would measure the launches. Needs PyTorch 2.9 or newer.
"""

import sys
import types

import torch
from torch import nn
from torch.optim import _muon

COEFFICIENTS = (_muon.DEFAULT_A, _muon.DEFAULT_B, _muon.DEFAULT_C)
MOMENTUM = 0.95


def matrices(name, tensor, shape):
    """(view, rows) of what is Muon's in a tensor of moe: the view holds matrices of so many rows. An empty
    list: the tensor is AdamW's."""
    H, G, d, D = shape.n_heads, shape.n_kv_heads, shape.head_dim, shape.d_model
    F = shape.expert_intermediate_dim
    if name.endswith("qkvg.weight"):
        qg, k, v = tensor.split([2 * H * d, G * d, G * d])
        q, gate = qg.view(H, 2, d, D).unbind(1)  # a head's query and its gate take turns
        return [(q, H * d), (gate, H * d), (k, G * d), (v, G * d)]
    if name.endswith("attention.out.weight"):
        return [(tensor, D)]
    if name.endswith("gate_up.weight"):
        return [(part, F) for part in tensor.chunk(2, 1)]
    if name.endswith("down.weight"):
        return [(tensor, D)]
    return []


def apart(name, tensor, shape):
    """The matrices one by one."""
    return [m for view, rows in matrices(name, tensor, shape) for m in view.reshape(-1, rows, view.shape[-1])]


def orthogonal(update_SRC, exact=False):
    """Of each of S matrices, with PyTorch's products in bf16 or, `exact`, the same iteration in f32."""
    def one(update_RC):
        return _muon._zeropower_via_newtonschulz(
            update_RC, COEFFICIENTS, _muon.DEFAULT_NS_STEPS, _muon.EPS)

    if not exact:
        return torch.func.vmap(one)(update_SRC).float()
    a, b, c = COEFFICIENTS
    wide = update_SRC.shape[-2] <= update_SRC.shape[-1]
    x = update_SRC if wide else update_SRC.mT
    x = x / x.flatten(1).norm(dim=1).clamp(min=_muon.EPS)[:, None, None]
    for _ in range(_muon.DEFAULT_NS_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


class Muon:
    """Steps those of the f32 tensors `named`, name -> tensor with a gradient, that hold Muon's matrices."""

    def __init__(self, named, shape, weight_decay, exact=False):
        self.exact = exact
        self.named = {name: tensor for name, tensor in named.items() if matrices(name, tensor, shape)}
        self.shape, self.weight_decay = shape, weight_decay
        self.buffer = {name: torch.zeros_like(tensor) for name, tensor in self.named.items()}

    @torch.no_grad()
    def step(self, rate):
        for name, weight in self.named.items():
            gradient, buffer = weight.grad, self.buffer[name]
            buffer.lerp_(gradient, 1 - MOMENTUM)
            update = gradient.lerp(buffer, MOMENTUM)
            weight.mul_(1 - rate * self.weight_decay)
            updates = matrices(name, update, self.shape)
            for (w, rows), (u, _) in zip(matrices(name, weight, self.shape), updates):
                stack = u.reshape(-1, rows, u.shape[-1])
                step = orthogonal(stack, self.exact).view_as(w)
                w.sub_(step, alpha=_muon._adjust_lr(rate, "match_rms_adamw", stack.shape[1:]))


def check():
    """Ten steps beside torch.optim.Muon with each matrix as a parameter of its own."""
    torch.manual_seed(1)
    shape = types.SimpleNamespace(
        n_heads=4, n_kv_heads=2, head_dim=16, d_model=64, expert_intermediate_dim=24)
    named = {"attention.qkvg.weight": torch.randn(192, 64), "attention.out.weight": torch.randn(64, 64),
             "moe.gate_up.weight": torch.randn(3, 48, 64), "moe.down.weight": torch.randn(3, 64, 24),
             "moe.router.weight": torch.randn(3, 64)}
    start = {name: tensor.clone() for name, tensor in named.items()}
    ours = Muon(named, shape, weight_decay=0.1)
    parameters = {name: [nn.Parameter(m.clone()) for m in apart(name, w, shape)] for name, w in named.items()}
    theirs = torch.optim.Muon(
        sum(parameters.values(), []), lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(10):
        for name, tensor in named.items():
            tensor.grad = torch.randn_like(tensor)
            for parameter, gradient in zip(parameters[name], apart(name, tensor.grad, shape)):
                parameter.grad = gradient.clone()
        ours.step(0.02)
        theirs.step()
    moved, differ = 0.0, 0.0
    for name in named:
        begun, ended = apart(name, start[name], shape), apart(name, named[name], shape)
        for before, after, their in zip(begun, ended, parameters[name]):
            moved += float((after - before).square().sum())
            differ += float((after - their.detach()).square().sum())
    share = (differ / moved) ** 0.5
    update = torch.cat([torch.randn(3, 24, 40), torch.ones(1, 24, 40)])
    exact = orthogonal(update, exact=True)
    apart_by = float((orthogonal(update) - exact).norm() / exact.norm())
    print(f"after ten steps the weights are {share:.4f} of their way apart; f32 and bf16 are {apart_by:.4f}")
    # Products in bf16, summed in another order; other matrices would give about 1.
    return share < 0.03 and apart_by < 0.06


if __name__ == "__main__":
    sys.exit(0 if check() else 1)
