#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds exports of `moe` against llama.cpp. Tiny models with random weights of each family are saved by
transformers, imported and exported again; llama.cpp's convert_hf_to_gguf.py makes a GGUF file of each folder,
and llama.cpp computes logits from ours. Then the run is trained for two steps, exported, converted and
computed again: that model has no original. Models of our own are held against what transformers saves of
their export. Prints a row for each; exits with 1 if anything differs.

usage: tools/check_gguf.py MOE LLAMA_CPP [--only NAME] [--keep FOLDER]
       tools/check_gguf.py MOE LLAMA_CPP --for RUN [--family NAME] [--tokens 60] [--keep FOLDER]

LLAMA_CPP is the folder of llama.cpp's source, where convert_hf_to_gguf.py is. Needs torch, transformers and
llama_cpp (llama-cpp-python, whose source package has llama.cpp's in vendor/llama.cpp). Needs no network.

Of each model: how many tensors and how many settings, vocabulary included, both files have with the same
bytes (tags of our model card left out); how many texts llama.cpp cuts into the same ids as moe; its
logits beside those of transformers and of moe (norm of the difference over the norm, the worst text).

--for RUN looks at `moe export RUN --for llama.cpp` instead, as a user would: converted without any option but
the type (where the converter does not know the tokenizer, as the model card says), and run with llama.cpp's
defaults. Held: ten greedy texts in f32 and f16 against those of `moe generate`; the bytes of an import; the
logits of transformers against those of an export without --for.
Told, besides: how many ids that are no tokens a sampler draws.
"""
import argparse
import itertools
import json
import os
import re
import runpy
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",  # for the sake of fork
               "GGML_NO_BACKTRACE": "1"}

import llama_cpp
import numpy
import torch
import transformers
from safetensors.torch import load_file
from transformers.utils import logging

from check_families import CASES, OLMOE, QWEN, QWEN2, TEXTS, make, moe, save, use_published_keys

ROOT = Path(__file__).resolve().parent.parent
BOUND = 1e-4
HEADS = "olmoe, as many heads of keys"  # as the published ones have
CASES[HEADS] = ("Olmoe", OLMOE | {"num_key_value_heads": 4}, "float32", None)
CASES[HEADS + ", renormalisation"] = (
    "Olmoe", OLMOE | {"num_key_value_heads": 4, "norm_topk_prob": True}, "float32", None)
CASES[HEADS + ", another epsilon"] = (
    "Olmoe", OLMOE | {"num_key_value_heads": 4, "rms_norm_eps": 1e-3}, "float32", None)
STRETCHED = {"rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 32}
CASES["qwen3_moe, llama3"] = ("Qwen3Moe", QWEN | {"rope_parameters": STRETCHED | {
    "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}}, "float32", None)
CASES["qwen3_moe, yarn with a factor of its own"] = ("Qwen3Moe", QWEN | {"rope_parameters": STRETCHED | {
    "rope_type": "yarn", "attention_factor": 1.5}}, "float32", None)
CASES["qwen2_moe, renormalisation"] = ("Qwen2Moe", QWEN2 | {"norm_topk_prob": True}, "float32", None)
NAMES = ["qwen3_moe", "qwen3_moe, tied, theta 1e6", "qwen3_moe, yarn", "qwen3_moe, fused experts",
         "qwen3_moe, bf16", "qwen2_moe", HEADS, "mixtral", "glm4_moe",
         "glm4_moe, as Air: no QK-norm, scale 1, two shared", "minimax_m2",
         "minimax_m2, 7 heads of 20, one of keys", "granitemoe", "granitemoeshared", "qwen3, untied",
         "qwen3, tied, bf16", "llama", "llama, llama3", "llama, linear"]
# What llama.cpp refuses or computes otherwise, of theirs as of ours: the row says so, and is good while both
# files are equal.
LIMITS = ["qwen3_next, partial rotary", "own", "own, shared expert, a dense layer", "olmoe",
          HEADS + ", renormalisation", "qwen3_moe, no renormalisation", "qwen3_moe, dense layers first",
          "qwen2_moe, renormalisation", "qwen2_moe, 7 heads of 10, one of keys",
          "mixtral, window", HEADS + ", another epsilon", "qwen3_moe, llama3",
          "qwen3_moe, yarn with a factor of its own"]
# Our own: settings, and the family of the export.
OWN = {"own": ([], "qwen3_next"),
       "own, shared expert, a dense layer": (["model.shared_expert_dim=40", "model.first_dense_layers=1"],
                                             "qwen3_next"),
       "own, no gate": (["model.attention_gate=false"], "qwen3_moe"),
       "own, as MiniMax": (["model.attention_gate=false", "model.qk_norm=projection",
                            "model.tie_embeddings=false", "model.router_bias=true",
                            "model.router_score=sigmoid"], "minimax_m2")}
PROMPTS = [*TEXTS, "A lantern is", "The"]  # of greedy texts
# What the converter needs to be told, of an original as of an export. A Qwen3-Next without a layer that
# predicts further tokens fails in it otherwise.
FLAGS = {"qwen3_next": ["--no-mtp"]}
# Tokens that the converter looks for by name.
TOKENS = {"Glm4Moe": ["[gMASK]", "<sop>", "<|user|>", "<|observation|>"]}


def write_tokenizer(folder, added):
    """GPT-2's, as transformers saves it: the converter knows a pre-tokenizer by a hash of what it does."""
    lines = (ROOT / "assets/gpt2_merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    words = [*map(chr, plain), *map(chr, range(256, 512 - len(plain))), *map("".join, merges),
             "<|endoftext|>"]
    tokenizer = transformers.GPT2Tokenizer(vocab={word: i for i, word in enumerate(words)}, merges=merges)
    tokenizer.add_special_tokens({"additional_special_tokens": added} if added else {})
    tokenizer.save_pretrained(folder)


def apart_from_us(work, function, *arguments):
    """Calls it in a process of its own, which has the imports already: llama.cpp ends the process where it
    gives up. Returns the last line that says error or assert, less the place of its source; or nothing."""
    said = work / "said.txt"
    child = os.fork()
    if child == 0:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        code = 1
        try:
            function(*arguments)
            code = 0
        except SystemExit as end:
            code = int(bool(end.code))
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    if os.waitpid(child, 0)[1] == 0:
        return ""
    words = [line for line in said.read_text().splitlines() if "rror" in line or "ASSERT" in line]
    return (words or ["ended without a word"])[-1].rpartition("/")[2]


def convert(source, folder, file, flags, kind="f32", pattern=""):
    """pattern: llama.cpp's word for how the tokenizer cuts text, where the converter does not know it."""
    sys.argv = [*map(str, ["convert_hf_to_gguf.py", "--outtype", kind, "--outfile", file, *flags, folder])]
    sys.path.insert(0, str(source))
    if pattern:
        from conversion.base import TextModel
        TextModel.get_vocab_base_pre = lambda self, tokenizer: pattern
    runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")


def same_parts(options, one, other):
    """Tensors and settings of two files that are equal, and how many there are in all."""
    sys.path.insert(1, str(options.llama_cpp / "gguf-py"))
    from gguf import GGUFReader
    parts = [{}, {}], [{}, {}]
    for i, file in enumerate((one, other)):
        reader = GGUFReader(file)
        parts[0][i] = {tensor.name: (tensor.tensor_type, tensor.shape.tolist(), tensor.data.tobytes())
                       for tensor in reader.tensors}
        parts[1][i] = {name: field.contents() for name, field in reader.fields.items()
                       if name not in ("general.tags", "GGUF.kv_count")}
    counts = [(sum(a.get(name) == value for name, value in b.items()), len(a.keys() | b.keys()))
              for a, b in parts]
    return [f"{same} of {total}" for same, total in counts], all(same == total for same, total in counts)


def compute(file, prompts, out):
    """Logits of prompts, each a text and its ids, and how many llama.cpp cuts into these."""
    model = llama_cpp.Llama(model_path=str(file), n_ctx=512, n_threads=1, logits_all=True, type_k=0,
                            type_v=0, verbose=True)  # type 0: cached keys and values in f32
    rows, same = [], 0
    for text, ids in prompts:
        same += model.tokenize(text.encode(), add_bos=False) == ids[1:]
        model.reset()
        model.eval(ids)
        rows.append(model.scores[:len(ids)].copy())
    numpy.savez(out, same=same, **{str(i): row for i, row in enumerate(rows)})


def apart(one, other):
    return ((one - other).norm() / other.norm()).item()


def beside(program, run, folder, file, work, words):
    """Logits of llama.cpp against transformers' and moe's, the worst text of each; texts with the same
    ids. Or what llama.cpp said last."""
    prompts = [word for text in TEXTS for word in ("--verify-prompt", text)]
    shutil.rmtree(work / "logits", ignore_errors=True)
    moe(program, "export", run, work / "logits", "--dtype", "f32", "--verify", *prompts, "--logits",
        work / "logits.st", *words)
    ours = load_file(work / "logits.st")
    ids = [ours[f"ids.{i}"].tolist() for i in range(len(TEXTS))]
    why = apart_from_us(work, compute, file, list(zip(TEXTS, ids)), work / "logits.npz")
    if why:
        return why
    computed = numpy.load(work / "logits.npz")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    worst = [0.0, 0.0]
    for i, row in enumerate(ids):
        with torch.no_grad():
            expected = model(torch.tensor([row])).logits[0]
        logits = torch.from_numpy(computed[str(i)])
        worst = [max(worst[0], apart(logits, expected)), max(worst[1], apart(logits, ours[f"logits.{i}"]))]
    return worst, int(computed["same"])


def train(program, run, steps):
    moe(program, "train", "--resume", run, f"data.source={ROOT / 'docs/interop.md'}",
        "data.document_split=file", f"training.max_steps={steps}", "training.warmup_steps=0",
        "training.learning_rate=0.01", "training.eval_every=0", "training.batch_size=1",
        "model.max_seq_len=64", "training.threads=1")


def make_own(program, name, work, folders):
    """A run of a few steps, and what transformers saves of its export."""
    settings, family = OWN[name]
    moe(program, "train", "--config", ROOT / "configs/quickstart.yaml", f"training.output_dir={work}",
        "training.run_name=run", "training.max_steps=2", "training.warmup_steps=0", "training.eval_every=0",
        "training.sample_every=0", f"data.source={ROOT / 'docs/interop.md'}", "data.document_split=file",
        "model.d_model=32", "model.expert_intermediate_dim=24", "model.max_seq_len=64", "training.threads=1",
        "training.mixed_precision=no", "data.tokenizer=gpt2", "model.vocab_size=50304", *settings)
    moe(program, "export", work / "run", folders["ours"], "--family", family)
    transformers.AutoModelForCausalLM.from_pretrained(
        folders["ours"], dtype=torch.float32).save_pretrained(folders["theirs"])
    transformers.AutoTokenizer.from_pretrained(folders["ours"]).save_pretrained(folders["theirs"])
    return family, ["--family", family]


def make_of_family(program, name, work, folders):
    kind, settings, dtype, change = CASES[name]
    save(make(kind, settings, dtype), folders["theirs"], dtype, change)
    use_published_keys(folders["theirs"])
    write_tokenizer(folders["theirs"], TOKENS.get(kind, []))
    moe(program, "import", folders["theirs"], "--output", work / "run")
    moe(program, "export", work / "run", folders["ours"])
    return name.split(",")[0], []


def check(options, name, work):
    """Cells of the row, and whether they are good."""
    folders = {whose: work / whose / "model" for whose in ("theirs", "ours", "trained")}
    family, words = (make_own if name in OWN else make_of_family)(options.moe, name, work, folders)
    flags = FLAGS.get(family, [])
    files = {whose: work / f"{whose}.gguf" for whose in folders}
    failed = {whose: apart_from_us(work, convert, options.llama_cpp, folders[whose], files[whose], flags)
              for whose in ("theirs", "ours")}
    if any(failed.values()):
        cells = [f"converter: {failed['ours'] or 'good'}; theirs: {failed['theirs'] or 'good'}"]
        return cells, name in LIMITS and all(failed.values())
    cells, same = same_parts(options, files["theirs"], files["ours"])
    found = beside(options.moe, work / "run", folders["ours"], files["ours"], work, words)
    if isinstance(found, str):
        return [*cells, found], same and name in LIMITS
    (theirs, ours), ids = found
    cells += [f"{ids} of {len(TEXTS)}", f"{theirs:.1e}", f"{ours:.1e}"]
    if name in LIMITS:
        return [*cells, "-"], same
    train(options.moe, work / "run", 4)
    moe(options.moe, "export", work / "run", folders["trained"], "--dtype", "f32", *words)
    why = apart_from_us(work, convert, options.llama_cpp, folders["trained"], files["trained"], flags)
    found = why or beside(options.moe, work / "run", folders["trained"], files["trained"], work, words)
    if isinstance(found, str):
        return [*cells, found], False
    trained = max(found[0])
    good = same and ids == len(TEXTS) and max(theirs, ours, trained) < BOUND
    return [*cells, f"{trained:.1e}"], good


def greedy(file, prompts, tokens, out):
    """The ids that llama.cpp writes behind each prompt, as it comes."""
    model = llama_cpp.Llama(model_path=str(file), n_ctx=256, n_threads=1, verbose=True)
    end = model.token_eos()
    texts = []
    for prompt in prompts:
        ids = model.tokenize(("<|endoftext|>" + prompt).encode(), add_bos=False, special=True)
        more = itertools.islice(model.generate(ids, temp=0.0, reset=True), tokens)
        texts.append([ids, [*itertools.takewhile(lambda token: token != end, more)]])
    out.write_text(json.dumps(texts))


def draw(file, vocabulary, tokens, out):
    """Of so many tokens: how many are none in the vocabulary, by llama.cpp's samplers as they are, by plain
    sampling, and by plain sampling with these tokens forbidden."""
    def forbid(_, scores):
        scores[vocabulary:] = -numpy.inf
        return scores

    found = []
    for plain, forbidden in ((False, False), (True, False), (True, True)):
        model = llama_cpp.Llama(model_path=str(file), n_ctx=256, n_threads=1, seed=1, verbose=True)
        how = {"temp": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0} if plain else {"temp": 0.8}
        if forbidden:
            how["logits_processor"] = llama_cpp.LogitsProcessorList([forbid])
        count = 0
        for _ in range(tokens // 200):
            ids = model.tokenize(b"<|endoftext|>", add_bos=False, special=True)
            count += sum(token >= vocabulary
                         for token in itertools.islice(model.generate(ids, reset=True, **how), 200))
        found.append(count)
    out.write_text(json.dumps(found))


def same_logits(one, other):
    """Of two folders, in transformers: the largest difference, and what it misses or does not know."""
    models, notes = [], []
    for folder in (one, other):
        model, note = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        models.append(model.eval())
        notes += [name for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
                  for name in note[kind]]
    tokenizer = transformers.AutoTokenizer.from_pretrained(one)
    worst = 0.0
    for text in PROMPTS:
        ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer(text)["input_ids"]]])
        with torch.no_grad():
            a, b = (model(ids).logits for model in models)
        worst = max(worst, (a - b).abs().max().item())
    return worst, notes


def check_for(options, work):
    """An export for llama.cpp of a run, as its user takes it. Returns how many checks failed."""
    program, run = options.moe, options.run
    family = ["--family", options.family] if options.family else []
    failed = 0

    def say(good, what):
        nonlocal failed
        failed += not good
        print(("  ok    " if good else "  WRONG ") + what, flush=True)

    moe(program, "export", run, work / "for", "--for", "llama.cpp", "--verify", *family)
    moe(program, "export", run, work / "plain", *family)
    moe(program, "import", work / "for", "--output", work / "back", "--verify")
    one, other = (sorted(folder.glob("checkpoints/step-*"))[-1] / "model.safetensors"
                  for folder in (run, work / "back"))
    say(one.read_bytes() == other.read_bytes(), "import of the export: the same bytes")
    worst, notes = same_logits(work / "for", work / "plain")
    say(worst == 0, f"transformers: largest difference of a logit from the export without --for {worst:g}")
    say(not notes, f"transformers: missing, unexpected, misshapen {notes or 'none'}")
    asked = [word for text in PROMPTS for word in ("--prompt", text)]
    rows = [json.loads(line) for line in moe(program, "generate", run, *asked, "--temperature", 0, "--json",
                                             "--max-new-tokens", options.tokens).splitlines()]
    card = (work / "for/README.md").read_text()
    pattern = (re.findall(r'lambda self, tokenizer: "(.+)"', card) or [""])[0]
    print(f"  converted as it comes, {f'with {pattern} for a pattern' if pattern else 'without a word'}")
    for kind in ("f32", "f16"):
        file = work / f"{kind}.gguf"
        why = apart_from_us(work, convert, options.llama_cpp, work / "for", file, [], kind, pattern)
        why = why or apart_from_us(work, greedy, file, PROMPTS, options.tokens, work / "greedy.json")
        if why:
            say(False, f"{kind}: {why}")
            continue
        texts = json.loads((work / "greedy.json").read_text())
        same = sum([row["prompt_ids"], row["ids"]] == text for row, text in zip(rows, texts))
        say(same == len(rows),
            f"{kind}: {same} of {len(rows)} greedy texts of {options.tokens} tokens as moe's")
    padding = json.loads((work / "for/generation_config.json").read_text()).get("suppress_tokens")
    if not padding:
        print(f"  each row of the vocabulary is a token\n\n{failed} wrong")
        return failed
    why = apart_from_us(work, draw, work / "f32.gguf", padding[0], 2000, work / "draw.json")
    found = why or json.loads((work / "draw.json").read_text())
    say(not why and found[2] == 0,
        f"of 2,000 tokens none of the vocabulary, by default, by plain sampling, forbidden: {found}")
    print(f"\n{failed} wrong")
    return failed


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe")
    parser.add_argument("llama_cpp", type=Path)
    parser.add_argument("--only", default="", help="models whose name begins so")
    parser.add_argument("--keep", type=Path, help="a folder for what is made, which is not removed")
    parser.add_argument("--for", dest="run", type=Path, help="a run, to be exported with --for llama.cpp")
    parser.add_argument("--family", default="", help="of that export")
    parser.add_argument("--tokens", type=int, default=60, help="of a greedy text of it")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}, llama-cpp-python {llama_cpp.__version__}\n")
    if options.run:
        with tempfile.TemporaryDirectory() as folder:
            work = options.keep or Path(folder)
            work.mkdir(parents=True, exist_ok=True)
            return 1 if check_for(options, work) else 0
    print("| model | tensors | settings | ids | beside transformers | beside moe | trained, both |")
    print("|---|---|---|---|---|---|---|")
    wrong = 0
    for name in (name for name in dict.fromkeys([*NAMES, *OWN, *LIMITS]) if name.startswith(options.only)):
        work = options.keep / name.replace(" ", "_") if options.keep else Path(tempfile.mkdtemp())
        work.mkdir(parents=True, exist_ok=True)
        cells, good = check(options, name, work)
        wrong += not good
        print(f"| {name} | {' | '.join(cells)} |{'' if good else ' WRONG'}", flush=True)
        if not options.keep:
            shutil.rmtree(work)
    print(f"\n{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
