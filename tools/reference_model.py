# SPDX-License-Identifier: MIT
"""The architecture of moe.cpp in plain PyTorch: the oracle behind the golden files (tools/make_goldens.py).

Written from the model's definition (docs/model.md), not from the C++: autograd instead of hand-written
gradients, a full T x T mask instead of a streaming softmax, one loop over experts instead of sorted rows.
Readable and slow on purpose; bench/peers/ has the fast one. Works in any float type: the goldens use float64.

Letters: B rows, T tokens a row, N = B*T, D width, H query heads, G key/value heads, d head width, E experts,
K experts per token, F expert width, V vocabulary (padded).
"""

from dataclasses import dataclass, field

import torch
from torch.nn import functional


@dataclass
class Config:
    d_model: int = 32
    n_layers: int = 2
    n_heads: int = 4
    n_kv_heads: int = 2
    head_dim: int = 0  # 0: d_model / n_heads
    attention_gate: bool = True
    qk_norm: str = "head"  # or projection, none
    attention_bias: bool = False
    attention_window: tuple = ()  # of each layer in turn, repeated; 0 or none: all
    tie_embeddings: bool = True
    num_experts: int = 4
    top_k: int = 2
    expert_intermediate_dim: int = 24
    shared_expert_dim: int = 0  # 0: no shared expert
    shared_expert_gate: bool = True
    first_dense_layers: int = 0
    dense_intermediate_dim: int = 0  # 0: top_k * expert_intermediate_dim + shared_expert_dim
    capacity_factor: float = 0.0  # 0: no token is dropped
    aux_loss_weight: float = 0.01
    z_loss_weight: float = 0.001
    renormalize_top_k: bool = True
    router_score: str = "softmax"  # or sigmoid
    router_scale: float = 1.0
    router_bias_rate: float = 0.0  # above 0: experts are chosen with biases, which are given
    sequence_loss_weight: float = 0.0
    vocab_size: int = 96
    real_vocab: int = 90  # columns from here on are padding: no probability, no gradient
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    embedding_multiplier: float = 1.0
    residual_multiplier: float = 1.0
    attention_multiplier: float = 0.0  # 0: 1 / sqrt(head width)
    logits_scaling: float = 1.0

    @property
    def head_width(self):
        return self.head_dim or self.d_model // self.n_heads

    @property
    def dense_width(self):
        met = self.top_k * self.expert_intermediate_dim + self.shared_expert_dim
        return self.dense_intermediate_dim or met

    def window(self, layer):
        return self.attention_window[layer % len(self.attention_window)] if self.attention_window else 0

    def weight_shapes(self):
        """Name -> shape of every learnt tensor, in the order of the model."""
        D, E, F, d = self.d_model, self.num_experts, self.expert_intermediate_dim, self.head_width
        packed = (2 if self.attention_gate else 1) * self.n_heads * d + 2 * self.n_kv_heads * d
        shapes = {"embedding.weight": (self.vocab_size, D)}
        for i in range(self.n_layers):
            layer = f"layers.{i}."
            shapes[layer + "attention_norm.weight"] = (D,)
            shapes[layer + "attention.qkvg.weight"] = (packed, D)
            if self.attention_bias:
                shapes[layer + "attention.qkvg.bias"] = (packed,)
            if self.qk_norm != "none":
                whole = self.qk_norm == "projection"
                shapes[layer + "attention.q_norm.weight"] = (self.n_heads * d if whole else d,)
                shapes[layer + "attention.k_norm.weight"] = (self.n_kv_heads * d if whole else d,)
            shapes[layer + "attention.out.weight"] = (D, self.n_heads * d)
            if i < self.first_dense_layers:
                shapes[layer + "dense_norm.weight"] = (D,)
                shapes[layer + "dense.gate_up.weight"] = (2 * self.dense_width, D)
                shapes[layer + "dense.down.weight"] = (D, self.dense_width)
                continue
            shapes[layer + "moe_norm.weight"] = (D,)
            shapes[layer + "moe.router.weight"] = (E, D)
            shapes[layer + "moe.gate_up.weight"] = (E, 2 * F, D)
            shapes[layer + "moe.down.weight"] = (E, D, F)
            if self.shared_expert_dim:
                shapes[layer + "moe.shared.gate_up.weight"] = (2 * self.shared_expert_dim, D)
                shapes[layer + "moe.shared.down.weight"] = (D, self.shared_expert_dim)
                if self.shared_expert_gate:
                    shapes[layer + "moe.shared_gate.weight"] = (1, D)
        shapes["final_norm.weight"] = (D,)
        if not self.tie_embeddings:
            shapes["lm_head.weight"] = (self.vocab_size, D)
        return shapes


@dataclass
class Routing:
    """What one layer's router did. Padding tokens have expert -1 and are in no count."""

    probability_NE: torch.Tensor
    expert_NK: torch.Tensor
    kept_NK: torch.Tensor
    asked_E: torch.Tensor  # assignments asked for, the dropped ones included
    top1_count_E: torch.Tensor  # of these, first choices
    balance_loss: torch.Tensor
    z_loss: torch.Tensor
    sequence_loss: torch.Tensor
    ranked_NE: torch.Tensor  # what experts are chosen by


@dataclass
class Attention:
    """What one layer's attention did."""

    probability_BHTT: torch.Tensor  # [query, key]
    gate_BTHd: torch.Tensor


@dataclass
class Output:
    logits_BTV: torch.Tensor  # all V columns, none masked
    cross_entropy: torch.Tensor
    loss: torch.Tensor
    routing: list[Routing] = field(default_factory=list)  # of the layers with a router
    attention: list[Attention] = field(default_factory=list)
    residual: list[torch.Tensor] = field(default_factory=list)  # BTD, behind each block


def rms_norm(x, weight, eps):
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def rotate_half(x_BTHd, theta):
    """Rotary embedding over all of d: element i turns with element i + d/2 (Su et al. 2021)."""
    T, d = x_BTHd.shape[1], x_BTHd.shape[-1]
    exponent = torch.arange(0, d, 2, dtype=torch.float64) / d
    angle = torch.arange(T, dtype=torch.float64)[:, None] / theta**exponent
    cos = torch.cat([angle.cos(), angle.cos()], -1).to(x_BTHd.dtype)[None, :, None, :]
    sin = torch.cat([angle.sin(), angle.sin()], -1).to(x_BTHd.dtype)[None, :, None, :]
    low, high = x_BTHd.chunk(2, -1)
    return x_BTHd * cos + torch.cat([-high, low], -1) * sin


def visible(doc_start_BT, window=0):
    """mask[b, t, s]: token t sees s. Causal, inside its document, the last `window` tokens (0: all of them);
    padding (first = -1) sees nothing."""
    T = doc_start_BT.shape[1]
    t = torch.arange(T)[None, :, None]
    s = torch.arange(T)[None, None, :]
    first = doc_start_BT[:, :, None]
    near = s > t - window if window > 0 else s <= t
    return (first >= 0) & (first <= s) & (s <= t) & near


class ReferenceModel:
    def __init__(self, config: Config, weights: dict[str, torch.Tensor],
                 biases: dict[str, torch.Tensor] | None = None):
        expected = config.weight_shapes()
        found = {name: tuple(w.shape) for name, w in weights.items()}
        if found != expected:
            raise ValueError(f"weights do not fit the config: expected {expected}, found {found}")
        self.config = config
        self.weights = weights
        self.biases = biases or {}  # of the choice, by layer: not learnt by gradient

    def attention(self, layer, u_BTD, doc_start_BT, window):
        """u is the normed input of the block, which the G1 gate reads too (arXiv 2505.06708)."""
        c = self.config
        B, T, _ = u_BTD.shape
        H, G, d = c.n_heads, c.n_kv_heads, c.head_width
        w = lambda name: self.weights[f"{layer}attention.{name}.weight"]

        packed = functional.linear(u_BTD, w("qkvg"), self.weights.get(f"{layer}attention.qkvg.bias"))
        parts = 2 if c.attention_gate else 1
        query_and_gate, k, v = packed.split([parts * H * d, G * d, G * d], -1)
        q, *gate = query_and_gate.view(B, T, H, parts, d).unbind(3)  # rows of one head: [q_h | gate_h]
        k = k.view(B, T, G, d)
        if c.qk_norm == "projection":
            q = rms_norm(q.flatten(2), w("q_norm"), c.norm_eps).view(B, T, H, d)
            k = rms_norm(k.flatten(2), w("k_norm"), c.norm_eps).view(B, T, G, d)
        elif c.qk_norm == "head":
            q, k = rms_norm(q, w("q_norm"), c.norm_eps), rms_norm(k, w("k_norm"), c.norm_eps)
        q, k = rotate_half(q, c.rope_theta), rotate_half(k, c.rope_theta)
        v = v.view(B, T, G, d)
        k = k.repeat_interleave(H // G, dim=2)  # query head h reads key/value head h / (H/G)
        v = v.repeat_interleave(H // G, dim=2)

        score = torch.einsum("bthd,bshd->bhts", q, k) * (c.attention_multiplier or d**-0.5)
        mask = visible(doc_start_BT, window)[:, None]
        # A padding token has no key at all: give its softmax something finite, then zero the result.
        score = score.masked_fill(~mask, torch.finfo(score.dtype).min)
        probability = torch.softmax(score, -1) * mask
        o = torch.einsum("bhts,bshd->bthd", probability, v)
        gate = torch.sigmoid(gate[0]) if c.attention_gate else torch.ones_like(o)
        return functional.linear((gate * o).reshape(B, T, H * d), w("out")), Attention(probability, gate)

    def capacity(self, tokens):
        """Rows an expert may take, as in Tutel: from all tokens of the micro-batch, padding included."""
        c = self.config
        if c.capacity_factor == 0:
            return None
        return c.top_k * int(c.capacity_factor * -(-tokens // c.num_experts))

    def sequence_loss(self, probability_NE, expert_NK, doc_start_BT):
        """DeepSeek-V3, arXiv 2412.19437, equations 17 to 20: a mean over the rows that have tokens."""
        c = self.config
        B, T = doc_start_BT.shape
        losses = []
        for p, expert, first in zip(probability_NE.view(B, T, -1), expert_NK.view(B, T, -1), doc_start_BT):
            p, expert = p[first >= 0], expert[first >= 0]
            if len(p):
                count = functional.one_hot(expert.flatten(), c.num_experts).sum(0)
                losses.append((c.num_experts / (c.top_k * len(p)) * count * p.mean(0)).sum())
        return torch.stack(losses).mean()

    def route(self, layer, logits_NE, doc_start_BT):
        c = self.config
        N, E = logits_NE.shape
        real = doc_start_BT.reshape(-1) >= 0
        M = int(real.sum())
        if c.router_score == "sigmoid":
            score = torch.sigmoid(logits_NE)
            probability = score / score.sum(-1, keepdim=True)
        else:
            score = probability = torch.softmax(logits_NE, -1)
        ranked = score.detach() + self.biases[layer + "moe.router.bias"] if c.router_bias_rate > 0 else score
        expert = ranked.topk(c.top_k, dim=-1).indices
        weight = score.gather(-1, expert)
        if c.renormalize_top_k:
            weight = weight / weight.sum(-1, keepdim=True)
        weight = weight * c.router_scale
        expert = torch.where(real[:, None], expert, -1)

        # All first choices, in token order, take their places before any second choice does.
        capacity = self.capacity(N)
        kept = torch.zeros(N, c.top_k, dtype=torch.bool)
        asked = torch.zeros(E, dtype=torch.int64)
        first = torch.zeros(E, dtype=torch.int64)
        for k in range(c.top_k):
            for n in range(N):
                e = int(expert[n, k])
                if e < 0:
                    continue
                kept[n, k] = capacity is None or bool(asked[e] < capacity)
                asked[e] += 1
                first[e] += k == 0
        weight = weight * kept  # what was dropped counts as zero; the rest is not renormalised

        mean = probability[real].sum(0) / M
        balance = E * (mean * first / M).sum()
        z = torch.logsumexp(logits_NE[real], -1).square().sum() / M
        sequence = self.sequence_loss(probability, expert, doc_start_BT)
        return weight, Routing(probability, expert, kept, asked, first, balance, z, sequence, ranked)

    @staticmethod
    def swiglu(x_ND, gate_up, down):
        """y = ((x W_gate) * silu(x W_up)) W_down: the SiLU is on the up branch."""
        w_gate, w_up = gate_up.chunk(2, 0)
        h = functional.linear(x_ND, w_gate) * functional.silu(functional.linear(x_ND, w_up))
        return functional.linear(h, down)

    def experts(self, layer, x_ND, weight_NK, routing):
        gate_up = self.weights[layer + "moe.gate_up.weight"]
        down = self.weights[layer + "moe.down.weight"]
        y = torch.zeros_like(x_ND)
        for e in range(self.config.num_experts):
            share = (weight_NK * (routing.expert_NK == e)).sum(-1, keepdim=True)
            y = y + share * self.swiglu(x_ND, gate_up[e], down[e])
        return y

    def shared_expert(self, layer, x_ND):
        w = lambda name: self.weights[f"{layer}moe.{name}.weight"]
        y = self.swiglu(x_ND, w("shared.gate_up"), w("shared.down"))
        if self.config.shared_expert_gate:
            y = torch.sigmoid(functional.linear(x_ND, w("shared_gate"))) * y
        return y

    def dense(self, layer, x_ND):
        w = lambda name: self.weights[f"{layer}dense.{name}.weight"]
        return self.swiglu(x_ND, w("gate_up"), w("down"))

    def forward(self, input_BT, target_BT, doc_start_BT):
        c = self.config
        B, T = input_BT.shape
        x = c.embedding_multiplier * self.weights["embedding.weight"][input_BT]
        routing, attention, residual = [], [], []
        for i in range(c.n_layers):
            layer = f"layers.{i}."
            u = rms_norm(x, self.weights[layer + "attention_norm.weight"], c.norm_eps)
            y, looked = self.attention(layer, u, doc_start_BT, c.window(i))
            x = x + c.residual_multiplier * y
            attention.append(looked)
            if i < c.first_dense_layers:
                u = rms_norm(x, self.weights[layer + "dense_norm.weight"], c.norm_eps)
                x = x + c.residual_multiplier * self.dense(layer, u)
                residual.append(x)
                continue
            u = rms_norm(x, self.weights[layer + "moe_norm.weight"], c.norm_eps).view(B * T, -1)
            logits = functional.linear(u, self.weights[layer + "moe.router.weight"])
            weight, done = self.route(layer, logits, doc_start_BT)
            y = self.experts(layer, u, weight, done)
            if c.shared_expert_dim:
                y = y + self.shared_expert(layer, u)
            x = x + c.residual_multiplier * y.view(B, T, -1)
            routing.append(done)
            residual.append(x)
        x = rms_norm(x, self.weights["final_norm.weight"], c.norm_eps)
        head = "embedding.weight" if c.tie_embeddings else "lm_head.weight"
        logits = functional.linear(x, self.weights[head]) / c.logits_scaling
        ce = functional.cross_entropy(
            logits[..., : c.real_vocab].flatten(0, 1), target_BT.flatten(), ignore_index=-1
        )
        loss = ce
        loss = loss + c.aux_loss_weight * sum(r.balance_loss for r in routing)
        loss = loss + c.z_loss_weight * sum(r.z_loss for r in routing)
        loss = loss + c.sequence_loss_weight * sum(r.sequence_loss for r in routing)
        return Output(logits, ce, loss, routing, attention, residual)
