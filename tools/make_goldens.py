# SPDX-License-Identifier: MIT
"""Makes the model's golden files from tools/reference_model.py:

  model_dropless.safetensors, model_capacity.safetensors   one forward and backward pass
  model_ungated.safetensors, model_windowed.safetensors    the same of other attentions and heads
  model_qk_projection.safetensors, model_qk_none.safetensors   of other norms of queries and keys
  model_sigmoid.safetensors, model_biased.safetensors      and of other routers
  model_shared.safetensors, model_dense.safetensors        the same with a shared expert, with dense layers
  model_qkv_bias.safetensors, model_scaled.safetensors     with biases, with the four multipliers of Granite
  trajectory.safetensors                                   ten steps of AdamW from the dropless weights

    python tools/make_goldens.py tests/golden [VARIANT...]

Everything is computed in float64 from weights rounded to float32, and stored as float32 (indices as int32),
so that what a test sees is its own rounding. Metadata "config" (and "optimizer") holds JSON. Sizes are small
and no multiple of anything; rows hold two documents, one row ends in padding, some tokens have no target.
Routing is kept away from ties, where float32 could rightly choose another expert: see `routing_gap`.
"""

import argparse
import dataclasses
import json
import pathlib

import torch
from reference_model import Config, ReferenceModel
from safetensors.torch import save_file

ROWS, TOKENS, STEPS = 2, 13, 10
SMALLEST_GAP = 2e-4  # float32 probabilities of this model are good to about 1e-6
DROPLESS = Config(capacity_factor=0.0)
CAPACITY = Config(capacity_factor=0.6)  # 2 * floor(0.6 * ceil(26 / 4)) = 8 rows an expert
# Head widths that are not d_model / n_heads.
UNGATED = Config(head_dim=10, attention_gate=False, attention_window=(4, 0), tie_embeddings=False)
WINDOWED = Config(head_dim=6, attention_window=(0, 3))
# Over the whole projection, with gates between the queries and without.
QK_PROJECTION = Config(qk_norm="projection", head_dim=10)
QK_NONE = Config(qk_norm="none", attention_gate=False, renormalize_top_k=False)
# A rate above 0 says that there are biases.
SIGMOID = Config(router_score="sigmoid", router_scale=2.5, router_bias_rate=1e-3, sequence_loss_weight=0.02)
BIASED = Config(router_scale=1.5, renormalize_top_k=False, router_bias_rate=1e-3, capacity_factor=0.6)
SHARED = Config(shared_expert_dim=20)
DENSE = Config(n_layers=3, first_dense_layers=1, dense_intermediate_dim=28, shared_expert_dim=12,
               shared_expert_gate=False)
QKV_BIAS = Config(attention_bias=True, head_dim=6, n_kv_heads=1)
# Each part has one: experts, a shared one, a dense layer.
SCALED = Config(n_layers=3, first_dense_layers=1, shared_expert_dim=12, attention_gate=False, qk_norm="none",
                embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.5,
                logits_scaling=1.7, tie_embeddings=False)
VARIANTS = {"ungated": UNGATED, "windowed": WINDOWED, "qk_projection": QK_PROJECTION, "qk_none": QK_NONE,
            "sigmoid": SIGMOID, "biased": BIASED, "shared": SHARED, "dense": DENSE, "qkv_bias": QKV_BIAS,
            "scaled": SCALED}
OPTIMIZER = {
    "order": "pytorch",
    "learning_rate": 1e-2,
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "weight_decay": 0.1,  # on matrices; norms do not decay
    "max_grad_norm": 1.0,
}


class Unsuitable(Exception):
    """This seed does not give what the goldens must show; the next one may."""


def make_weights(config, random):
    """Larger than any sensible initialisation, so that no part of the model is nearly linear or nearly
    zero."""
    scale = {"embedding": 0.3, "lm_head": 0.3, "qkvg": 0.3, "out": 0.2, "router": 0.5, "gate_up": 0.25,
             "down": 0.25, "shared_gate": 0.5}
    weights = {}
    for name, shape in config.weight_shapes().items():
        noise = torch.randn(shape, generator=random, dtype=torch.float32)
        kind = name.split(".")[-2]
        weights[name] = 1 + 0.2 * noise if kind.endswith("norm") else scale[kind] * noise
    return weights


def make_batch(config, random):
    """Random tokens; row 0 is full, row 1 ends in padding; the second document starts somewhere in the
    row."""
    pick = lambda low, high: int(torch.randint(low, high, (1,), generator=random))
    tokens = torch.randint(0, config.real_vocab, (ROWS, TOKENS), generator=random)
    target = tokens.roll(-1, dims=1)
    first = torch.zeros_like(tokens)
    for row, length in enumerate((TOKENS, TOKENS - pick(2, 4))):
        start = pick(3, 8)
        first[row, start:length] = start
        first[row, length:] = -1
        tokens[row, length:] = 0
        target[row, length - 1 :] = -1  # nothing follows the last token
    target[0, pick(0, 3)] = -1  # and one token in the middle is context only
    return tokens, target, first


def as_parameters(weights):
    return {name: w.double().requires_grad_() for name, w in weights.items()}


def routing_gap(routing, doc_start_BT, top_k):
    """Smallest distance between what one of the K chosen is ranked by and the next one down."""
    p = routing.ranked_NE.detach()[doc_start_BT.reshape(-1) >= 0].sort(-1, descending=True).values
    return float((p[:, :top_k] - p[:, 1 : top_k + 1]).min())


def check_gap(output, first, config):
    gap = min(routing_gap(r, first, config.top_k) for r in output.routing)
    if gap < SMALLEST_GAP:
        raise Unsuitable(f"a routing gap of {gap:.1e}")
    return gap


def make_biases(config, random):
    if config.router_bias_rate == 0:
        return {}
    return {f"layers.{i}.moe.router.bias": 0.1 * torch.randn(config.num_experts, generator=random)
            for i in range(config.n_layers)}


def one_pass(config, weights, batch, biases=None):
    """Everything a test wants to compare after one forward and backward pass."""
    tokens, target, first = batch
    biases = biases or {}
    parameters = as_parameters(weights)
    output = ReferenceModel(config, parameters, {n: b.double() for n, b in biases.items()}).forward(
        tokens, target, first)
    output.loss.backward()
    gap = check_gap(output, first, config)
    layers = output.routing
    real = layers[0].expert_NK >= 0
    dropped = [real & ~r.kept_NK for r in layers]
    if config.capacity_factor > 0:
        for choice in range(config.top_k):
            if not any(d[:, choice].any() for d in dropped):
                raise Unsuitable(f"no token loses its choice {choice}")
        if not any(d.all(-1).any() for d in dropped):
            raise Unsuitable("no token loses all its choices")

    if biases and all(torch.equal(r.ranked_NE.argmax(-1), r.probability_NE.argmax(-1)) for r in layers):
        raise Unsuitable("no bias changes a choice")

    tensors = {f"weight.{name}": w for name, w in weights.items()}
    tensors |= {f"buffer.{name}": b for name, b in biases.items()}
    tensors |= {f"gradient.{name}": p.grad for name, p in parameters.items()}
    tensors |= {"input": tokens, "target": target, "first": first, "logits": output.logits_BTV}
    tensors |= {
        "loss": output.loss,
        "loss.cross_entropy": output.cross_entropy,
        "loss.balance": torch.stack([r.balance_loss for r in layers]),
        "loss.z": torch.stack([r.z_loss for r in layers]),
        "loss.sequence": torch.stack([r.sequence_loss for r in layers]),
        "expert": torch.stack([r.expert_NK for r in layers]),
        "kept": torch.stack([r.kept_NK for r in layers]),
        "expert_count": torch.stack([r.asked_E for r in layers]),
        "expert_first": torch.stack([r.top1_count_E for r in layers]),
        "expert_dropped": torch.stack(
            [
                torch.stack([(d & (r.expert_NK == e)).sum() for e in range(config.num_experts)])
                for d, r in zip(dropped, layers)
            ]
        ),
    }
    print(
        f"  capacity_factor {config.capacity_factor}: loss {float(output.loss.detach()):.6f}, smallest gap "
        f"{gap:.1e},"
        f" dropped {[int(d.sum()) for d in dropped]} of {int(real.sum())} a layer"
    )
    return tensors


def train(config, weights, batches, dtype):
    parameters = {name: w.to(dtype, copy=True).requires_grad_() for name, w in weights.items()}
    model = ReferenceModel(config, parameters)
    groups = [
        {"params": [p for p in parameters.values() if p.dim() > 1],
         "weight_decay": OPTIMIZER["weight_decay"]},
        {"params": [p for p in parameters.values() if p.dim() == 1], "weight_decay": 0.0},
    ]
    betas = (OPTIMIZER["beta1"], OPTIMIZER["beta2"])
    adamw = torch.optim.AdamW(groups, lr=OPTIMIZER["learning_rate"], betas=betas, eps=OPTIMIZER["epsilon"])
    rows = []
    for tokens, target, first in batches:
        adamw.zero_grad()
        output = model.forward(tokens, target, first)
        check_gap(output, first, config)
        output.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), OPTIMIZER["max_grad_norm"])
        adamw.step()
        rows.append([output.loss.detach(), output.cross_entropy.detach(), norm])
    return torch.tensor(rows, dtype=torch.float64)


def trajectory(config, weights, batches):
    exact = train(config, weights, batches, torch.float64)
    single = train(config, weights, batches, torch.float32)
    difference = float(((single - exact) / exact).abs().max())
    print(f"  trajectory: loss {exact[0, 0]:.4f} -> {exact[-1, 0]:.4f}; float32 differs by {difference:.1e} "
          f"relative")
    if difference > 1e-5:
        raise Unsuitable("float32 leaves the trajectory")
    tokens, target, first = (torch.stack(parts) for parts in zip(*batches))
    return {
        "input": tokens,
        "target": target,
        "first": first,
        "loss": exact[:, 0],
        "loss.cross_entropy": exact[:, 1],
        "gradient_norm": exact[:, 2],
    }


def sort_header(path):
    """The library writes metadata in random order; sorted, the same tensors give the same bytes."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(content[:8] + text.ljust(length) + content[8 + length :])
    path.chmod(0o644)


def save(path, tensors, **metadata):
    stored = {
        name: t.detach().to(torch.float32 if t.is_floating_point() else torch.int32).contiguous()
        for name, t in tensors.items()
    }
    metadata = {key: json.dumps(value) for key, value in metadata.items()}
    metadata["made_by"] = f"tools/make_goldens.py with torch {torch.__version__}"
    save_file(stored, path, metadata)
    sort_header(path)
    print(f"  {path}: {path.stat().st_size} bytes")


def make_all(seed, folder):
    random = torch.Generator().manual_seed(seed)
    weights = make_weights(DROPLESS, random)
    batches = [make_batch(DROPLESS, random) for _ in range(STEPS)]
    dropless = one_pass(DROPLESS, weights, batches[0])
    capacity = one_pass(CAPACITY, weights, batches[0])
    path = trajectory(DROPLESS, weights, batches)
    save(folder / "model_dropless.safetensors", dropless, config=dataclasses.asdict(DROPLESS), seed=seed)
    save(folder / "model_capacity.safetensors", capacity, config=dataclasses.asdict(CAPACITY), seed=seed)
    save(folder / "trajectory.safetensors", path, config=dataclasses.asdict(DROPLESS), optimizer=OPTIMIZER,
         seed=seed)


def make_variant(seed, folder, name, config):
    random = torch.Generator().manual_seed(seed)
    weights, batch = make_weights(config, random), make_batch(config, random)
    tensors = one_pass(config, weights, batch, make_biases(config, random))
    save(folder / f"model_{name}.safetensors", tensors, config=dataclasses.asdict(config), seed=seed)


def with_suitable_seed(make):
    for seed in range(1000):
        try:
            print(f"seed {seed}")
            return make(seed)
        except Unsuitable as reason:
            print(f"  unsuitable: {reason}")
    raise SystemExit("no suitable seed")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="where the files go: tests/golden")
    parser.add_argument("variants", nargs="*", choices=[*VARIANTS, []], help="only these; else everything")
    arguments = parser.parse_args()
    folder = arguments.folder
    torch.set_num_threads(1)
    if not arguments.variants:
        with_suitable_seed(lambda seed: make_all(seed, folder))
    for name in arguments.variants or VARIANTS:
        with_suitable_seed(lambda seed: make_variant(seed, folder, name, VARIANTS[name]))


if __name__ == "__main__":
    main()
