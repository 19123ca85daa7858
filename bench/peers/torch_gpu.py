# SPDX-License-Identifier: MIT
"""PyTorch's best time for our training step on one NVIDIA GPU: the rival of `moe bench` there.

    python bench/peers/torch_gpu.py --config configs/train_config.yaml --json

The model of torch_cpu.py (docs/model.md) in BF16 under torch.compile: grouped products for the experts, the
faster of cuDNN's and flash attention, fused AdamW, gradients summed over the micro-batches. What it may
choose (attention, head, how weights are kept) takes turns and the fastest is kept. Measured: whole optimizer
steps and, as PyTorch users often quote it, forward and backward alone; random tokens, median after warm-up,
CUDA events.

Under torchrun the model is wrapped in DistributedDataParallel (gradients all-reduced once a step, under the
last backward pass); every rank measures, rank 0 prints the tokens of all:

    python -m torch.distributed.run --nproc_per_node=2 bench/peers/torch_gpu.py \\
        --config configs/train_config.yaml

Where the peer does less than moe: no document mask, no padding, softmax over all V columns; with --weights
bf16 no f32 master weights; AdamW's moments in the type of the weights, not in 8 bits. It is dropless.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import statistics
import sys

import torch
import yaml
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import torch_cpu  # noqa: E402
from torch_cpu import GatherRows, PermuteRows, Shape, swiglu  # noqa: E402

BACKENDS = {
    "cudnn": torch.nn.attention.SDPBackend.CUDNN_ATTENTION,
    "flash": torch.nn.attention.SDPBackend.FLASH_ATTENTION,
}
HEADS = ("full", "chunked")
WEIGHTS = ("bf16", "autocast")  # bf16 parameters, or f32 parameters cast at each use


def grouped_mm(a, b, end_E):
    """Its name until PyTorch 2.9 was torch._grouped_mm."""
    product = getattr(functional, "grouped_mm", None) or torch._grouped_mm
    return product(a.bfloat16(), b.bfloat16(), offs=end_E)


def count_of(expert_R, E):
    """Rows of each expert. torch.bincount waits for the GPU and breaks the compiled graph."""
    return (expert_R[:, None] == torch.arange(E, device=expert_R.device)).sum(0)


class Layer(torch_cpu.Layer):
    """The same layer; routing without anything that waits for the GPU."""

    def moe(self, u_ND):
        s = self.shape
        N, E, K = len(u_ND), s.num_experts, s.top_k
        logits = functional.linear(u_ND.float(), self.router.float())
        probability = logits.softmax(-1)
        weight_NK, expert_NK = probability.topk(K, dim=-1)
        if s.renormalize_top_k:
            weight_NK = weight_NK / weight_NK.sum(-1, keepdim=True)
        slot_R = expert_NK.flatten().argsort(stable=True)
        row_R = torch.empty_like(slot_R).scatter_(0, slot_R, torch.arange(N * K, device=u_ND.device))
        count_E = count_of(expert_NK.flatten(), E)
        end_E = count_E.cumsum(0).to(torch.int32)
        x_RD = GatherRows.apply(u_ND, slot_R, row_R.view(N, K))
        h_RF = swiglu(grouped_mm(x_RD, self.gate_up.transpose(1, 2), end_E))
        y_RD = grouped_mm(h_RF, self.down.transpose(1, 2), end_E)
        y_NKD = PermuteRows.apply(y_RD, row_R, slot_R).view(N, K, -1)
        y = (y_NKD * weight_NK[..., None].to(y_NKD.dtype)).sum(1)
        top1_count_E = count_of(expert_NK[:, 0], E)
        balance = E * (probability.mean(0) * top1_count_E / N).sum()
        return y.to(u_ND.dtype), s.aux_loss_weight * balance

    def norm(self, x, weight):
        return functional.rms_norm(x, weight.shape, weight.to(x.dtype), self.shape.norm_eps)


class Model(torch_cpu.Model):
    def __init__(self, shape, head):
        super().__init__(shape, "grouped", head)
        self.layers = nn.ModuleList(Layer(shape, "grouped") for _ in range(shape.n_layers))

    def loss(self, x_ND, target_N):
        if self.head == "full":
            return functional.cross_entropy(functional.linear(x_ND, self.embedding).float(), target_N)
        total = 0.0
        for x, target in zip(x_ND.split(8192), target_N.split(8192)):
            total = total + torch.utils.checkpoint.checkpoint(self.chunk_loss, x, target, use_reentrant=False)
        return total / len(target_N)

    def chunk_loss(self, x, target):
        return functional.cross_entropy(functional.linear(x, self.embedding).float(), target, reduction="sum")


class Trainer:
    def __init__(self, shape, training, variant):
        torch.manual_seed(1)
        self.shape, self.variant = shape, variant
        self.batch, self.micro = training["batch_size"], training["gradient_accumulation_steps"]
        self.model = Model(shape, variant["head"])
        if variant["weights"] == "bf16":
            self.model.bfloat16()
        self.world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        self.wrapped = None
        if self.world > 1:
            self.wrapped = nn.parallel.DistributedDataParallel(self.model, gradient_as_bucket_view=True)
        self.forward = torch.compile(self.wrapped or self.model, fullgraph=self.wrapped is None)
        self.parameters = list(self.model.parameters())
        self.adamw = torch.optim.AdamW(
            self.parameters, lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        self.tokens = torch.randint(0, min(50257, shape.vocab_size), (self.batch, shape.max_seq_len + 1))

    def micro_step(self):
        with torch.nn.attention.sdpa_kernel(BACKENDS[self.variant["attention"]]):
            with torch.autocast("cuda", torch.bfloat16, enabled=self.variant["weights"] == "autocast"):
                loss = self.forward(self.tokens[:, :-1], self.tokens[:, 1:]) / self.micro
            loss.backward()

    def step(self):
        for left in reversed(range(self.micro)):
            with self.wrapped.no_sync() if self.wrapped and left else contextlib.nullcontext():
                self.micro_step()
        nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=False)

    @staticmethod
    def milliseconds(work):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)


def measure(shape, training, variant, warm_up, steps):
    """Medians in milliseconds of a whole step and of one micro-batch's forward and backward."""
    trainer = Trainer(shape, training, variant)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(warm_up):
        trainer.step()
    micro = statistics.median(trainer.milliseconds(trainer.micro_step) for _ in range(max(steps, 5)))
    trainer.adamw.zero_grad(set_to_none=False)
    step = statistics.median(trainer.milliseconds(trainer.step) for _ in range(steps))
    tokens = trainer.batch * shape.max_seq_len * trainer.world
    row = {**variant, "step_ms": step, "tokens_per_second": 1e3 * tokens * trainer.micro / step,
           "micro_ms": micro,
           "micro_tokens_per_second": 1e3 * tokens / micro, "peak_bytes": torch.cuda.max_memory_allocated()}
    print(f"{' '.join(variant.values()):26} step {step:9.1f} ms {row['tokens_per_second']:9.0f} tokens/s, "
          f"forward and backward {micro:8.1f} ms {row['micro_tokens_per_second']:9.0f} tokens/s, "
          f"{row['peak_bytes'] / 2**30:.1f} GiB", file=sys.stderr)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=pathlib.Path, required=True, help="a configuration of moe")
    parser.add_argument("--batch-size", type=int, help="in place of the configuration's")
    parser.add_argument("--length", type=int, help="in place of model.max_seq_len")
    parser.add_argument("--accumulate", type=int, help="in place of gradient_accumulation_steps")
    parser.add_argument("--attention", choices=BACKENDS, help="do not try the others")
    parser.add_argument("--head", choices=HEADS, help="do not try the others")
    parser.add_argument("--weights", choices=WEIGHTS, help="do not try the others")
    parser.add_argument("--steps", type=int, default=5, help="timed steps; the median counts")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group("nccl")
        if torch.distributed.get_rank() > 0:
            sys.stderr = open(os.devnull, "w")
    torch.set_default_device("cuda")
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.cache_size_limit = 64

    config = yaml.safe_load(arguments.config.read_text())
    known = {f.name for f in dataclasses.fields(Shape)}
    shape = Shape(**{key: value for key, value in config["model"].items() if key in known})
    shape.capacity_factor = 0.0
    shape.max_seq_len = arguments.length or shape.max_seq_len
    training = {"batch_size": 32, "gradient_accumulation_steps": 1, **config.get("training", {})}
    training["batch_size"] = arguments.batch_size or training["batch_size"]
    training["gradient_accumulation_steps"] = arguments.accumulate or training["gradient_accumulation_steps"]
    choices = [[given] if (given := getattr(arguments, name)) else list(ways)
               for name, ways in (("attention", BACKENDS), ("head", HEADS), ("weights", WEIGHTS))]
    rows = []
    for attention, head, weights in itertools.product(*choices):
        try:
            variant = {"attention": attention, "head": head, "weights": weights}
            rows.append(measure(shape, training, variant, arguments.warm_up, arguments.steps))
        except (RuntimeError, torch.OutOfMemoryError) as error:  # a variant this machine or version cannot do
            print(f"{attention} {head} {weights}: {str(error).splitlines()[0]}", file=sys.stderr)
        torch.cuda.empty_cache()
    if not rows:
        raise SystemExit("no variant ran")
    best = min(rows, key=lambda row: row["step_ms"])
    if arguments.json:
        print(json.dumps(
            {"torch": torch.__version__, "gpu": torch.cuda.get_device_name(), **best, "tried": rows}))


if __name__ == "__main__":
    main()
