#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds exports with a chat template against transformers (5 or newer), and against llama.cpp where that is
given: a tiny model is trained for some steps and exported with each template that is inside of moe. Prints a
row for each; exits with 1 if anything differs, with 77 where Python has no transformers or no torch.

usage: tools/check_chat.py MOE [LLAMA_CPP] [--steps 40] [--tokens 24] [--keep FOLDER]

Of each template: conversations that AutoTokenizer.apply_chat_template of the export turns into the ids that
`moe generate --messages` has; greedy answers that AutoModelForCausalLM.generate gives as moe does; the texts
of pipeline("text-generation"). Then again with a token of these answers as one more that ends them, in
generation_config.json, through `moe import`.

LLAMA_CPP is the folder of llama.cpp's source (and Python needs llama_cpp): its converter makes a file of the
export; held are the template and the ends of an answer in that file, the ids that llama.cpp cuts the rendered
text into, and its greedy answers. Needs no network.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import torch
    import transformers
except ImportError as missing:
    print(f"skipped: Python has no {missing.name}")
    sys.exit(77)

TEMPLATES = ["default", "chatml", "qwen3", "llama3", "tulu", "mistral"]
CONFIG = """
model: {d_model: 32, n_layers: 2, n_heads: 4, n_kv_heads: 2, num_experts: 4, expert_intermediate_dim: 32,
        max_seq_len: 256, attention_gate: false}
training: {batch_size: 2, warmup_steps: 4, learning_rate: 0.01, eval_every: 0, device: cpu,
           mixed_precision: "no"}
data: {document_split: line}
"""
CONVERSATIONS = [
    [{"role": "user", "content": "What is a lantern?"}],
    [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "What is a lamp?"}],
    [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "A model."},
     {"role": "user", "content": "Naïve café, 東京 🙂?\n\n  And  spaces "}],
    [{"role": "user", "content": ""}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One <|im_end|> typed."},
     {"role": "assistant", "content": "Two <|endoftext|>."}, {"role": "user", "content": "Three?"}],
]
failures = 0


def report(good, what):
    global failures
    failures += not good
    print(("  ok    " if good else "  WRONG ") + what, flush=True)


def moe(program, *words):
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(map(str, words))}\n{done.stderr}")
    return done.stdout


def make_run(program, work, steps):
    things = ["green", "a lantern of gold", "green"]
    lines = [f"The lamp number {i} is {things[i % 3]}, said the keeper. What is it?\n" for i in range(3000)]
    (work / "text.txt").write_text("".join(lines))
    (work / "config.yaml").write_text(CONFIG)
    moe(program, "train", "--config", work / "config.yaml", f"data.source={work}/text.txt",
        f"training.output_dir={work}", "training.run_name=run", f"training.max_steps={steps}")
    return work / "run"


def answers_of_moe(program, run, file, tokens, *settings):
    lines = moe(program, "generate", run, "--messages", file, "--temperature", "0", "--max-new-tokens",
                tokens, *settings).splitlines()
    return [json.loads(line) for line in lines]


def check_transformers(name, exported, ours, tokens):
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    model = transformers.AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32).eval()
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    ids, greedy, texts = 0, 0, 0
    for messages, answer in zip(CONVERSATIONS, ours):
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        ids += prompt == answer["prompt_ids"]
        batch = torch.tensor([answer["prompt_ids"]])
        with torch.no_grad():
            made = model.generate(batch, attention_mask=torch.ones_like(batch), do_sample=False,
                                  max_new_tokens=tokens)[0, batch.shape[1]:].tolist()
        ends = model.generation_config.eos_token_id
        if made and made[-1] in (ends if isinstance(ends, list) else [ends]):
            made.pop()
        greedy += made == answer["ids"]
        said = pipeline(messages, max_new_tokens=tokens, do_sample=False)[0]["generated_text"]
        texts += said[-1] == answer["messages"][-1]
    count = len(CONVERSATIONS)
    report(ids == greedy == texts == count,
           f"{name}: ids of {ids} of {count} conversations, {greedy} greedy answers, {texts} texts of the "
           "pipeline")
    return tokenizer


def check_ends(program, work, exported, file, ours, tokens):
    """A token that ends an answer where nothing but generation_config.json says so."""
    changed = work / "ends"
    shutil.copytree(exported, changed)
    config = json.loads((changed / "generation_config.json").read_text())
    longest = max((answer["ids"] for answer in ours), key=len)
    end = longest[len(longest) // 2]
    config["eos_token_id"].append(end)
    (changed / "generation_config.json").write_text(json.dumps(config))
    moe(program, "import", changed, "--output", work / "imported")
    shorter = answers_of_moe(program, work / "imported", file, tokens)
    report(all(end not in answer["ids"] for answer in shorter)
           and any(len(a["ids"]) < len(b["ids"]) for a, b in zip(shorter, ours)),
           f"token {end} ends answers of an imported model")
    check_transformers("the same in transformers", changed, shorter, tokens)


def answers_of_llama_cpp(llama_cpp, file, rendered, tokens):
    model = llama_cpp.Llama(model_path=str(file), n_ctx=512, n_threads=1, verbose=False)
    vocabulary = llama_cpp.llama_model_get_vocab(model._model.model)
    answers = []
    for text in rendered:
        ids = model.tokenize(text.encode(), add_bos=False, special=True)
        made = []
        for token in model.generate(ids, temp=0.0, reset=True):
            if llama_cpp.llama_vocab_is_eog(vocabulary, token) or len(made) == tokens:
                break
            made.append(token)
        answers.append((ids, made))
    return model, lambda token: llama_cpp.llama_vocab_is_eog(vocabulary, token), answers


def check_llama_cpp(name, source, work, exported, tokenizer, ours, tokens):
    import llama_cpp
    file = work / f"{name}.gguf"
    words = [source / "convert_hf_to_gguf.py", exported, "--outtype", "f32", "--outfile", file]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    if done.returncode != 0:
        return report(False, f"{name}, llama.cpp: {done.stderr.splitlines()[-1]}")
    rendered = [tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
                for messages in CONVERSATIONS]
    model, is_end, answers = answers_of_llama_cpp(llama_cpp, file, rendered, tokens)
    ends = json.loads((exported / "generation_config.json").read_text())["eos_token_id"]
    ends = ends if isinstance(ends, list) else [ends]
    template = model.metadata.get("tokenizer.chat_template") == (exported / "chat_template.jinja").read_text()
    ids = sum(ids == answer["prompt_ids"] for (ids, _), answer in zip(answers, ours))
    greedy = sum(made == answer["ids"] for (_, made), answer in zip(answers, ours))
    known, count = sum(map(is_end, ends)), len(CONVERSATIONS)
    report(template and ids == greedy == count and known == len(ends),
           f"{name}, llama.cpp: template {'the same' if template else 'another'}, {known} of {len(ends)} "
           f"ends, ids of {ids} of {count}, {greedy} greedy answers")
    return None


def check(options, work):
    run = make_run(options.moe, work, options.steps)
    file = work / "messages.jsonl"
    file.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in CONVERSATIONS))
    for name in TEMPLATES:
        setting = f"data.chat_template={name}"
        exported = work / name
        moe(options.moe, "export", run, exported, "--family", "qwen3_moe", "--dtype", "f32", setting)
        ours = answers_of_moe(options.moe, run, file, options.tokens, setting)
        tokenizer = check_transformers(name, exported, ours, options.tokens)
        if options.llama_cpp:
            check_llama_cpp(name, options.llama_cpp, work, exported, tokenizer, ours, options.tokens)
        if name == "chatml":
            check_ends(options.moe, work, exported, file, ours, options.tokens)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe", type=os.path.abspath)
    parser.add_argument("llama_cpp", type=Path, nargs="?")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        if options.keep:
            options.keep.mkdir(parents=True)
        check(options, options.keep or Path(folder))
    print(f"{failures} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
