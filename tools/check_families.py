#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the families of docs/interop.md against transformers (5.24 or newer): tiny models with random weights
of each, in the ways that their settings allow, are saved by save_pretrained, imported, compared and exported
again. Prints a row for each; exits with 1 if anything differs.

usage: tools/check_families.py MOE [--only NAME] [--tokens 100]

Of each model: logits and loss of some texts (norm of the difference over the norm; difference), greedy texts
with our cache and with theirs, the exported tensors (names, shapes, types, bytes) and config.json (its
bytes), and what transformers misses when it loads the export. Import runs with --verify. Needs no network.
"""
import argparse
import copy
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.utils import logging

TEXTS = ["Lantern", "The river ran slowly past the mill", "3.14159 and 2.71828", "To boil water, first",
         "def main():\n    return", "In the year 1848", "An old word for", "don't won't can't"]
VOCABULARY, ROWS = 50257, 50304  # GPT-2's, and rows of the embedding
SHAPE = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 3,
         "num_experts_per_tok": 3, "max_position_embeddings": 128, "vocab_size": ROWS, "bos_token_id": 50256,
         "eos_token_id": 50256}
QWEN = SHAPE | {"head_dim": 16, "num_experts": 8, "moe_intermediate_size": 24, "intermediate_size": 48,
                "norm_topk_prob": True}
OLMOE = SHAPE | {"num_experts": 8, "intermediate_size": 24}
DENSE = {name: value for name, value in SHAPE.items() if name != "num_experts_per_tok"} | {
    "intermediate_size": 72}
MIXTRAL = SHAPE | {"num_local_experts": 8, "intermediate_size": 24}
QWEN2 = SHAPE | {"num_experts": 8, "moe_intermediate_size": 24, "intermediate_size": 48,
                 "shared_expert_intermediate_size": 40}
GLM = SHAPE | {"head_dim": 16, "n_routed_experts": 8, "moe_intermediate_size": 24, "intermediate_size": 48,
               "n_shared_experts": 1, "first_k_dense_replace": 1, "attention_bias": True,
               "use_qk_norm": True, "routed_scaling_factor": 1.7}
MINIMAX = SHAPE | {"head_dim": 16, "num_local_experts": 8, "intermediate_size": 24, "rotary_dim": 8}
GRANITE = SHAPE | {"num_local_experts": 8, "intermediate_size": 24, "embedding_multiplier": 12.0,
                   "residual_multiplier": 0.22, "attention_multiplier": 0.1, "logits_scaling": 1.6}
NEXT = QWEN | {"shared_expert_intermediate_size": 40, "layer_types": ["full_attention"] * 3,
               "rope_parameters": {"rope_type": "default", "rope_theta": 1e4,
                                   "partial_rotary_factor": 0.25}}
ODD = {"num_attention_heads": 7, "num_key_value_heads": 1}
# Name: class, settings, type, and how the files are changed.
CASES = {
    "qwen3_moe": ("Qwen3Moe", QWEN, "float32", None),
    "qwen3_moe, no renormalisation": ("Qwen3Moe", QWEN | {"norm_topk_prob": False}, "float32", None),
    "qwen3_moe, tied, theta 1e6": (
        "Qwen3Moe", QWEN | {"tie_word_embeddings": True,
                            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, "float32", None),
    "qwen3_moe, dense layers first": ("Qwen3Moe", QWEN | {"mlp_only_layers": [0, 1]}, "float32", None),
    "qwen3_moe, shards": ("Qwen3Moe", QWEN, "float32", "shards"),
    "qwen3_moe, fused experts": ("Qwen3Moe", QWEN, "float32", "fused"),
    "qwen3_moe, old keys": ("Qwen3Moe", QWEN, "float32", "old keys"),
    "qwen3_moe, yarn": ("Qwen3Moe", QWEN | {"rope_parameters": {
        "rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0,
        "original_max_position_embeddings": 32}}, "float32", None),
    "qwen3_moe, bf16": ("Qwen3Moe", QWEN, "bfloat16", None),
    "olmoe": ("Olmoe", OLMOE, "float32", None),
    "olmoe, renormalisation": ("Olmoe", OLMOE | {"norm_topk_prob": True}, "float32", None),
    "olmoe, one key head": ("Olmoe", OLMOE | {"num_key_value_heads": 1}, "float32", None),
    "olmoe, bf16": ("Olmoe", OLMOE, "bfloat16", None),
    "mixtral": ("Mixtral", MIXTRAL, "float32", None),
    "mixtral, own head width": ("Mixtral", MIXTRAL | {"head_dim": 12}, "float32", None),
    "mixtral, window": ("Mixtral", MIXTRAL | {"sliding_window": 9}, "float32", None),
    "mixtral, fused experts": ("Mixtral", MIXTRAL, "float32", "fused"),
    "mixtral, bf16": ("Mixtral", MIXTRAL, "bfloat16", None),
    "qwen3, untied": ("Qwen3", DENSE | {"head_dim": 16}, "float32", None),
    "qwen3, tied, bf16": ("Qwen3", DENSE | {"head_dim": 16, "tie_word_embeddings": True}, "bfloat16", None),
    "llama": ("Llama", DENSE, "float32", None),
    "llama, linear": ("Llama", DENSE | {"rope_parameters": {
        "rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, "float32", None),
    "llama, llama3": ("Llama", DENSE | {"rope_parameters": {
        "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 16}}, "float32", None),
    "llama, bf16": ("Llama", DENSE, "bfloat16", None),
    "qwen3_next, partial rotary": ("Qwen3Next", NEXT, "float32", None),
    "qwen2_moe": ("Qwen2Moe", QWEN2, "float32", None),
    "qwen2_moe, no biases, renormalisation, dense layers": ("Qwen2Moe", QWEN2 | {
        "qkv_bias": False, "norm_topk_prob": True, "mlp_only_layers": [0, 1]}, "float32", None),
    "qwen2_moe, 7 heads of 10, one of keys": ("Qwen2Moe", QWEN2 | ODD | {"head_dim": 10}, "float32", None),
    "qwen2_moe, shards": ("Qwen2Moe", QWEN2, "float32", "shards"),
    "qwen2_moe, fused experts": ("Qwen2Moe", QWEN2, "float32", "fused"),
    "qwen2_moe, bf16": ("Qwen2Moe", QWEN2, "bfloat16", None),
    "glm4_moe": ("Glm4Moe", GLM, "float32", None),
    "glm4_moe, as Air: no QK-norm, scale 1, two shared": ("Glm4Moe", GLM | {
        "use_qk_norm": False, "routed_scaling_factor": 1.0, "n_shared_experts": 2}, "float32", None),
    "glm4_moe, no biases, no renormalisation, no dense layers": ("Glm4Moe", GLM | {
        "attention_bias": False, "norm_topk_prob": False, "first_k_dense_replace": 0}, "float32", None),
    "glm4_moe, 7 heads of 20, one of keys": ("Glm4Moe", GLM | ODD | {"head_dim": 20}, "float32", None),
    "glm4_moe, shards": ("Glm4Moe", GLM, "float32", "shards"),
    "glm4_moe, fused experts": ("Glm4Moe", GLM, "float32", "fused"),
    "glm4_moe, prediction layer": ("Glm4Moe", GLM, "float32", "prediction layer"),
    "glm4_moe, bf16": ("Glm4Moe", GLM, "bfloat16", None),
    "minimax_m2": ("MiniMaxM2", MINIMAX, "float32", None),
    "minimax_m2, all of a head turns": ("MiniMaxM2", MINIMAX | {"rotary_dim": 16}, "float32", None),
    "minimax_m2, 7 heads of 20, one of keys": (
        "MiniMaxM2", MINIMAX | ODD | {"head_dim": 20, "rotary_dim": 10}, "float32", None),
    "minimax_m2, shards": ("MiniMaxM2", MINIMAX, "float32", "shards"),
    "minimax_m2, fused experts": ("MiniMaxM2", MINIMAX, "float32", "fused"),
    "minimax_m2, bf16": ("MiniMaxM2", MINIMAX, "bfloat16", None),
    "granitemoe": ("GraniteMoe", GRANITE, "float32", None),
    "granitemoe, tied, multipliers of the class": ("GraniteMoe", SHAPE | {
        "num_local_experts": 8, "intermediate_size": 24, "tie_word_embeddings": True}, "float32", None),
    "granitemoe, 5 heads of 8, one of keys": ("GraniteMoe", GRANITE | {
        "hidden_size": 40, "num_attention_heads": 5, "num_key_value_heads": 1}, "float32", None),
    "granitemoe, shards": ("GraniteMoe", GRANITE, "float32", "shards"),
    "granitemoe, bf16": ("GraniteMoe", GRANITE, "bfloat16", None),
    "granitemoeshared": ("GraniteMoeShared", GRANITE | {"shared_intermediate_size": 40}, "float32", None),
    "granitemoeshared, none, bf16": ("GraniteMoeShared", GRANITE, "bfloat16", None),
}


def moe(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


def make(kind, settings, dtype):
    """A model in f32 with weights of the type, large enough that attention and routing matter; norms around
    1."""
    torch.manual_seed(7)
    config = getattr(transformers, kind + "Config")(**settings)
    config._attn_implementation = "eager"
    model = getattr(transformers, kind + "ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            norm = "norm" in name
            value = (0.1 if norm else 0.15) * torch.randn_like(weight) + norm
            if norm and kind == "Qwen3Next":  # less one, and short: we keep 1 + weight without rounding
                value = ((value - 1) * 2**18).round() / 2**18
            weight.copy_(value.to(getattr(torch, dtype)))
        for name, bias in model.named_buffers():
            if "e_score_correction_bias" in name:
                bias.copy_(0.1 * torch.randn_like(bias))
    return model


def fuse(folder):
    """Experts as transformers 5 has them in memory: [E, 2 F, D], gate_proj before up_proj."""
    tensors, experts = {}, {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if ".experts." not in name:
            tensors[name] = tensor
            continue
        stem, rest = name.split(".experts.")
        number, part, _ = rest.split(".")
        part = {"w1": "gate_proj", "w3": "up_proj", "w2": "down_proj"}.get(part, part)
        experts.setdefault(stem.replace("block_sparse_moe", "mlp"), {})[(int(number), part)] = tensor
    for stem, parts in experts.items():
        count = 1 + max(number for number, _ in parts)
        both = [torch.cat([parts[e, "gate_proj"], parts[e, "up_proj"]]) for e in range(count)]
        tensors[f"{stem}.experts.gate_up_proj"] = torch.stack(both)
        tensors[f"{stem}.experts.down_proj"] = torch.stack([parts[e, "down_proj"] for e in range(count)])
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def use_old_keys(folder):
    """As transformers 4 wrote them."""
    config = json.loads((folder / "config.json").read_text())
    config["num_experts"] = config.pop("num_local_experts")
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config |= {"rope_scaling": None, "torch_dtype": config.pop("dtype"), "max_window_layers": 3,
               "sliding_window": None}
    (folder / "config.json").write_text(json.dumps(config))


def use_published_keys(folder):
    """MiniMax's files say what transformers knows without: llama.cpp and vLLM do not."""
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] == "minimax_m2":
        config |= {"scoring_func": "sigmoid", "use_routing_bias": True, "use_qk_norm": True,
                   "qk_norm_type": "per_layer"}
        (folder / "config.json").write_text(json.dumps(config, indent=2))


def add_prediction_layer(folder):
    """As published GLM files have one behind the last layer, which transformers leaves out, too."""
    tensors = load_file(folder / "model.safetensors")
    tensors |= {"model.layers.3.eh_proj.weight": torch.ones(32, 64),
                "model.layers.3.enorm.weight": torch.ones(32)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def rounded(model, dtype):
    """A copy: the rotary frequencies would be rounded with the rest. What the class keeps in f32 stays so,
    and biases of the choice, as in published files."""
    kept = [*(model._keep_in_fp32_modules_strict or []), "e_score_correction_bias"]
    exact = [(name, tensor.clone()) for name, tensor in [*model.named_parameters(), *model.named_buffers()]
             if any(part in name for part in kept)]
    model = copy.deepcopy(model).to(getattr(torch, dtype))
    for name, tensor in exact:
        module, _, last = name.rpartition(".")
        learnt = last in model.get_submodule(module)._parameters
        setattr(model.get_submodule(module), last, torch.nn.Parameter(tensor) if learnt else tensor)
    return model


def save(model, folder, dtype, change):
    rounded(model, dtype).save_pretrained(folder, max_shard_size="4MB" if change == "shards" else "5GB")
    if change == "shards":
        assert len(list(folder.glob("model-*.safetensors"))) > 1
    if change == "old keys":
        use_old_keys(folder)
    tensors = {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
    if change == "fused":
        fuse(folder)
    if change == "prediction layer":
        add_prediction_layer(folder)
    return tensors


def compare_logits(model, path):
    """The worst logits and the worst loss of a text."""
    ours, worst, loss = load_file(path), 0.0, 0.0
    for i in range(len(TEXTS)):
        ids, mine = ours[f"ids.{i}"].long(), ours[f"logits.{i}"]
        with torch.no_grad():
            theirs = model(ids[None]).logits[0].float()
        worst = max(worst, ((theirs - mine).norm() / theirs.norm()).item())
        entropy = lambda logits: torch.nn.functional.cross_entropy(logits[:-1].double(), ids[1:]).item()
        if len(ids) > 1:
            loss = max(loss, abs(entropy(theirs) - entropy(mine)))
    return worst, loss


def compare_greedy(program, model, run, tokens):
    """How many texts are equal to the last token."""
    lines = moe(program, "generate", run, "--temperature", "0", "--max-new-tokens", tokens, "--json",
                "--ignore-end-of-text", *[word for text in TEXTS for word in ("--prompt", text)]).splitlines()
    equal = 0
    for line in map(json.loads, lines):
        ids = torch.tensor([line["prompt_ids"]])
        with torch.no_grad():
            made = model.generate(ids, max_new_tokens=tokens, do_sample=False, eos_token_id=None,
                                  suppress_tokens=list(range(VOCABULARY - 1, ROWS)),
                                  attention_mask=torch.ones_like(ids))[0, ids.shape[1]:].tolist()
        if len(made) != tokens or len(line["ids"]) != tokens:
            sys.exit(f"greedy: {len(made)} and {len(line['ids'])} tokens, not {tokens}")
        equal += made == line["ids"]
    return equal


def compare_export(program, run, out, dtype, theirs):
    """How many tensors are the same in all, and what transformers misses or does not know."""
    moe(program, "export", run, out)
    ours = {}
    for file in out.glob("model*.safetensors"):
        ours |= load_file(file)
    same = sum(name in ours and ours[name].dtype == tensor.dtype and torch.equal(
        ours[name].view(torch.int16), tensor.view(torch.int16)) for name, tensor in theirs.items())
    _, info = transformers.AutoModelForCausalLM.from_pretrained(
        out, dtype=getattr(torch, dtype), output_loading_info=True)
    odd = sum(len(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return same, len(ours), odd


def check(program, name, tokens):
    kind, settings, dtype, change = CASES[name]
    work = Path(tempfile.mkdtemp())
    model = make(kind, settings, dtype)
    theirs = save(model, work / "theirs", dtype, change)
    moe(program, "import", work / "theirs", "--output", work / "run", "--verify")
    prompts = [word for text in TEXTS for word in ("--verify-prompt", text)]
    moe(program, "export", work / "run", work / "logits", "--dtype", "f32", "--verify", *prompts, "--logits",
        work / "logits.st")
    worst, loss = compare_logits(model, work / "logits.st")
    greedy = compare_greedy(program, model, work / "run", tokens)
    same, written, odd = compare_export(program, work / "run", work / "out", dtype, theirs)
    settings = [(work / folder / "config.json").read_bytes() for folder in ("theirs", "out")]
    shutil.rmtree(work)
    kept = same == written == len(theirs) and odd == 0 and settings[0] == settings[1]
    good = worst < 1e-6 and loss < 1e-6 and greedy == len(TEXTS) and kept
    print(f"| {name} | {worst:.1e} | {loss:.0e} | {greedy} of {len(TEXTS)} | {same} of {len(theirs)} | {odd} "
          f"|{'' if good else ' WRONG'}", flush=True)
    return good


def check_upcycled(program, name):
    """A dense model, through moe as a Mixture of Experts, in transformers: its logits are the dense one's."""
    kind, settings, dtype, _ = CASES[name]
    work = Path(tempfile.mkdtemp())
    dense = make(kind, settings, dtype)
    save(dense, work / "theirs", dtype, None)
    moe(program, "import", work / "theirs", "--output", work / "run")
    moe(program, "upcycle", work / "run", "--experts", 5, "--top-k", 2, "--output", work / "upcycled")
    moe(program, "export", work / "upcycled", work / "out", "--dtype", "f32")
    experts, info = transformers.AutoModelForCausalLM.from_pretrained(
        work / "out", dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    odd = sum(len(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.arange(1, 101)[None] * 97
    with torch.no_grad():
        theirs, upcycled = dense(ids).logits, experts(ids).logits
    apart = ((theirs - upcycled).norm() / theirs.norm()).item()
    shutil.rmtree(work)
    good = apart < 1e-6 and odd == 0
    print(f"| {name}, upcycled: {type(experts).__name__} | {apart:.1e} | - | - | - | {odd} "
          f"|{'' if good else ' WRONG'}", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe")
    parser.add_argument("--only", default="", help="models whose name begins so")
    parser.add_argument("--tokens", type=int, default=100)
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}; greedy: {options.tokens} tokens a text\n")
    print("| model | logits | loss | greedy texts | tensors exported as they came | missing, unknown |")
    print("|---|---|---|---|---|---|")
    names = [name for name in CASES if name.startswith(options.only)]
    wrong = [name for name in names if not check(options.moe, name, options.tokens)]
    wrong += [name for name in ("qwen3, untied", "llama, llama3")
              if name.startswith(options.only) and not check_upcycled(options.moe, name)]
    print(f"\n{len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
