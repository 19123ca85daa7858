# SPDX-License-Identifier: MIT
"""PyTorch's best time for our training step on one NVIDIA GPU: the rival of `moe bench` there.

    python bench/peers/torch_gpu.py --config configs/train_config.yaml --json

The model of torch_cpu.py (docs/model.md) under torch.compile with fused AdamW, gradients summed over the
micro-batches. What it may choose in a precision takes turns and the fastest is kept: attention, the head, how
weights are kept, how the experts are multiplied. BF16: grouped products. Others, which these may not take
(PyTorch 2.11): batched products padded to the fullest expert or one product an expert. BF16 and FP16: cuDNN's
or flash attention; TF32 and f32: memory-efficient or flex attention. Measured: whole optimizer steps and, as
PyTorch users often quote it, forward and backward alone; random tokens, median after warm-up, CUDA events.

Under torchrun the model is wrapped in DistributedDataParallel (gradients all-reduced once a step, under the
last backward pass); every rank measures, rank 0 prints the tokens of all:

    python -m torch.distributed.run --nproc_per_node=2 bench/peers/torch_gpu.py \\
        --config configs/train_config.yaml

Where the peer does less than moe: no document mask, no padding, softmax over all V columns; with --weights
half no f32 master weights; AdamW's moments in the type of the weights, not in 8 bits; no loss scale in FP16.
It is dropless.
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
from torch.nn.attention import flex_attention

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import torch_cpu  # noqa: E402
from torch_cpu import GatherRows, PermuteRows, Shape, swiglu  # noqa: E402

BACKENDS = {
    "cudnn": torch.nn.attention.SDPBackend.CUDNN_ATTENTION,
    "flash": torch.nn.attention.SDPBackend.FLASH_ATTENTION,
    "efficient": torch.nn.attention.SDPBackend.EFFICIENT_ATTENTION,
}
ATTENTION = (*BACKENDS, "flex")
HEADS = ("full", "chunked")
WEIGHTS = ("half", "autocast", "f32")  # half: parameters of 16 bits; autocast: of 32, cast at each use
EXPERTS = ("grouped", "bmm", "loop")
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = (*HALF, "tf32", "no")  # training.mixed_precision


def ways_of(precision):
    """What may be chosen in a precision."""
    if precision in HALF:
        return {"attention": ("cudnn", "flash"), "head": HEADS, "weights": ("half", "autocast"),
                "experts": ("grouped",) if precision == "bf16" else ("grouped", "bmm", "loop")}
    return {"attention": ("efficient", "flex"), "head": HEADS, "weights": ("f32",),
            "experts": ("bmm", "loop")}


def grouped_mm(a, b, end_E):
    """Its name until PyTorch 2.9 was torch._grouped_mm."""
    product = getattr(functional, "grouped_mm", None) or torch._grouped_mm
    return product(a, b.to(a.dtype), offs=end_E)


def experts_grouped(x_RD, gate_up, down, count_E):
    end_E = count_E.cumsum(0).to(torch.int32)
    h_RF = swiglu(grouped_mm(x_RD, gate_up.transpose(1, 2), end_E))
    return grouped_mm(h_RF, down.transpose(1, 2), end_E)


def count_of(expert_R, E):
    """Rows of each expert. torch.bincount waits for the GPU and breaks the compiled graph."""
    return (expert_R[:, None] == torch.arange(E, device=expert_R.device)).sum(0)


class Layer(torch_cpu.Layer):
    """The same layer; with grouped products nothing waits for the GPU."""

    def __init__(self, shape, variant):
        super().__init__(shape, variant["experts"])
        self.way = variant["attention"]
        if variant["experts"] == "grouped":
            self.experts = experts_grouped
        if self.way == "flex":
            causal = lambda b, h, query, key: query >= key
            T = shape.max_seq_len
            self.mask = flex_attention.create_block_mask(causal, None, None, T, T, device="cuda")

    def causal_attention(self, q, k, v):
        if self.way == "flex":
            return flex_attention.flex_attention(q, k, v, block_mask=self.mask, enable_gqa=True)
        if self.way == "efficient":  # each key's head once for each query's
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        return super().causal_attention(q, k, v)

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
        x_RD = GatherRows.apply(u_ND, slot_R, row_R.view(N, K))
        if torch.is_autocast_enabled("cuda"):
            x_RD = x_RD.to(torch.get_autocast_dtype("cuda"))
        y_RD = self.experts(x_RD, self.gate_up, self.down, count_E)
        y_NKD = PermuteRows.apply(y_RD, row_R, slot_R).view(N, K, -1)
        y = (y_NKD * weight_NK[..., None].to(y_NKD.dtype)).sum(1)
        top1_count_E = count_of(expert_NK[:, 0], E)
        balance = E * (probability.mean(0) * top1_count_E / N).sum()
        return y.to(u_ND.dtype), s.aux_loss_weight * balance

    def norm(self, x, weight):
        return functional.rms_norm(x, weight.shape, weight.to(x.dtype), self.shape.norm_eps)


class Model(torch_cpu.Model):
    def __init__(self, shape, variant):
        super().__init__(shape, variant["experts"], variant["head"])
        self.layers = nn.ModuleList(Layer(shape, variant) for _ in range(shape.n_layers))

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
    def __init__(self, shape, training, precision, variant):
        torch.manual_seed(1)
        self.shape, self.variant = shape, variant
        self.half = HALF.get(precision)
        self.batch, self.micro = training["batch_size"], training["gradient_accumulation_steps"]
        self.model = Model(shape, variant)
        if variant["weights"] == "half":
            self.model.to(self.half)
        self.world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        self.wrapped = None
        if self.world > 1:
            self.wrapped = nn.parallel.DistributedDataParallel(self.model, gradient_as_bucket_view=True)
        whole = self.wrapped is None and variant["experts"] == "grouped"
        self.forward = torch.compile(self.wrapped or self.model, fullgraph=whole)
        self.parameters = list(self.model.parameters())
        self.adamw = torch.optim.AdamW(
            self.parameters, lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        self.tokens = torch.randint(0, min(50257, shape.vocab_size), (self.batch, shape.max_seq_len + 1))

    def micro_step(self):
        with torch.nn.attention.sdpa_kernel(BACKENDS.get(self.variant["attention"], list(BACKENDS.values()))):
            with torch.autocast("cuda", self.half, enabled=self.variant["weights"] == "autocast"):
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


def measure(shape, training, precision, variant, warm_up, steps):
    """Medians in milliseconds of a whole step and of one micro-batch's forward and backward."""
    trainer = Trainer(shape, training, precision, variant)
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
    print(f"{' '.join(variant.values()):31} step {step:9.1f} ms {row['tokens_per_second']:9.0f} tokens/s, "
          f"forward and backward {micro:8.1f} ms {row['micro_tokens_per_second']:9.0f} tokens/s, "
          f"{row['peak_bytes'] / 2**30:.1f} GiB", file=sys.stderr)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=pathlib.Path, required=True, help="a configuration of moe")
    parser.add_argument("--batch-size", type=int, help="in place of the configuration's")
    parser.add_argument("--length", type=int, help="in place of model.max_seq_len")
    parser.add_argument("--accumulate", type=int, help="in place of gradient_accumulation_steps")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16", help="training.mixed_precision")
    for name, ways in (("attention", ATTENTION), ("head", HEADS), ("weights", WEIGHTS), ("experts", EXPERTS)):
        parser.add_argument(f"--{name}", choices=ways, help="do not try the others")
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
    torch.set_float32_matmul_precision("highest" if arguments.precision == "no" else "high")
    torch._dynamo.config.cache_size_limit = 64

    config = yaml.safe_load(arguments.config.read_text())
    known = {f.name for f in dataclasses.fields(Shape)}
    shape = Shape(**{key: value for key, value in config["model"].items() if key in known})
    shape.capacity_factor = 0.0
    shape.max_seq_len = arguments.length or shape.max_seq_len
    training = {"batch_size": 32, "gradient_accumulation_steps": 1, **config.get("training", {})}
    training["batch_size"] = arguments.batch_size or training["batch_size"]
    training["gradient_accumulation_steps"] = arguments.accumulate or training["gradient_accumulation_steps"]
    choices = {name: [getattr(arguments, name)] if getattr(arguments, name) else ways
               for name, ways in ways_of(arguments.precision).items()}
    rows = []
    for chosen in itertools.product(*choices.values()):
        variant = dict(zip(choices, chosen))
        try:
            rows.append(measure(
                shape, training, arguments.precision, variant, arguments.warm_up, arguments.steps))
        except (RuntimeError, torch.OutOfMemoryError) as error:  # a variant this machine or version cannot do
            print(f"{' '.join(chosen)}: {str(error).splitlines()[0]}", file=sys.stderr)
        torch.cuda.empty_cache()
    if not rows:
        raise SystemExit("no variant ran")
    best = min(rows, key=lambda row: row["step_ms"])
    if arguments.json:
        print(json.dumps(
            {"torch": torch.__version__, "gpu": torch.cuda.get_device_name(),
             "precision": arguments.precision, **best, "tried": rows}))


if __name__ == "__main__":
    main()
