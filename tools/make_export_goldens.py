#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/qwen3_next/, qwen3_next_shared/ and families/*/: tiny models of the families that moe
reads, with random weights, as transformers saves them, and their logits and greedy continuations.
tests/interop holds our import and model against them. The first has a shared expert of zeros, which is none;
the second a true one, and a first layer without experts. Those in families/ also have the loss of their text
and the norm of its gradient by each of our tensors.

usage: tools/make_export_goldens.py [--only qwen3_next_shared]
"""
import argparse
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden"
SHAPE = {
    "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
    "num_experts_per_tok": 2, "hidden_act": "silu", "rms_norm_eps": 1e-5, "vocab_size": 96, "bos_token_id": 0,
    "eos_token_id": 0, "pad_token_id": 0}
DENSE = {name: value for name, value in SHAPE.items() if name != "num_experts_per_tok"} | {
    "num_hidden_layers": 2, "intermediate_size": 44}
ROPE = {"rope_type": "default", "rope_theta": 5000.0}
NEXT = SHAPE | {
    "head_dim": 8, "rope_parameters": ROPE | {"partial_rotary_factor": 1.0}, "partial_rotary_factor": 1.0,
    "num_experts": 6, "norm_topk_prob": True, "moe_intermediate_size": 16, "decoder_sparse_step": 1,
    "attention_bias": False, "tie_word_embeddings": True}
# Class, settings. Heads of a family in families/ are not D / H wide where it has a key for that.
MODELS = {
    "qwen3_next": ("Qwen3Next", NEXT | {
        "num_hidden_layers": 2, "intermediate_size": 16, "shared_expert_intermediate_size": 1,
        "mlp_only_layers": [], "layer_types": ["full_attention"] * 2}),
    "qwen3_next_shared": ("Qwen3Next", NEXT | {
        "num_hidden_layers": 3, "intermediate_size": 28, "shared_expert_intermediate_size": 12,
        "mlp_only_layers": [0], "layer_types": ["full_attention"] * 3}),
    "families/qwen3_moe": ("Qwen3Moe", SHAPE | {
        "head_dim": 12, "num_hidden_layers": 3, "num_experts": 6, "moe_intermediate_size": 16,
        "intermediate_size": 28, "mlp_only_layers": [0], "norm_topk_prob": True, "rope_parameters": ROPE}),
    "families/olmoe": ("Olmoe", SHAPE | {
        "num_hidden_layers": 2, "num_experts": 6, "intermediate_size": 16, "norm_topk_prob": False,
        "rope_parameters": ROPE}),
    "families/mixtral": ("Mixtral", SHAPE | {
        "head_dim": 12, "num_hidden_layers": 2, "num_local_experts": 6, "intermediate_size": 16,
        "sliding_window": 9, "tie_word_embeddings": True, "rope_parameters": ROPE}),
    "families/qwen3": ("Qwen3", DENSE | {
        "head_dim": 12, "tie_word_embeddings": True, "rope_parameters": ROPE | {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}}),
    "qwen3_next_partial": ("Qwen3Next", NEXT | {
        "num_hidden_layers": 2, "intermediate_size": 16, "shared_expert_intermediate_size": 1,
        "mlp_only_layers": [], "layer_types": ["full_attention"] * 2, "head_dim": 16,
        "rope_parameters": ROPE | {"partial_rotary_factor": 0.25}, "partial_rotary_factor": 0.25}),
    "families/qwen2_moe": ("Qwen2Moe", SHAPE | {
        "num_hidden_layers": 3, "num_experts": 6, "moe_intermediate_size": 16, "intermediate_size": 28,
        "shared_expert_intermediate_size": 12, "mlp_only_layers": [0], "norm_topk_prob": False,
        "rope_parameters": ROPE}),
    "families/glm4_moe": ("Glm4Moe", SHAPE | {
        "head_dim": 12, "num_hidden_layers": 3, "n_routed_experts": 6, "moe_intermediate_size": 16,
        "intermediate_size": 28, "n_shared_experts": 2, "first_k_dense_replace": 1, "use_qk_norm": True,
        "attention_bias": True, "routed_scaling_factor": 1.5,
        "rope_parameters": ROPE | {"partial_rotary_factor": 0.5}}),
    "families/minimax_m2": ("MiniMaxM2", SHAPE | {
        "head_dim": 16, "num_hidden_layers": 2, "num_local_experts": 6, "intermediate_size": 16,
        "rotary_dim": 4, "rope_parameters": ROPE}),
    "families/granitemoe": ("GraniteMoe", SHAPE | {
        "num_hidden_layers": 2, "num_local_experts": 6, "intermediate_size": 16, "tie_word_embeddings": True,
        "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "attention_multiplier": 0.2,
        "logits_scaling": 2.5, "rope_parameters": ROPE}),
    "families/granitemoeshared": ("GraniteMoeShared", SHAPE | {
        "num_hidden_layers": 2, "num_local_experts": 6, "intermediate_size": 16,
        "shared_intermediate_size": 12, "embedding_multiplier": 1.5, "residual_multiplier": 0.7,
        "attention_multiplier": 0.3, "logits_scaling": 0.8, "rope_parameters": ROPE}),
    "families/llama": ("Llama", DENSE | {"rope_parameters": ROPE | {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16}}),
}


def our_name(theirs):
    """The tensor of ours that holds a parameter of transformers'."""
    name = theirs.removeprefix("model.")
    for old, new in (
            ("embed_tokens", "embedding"), ("input_layernorm", "attention_norm"),
            ("self_attn.o_proj", "attention.out"),
            ("self_attn.q_norm", "attention.q_norm"), ("self_attn.k_norm", "attention.k_norm"),
            ("self_attn.q_proj", "attention.qkvg"), ("self_attn.k_proj", "attention.qkvg"),
            ("self_attn.v_proj", "attention.qkvg"), ("mlp.experts.gate_up_proj", "moe.gate_up.weight"),
            ("mlp.experts.down_proj", "moe.down.weight"), ("mlp.gate.", "moe.router."),
            ("mlp.shared_expert_gate", "moe.shared_gate"), ("mlp.shared_experts.", "moe.shared."),
            ("mlp.shared_expert.", "moe.shared."), ("moe.shared.gate_proj", "moe.shared.gate_up"),
            ("moe.shared.up_proj", "moe.shared.gate_up"), ("moe.shared.down_proj", "moe.shared.down"),
            ("block_sparse_moe.experts.gate_up_proj", "moe.gate_up.weight"),
            ("block_sparse_moe.experts.down_proj", "moe.down.weight"),
            ("block_sparse_moe.router.", "moe.router."),
            ("shared_mlp.input_linear", "moe.shared.gate_up"),
            ("shared_mlp.output_linear", "moe.shared.down"),
            ("mlp.gate_proj", "dense.gate_up"), ("mlp.up_proj", "dense.gate_up"),
            ("mlp.down_proj", "dense.down")):
        name = name.replace(old, new)
    return "final_norm.weight" if name == "norm.weight" else name


def gradient_norms(model, ids, dense_layers):
    """Of the mean loss of the next token, by tensors of ours."""
    loss = model(ids, labels=ids).loss
    loss.backward()
    squares = {}
    for theirs, weight in model.named_parameters():
        name = our_name(theirs)
        layer = int(name.split(".")[1]) if name.startswith("layers.") else None
        name = name.replace("post_attention_layernorm", "dense_norm" if layer in dense_layers else "moe_norm")
        squares[name] = squares.get(name, 0.0) + weight.grad.double().square().sum()
    norms = {f"gradient.{name}": square.sqrt().float() for name, square in squares.items()}
    return {"loss": loss.detach().float()} | norms


def make(name):
    torch.manual_seed(1)
    kind, settings = MODELS[name]
    model_class = getattr(transformers, kind + "ForCausalLM")
    config = getattr(transformers, kind + "Config")(architectures=[kind + "ForCausalLM"], **settings)
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter, weight in model.named_parameters():
            weight.copy_(0.3 * torch.randn_like(weight))
            if "shared_expert" in parameter and settings.get("shared_expert_intermediate_size") == 1:
                weight.zero_()
            if "norm" in parameter and name.startswith("families/"):
                weight += 1
        for buffer, bias in model.named_buffers():
            if "e_score_correction_bias" in buffer:
                bias.copy_(0.2 * torch.randn_like(bias))
    ids = torch.randint(1, 96, (1, 24))
    with torch.no_grad():
        logits = model(ids).logits[0]
        greedy = model.generate(ids[:, :8], max_new_tokens=16, do_sample=False, eos_token_id=None)[0, 8:]
    expected = {"ids": ids[0].int(), "logits": logits.contiguous(), "greedy": greedy.int()}
    if name.startswith("families/"):
        all_dense = range(0 if "num_experts_per_tok" in settings else config.num_hidden_layers)
        first = range(settings.get("first_k_dense_replace", 0))
        expected |= gradient_norms(model, ids, settings.get("mlp_only_layers", first or all_dense))
    model.save_pretrained(FOLDER / name)
    (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
    save_file(expected, FOLDER / name / "expected.st")
    for file in (FOLDER / name).iterdir():
        file.chmod(0o644)
    size = sum(file.stat().st_size for file in (FOLDER / name).iterdir())
    print(f"{name}: {size:,} bytes; logits {logits.min():.3f} to {logits.max():.3f}, "
          f"greedy {greedy.tolist()}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=MODELS)
    only = parser.parse_args().only
    for name in [only] if only else MODELS:
        make(name)


if __name__ == "__main__":
    main()
