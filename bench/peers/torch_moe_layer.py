# SPDX-License-Identifier: MIT
"""PyTorch's time for one MoE layer on one NVIDIA GPU: the rival of `moe bench --part moe-layer`.

    python bench/peers/torch_moe_layer.py --config configs/train_config.yaml --json

The layer of torch_gpu.py from its norm to the combined output plus residual, in BF16 under torch.compile,
forward and forward and backward, with the router as it is initialised and with one that sends every expert
the same number of rows. Gradients of the weights are added to those that are there, as in a step of several
micro-batches. CUDA events, median.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
import sys

import torch
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from torch_gpu import Layer, Shape, Trainer  # noqa: E402


class MoeLayer(Layer):
    def forward(self, x_ND):
        y_ND, balance = self.moe(self.norm(x_ND, self.moe_norm))
        return x_ND + y_ND, balance


def inputs(shape, layer, tokens, balanced):
    x_ND = torch.randn(tokens, shape.d_model)
    if balanced:
        E, K = shape.num_experts, shape.top_k
        with torch.no_grad():
            layer.router.copy_(torch.eye(E, shape.d_model))
        turn = torch.arange(tokens)
        for k in range(K):
            x_ND[turn, (turn * K + k) % E] = 12.0 - k / K
    return x_ND.bfloat16().requires_grad_()


def measure(shape, tokens, balanced, repeats):
    torch.manual_seed(1)
    layer = MoeLayer(shape, "grouped").bfloat16()
    x_ND = inputs(shape, layer, tokens, balanced)
    dy_ND = 1e-3 * torch.randn_like(x_ND)
    compiled = torch.compile(layer)

    def forward():
        for _ in range(repeats):
            compiled(x_ND)

    def both():
        for _ in range(repeats):
            y_ND, balance = compiled(x_ND)
            torch.autograd.backward([y_ND, balance], [dy_ND, torch.ones_like(balance)])

    def median(work):
        for _ in range(2):
            work()
        return statistics.median(Trainer.milliseconds(work) for _ in range(5)) / repeats

    flops = 6.0 * tokens * shape.d_model * (
        3 * shape.top_k * shape.expert_intermediate_dim + shape.num_experts)
    forward_ms, both_ms = median(forward), median(both)
    rates = {"forward_tflops": flops / 3 / forward_ms,
             "backward_tflops": flops * 2 / 3 / (both_ms - forward_ms), "tflops": flops / both_ms}
    return {"forward_ms": forward_ms, "backward_ms": both_ms - forward_ms, "ms": both_ms,
            **{name: 1e-9 * rate for name, rate in rates.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=pathlib.Path, required=True, help="a configuration of moe")
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--steps", type=int, default=5, help="passes of each measurement")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU")
    torch.set_default_device("cuda")
    config = yaml.safe_load(arguments.config.read_text())
    known = {f.name for f in dataclasses.fields(Shape)}
    shape = Shape(**{key: value for key, value in config["model"].items() if key in known})
    shape.capacity_factor = 0.0
    result = {"torch": torch.__version__, "gpu": torch.cuda.get_device_name(), "tokens": arguments.tokens}
    for routing in ("learned", "balanced"):
        result[routing] = measure(shape, arguments.tokens, routing == "balanced", arguments.steps)
    if arguments.json:
        return print(json.dumps(result, indent=1))
    print(f"{result['gpu']}, PyTorch {result['torch']}, {arguments.tokens} tokens")
    for routing in ("learned", "balanced"):
        row = result[routing]
        print(f"{routing:10}" + ", ".join(
            f"{part} {row[f'{part}_ms']:.3f} ms {row[f'{part}_tflops']:.1f} TFLOP/s"
            for part in ("forward", "backward"))
            + f", both {row['ms']:.3f} ms {row['tflops']:.1f} TFLOP/s")


if __name__ == "__main__":
    main()
