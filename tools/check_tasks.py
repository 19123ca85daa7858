#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `moe eval --task` against transformers and lm-evaluation-harness's own code, item by item: log-likelihoods of each
continuation, right or wrong, and the means. The items are synthetic (written for this check, in the schema of the real
data sets, which are not needed): they say nothing about a model.

usage: tools/check_tasks.py MOE RUN
"""
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from lm_eval.tasks.hellaswag import utils as hellaswag
from transformers import AutoModelForCausalLM, AutoTokenizer

NOUNS = "river lamp horse miller window garden stone letter ship candle baker École forest winter road".split()
VERBS = "runs past|lies beside|is older than|was carried to|stood near|looks like|came after".split("|")


def sentence(rng):
    return f"The {rng.choice(NOUNS)} {rng.choice(VERBS)} the {rng.choice(NOUNS)}"


def make_items(rng):
    marks = ["", " [title] How to do it", " [step] Wait.  Then go on", "  [substeps] x"]
    return {
        "hellaswag": [{"activity_label": rng.choice(["Baking", "Sailing a boat"]), "ctx_a": sentence(rng) + "." + rng.choice(marks),
                       "ctx_b": rng.choice(["", "the MAN", "a Horse then", "École and ÄRGER"]),
                       "ctx": sentence(rng) + ". " + sentence(rng),
                       "endings": [rng.choice(["", "[step] "]) + sentence(rng).lower() + "." for _ in range(4)],
                       "label": rng.choice([str, int])(rng.randrange(4))} for _ in range(60)],
        "lambada": [{"text": sentence(rng) + ", and " + sentence(rng)} for _ in range(60)],
        "arc_easy": [{"question": sentence(rng) + ". Why?",
                      "choices": {"text": [sentence(rng) for _ in range(4)], "label": list("ABCD")},
                      "answerKey": rng.choice("ABCD")} for _ in range(40)],
        "piqa": [{"goal": sentence(rng), "sol1": sentence(rng), "sol2": sentence(rng) + " " + rng.choice(NOUNS),
                  "label": rng.randrange(2)} for _ in range(40)],
    }


def question(task, convention, item):
    """(context, choices, gold), by lm-evaluation-harness's own code where it has some."""
    if task == "hellaswag":
        if convention == "llm.c":
            return item["ctx"], item["endings"], int(item["label"])
        ctx = item["ctx_a"] + " " + item["ctx_b"].capitalize()
        return (hellaswag.preprocess(item["activity_label"] + ": " + ctx),
                [hellaswag.preprocess(ending) for ending in item["endings"]], int(item["label"]))
    if task == "lambada":
        return " ".join(item["text"].split(" ")[:-1]), [item["text"].split(" ")[-1]], 0
    if task == "arc_easy":
        return (f"Question: {item['question']}\nAnswer:", item["choices"]["text"],
                item["choices"]["label"].index(item["answerKey"]))
    return f"Question: {item['goal']}\nAnswer:", [item["sol1"], item["sol2"]], item["label"]


def encode(tokenizer, convention, context, continuation):
    if convention == "llm.c":
        return tokenizer.encode(context), tokenizer.encode(continuation)
    spaces = len(context) - len(context.rstrip())  # as lm_eval.api.model.TemplateLM._encode_pair
    if spaces:
        continuation, context = context[-spaces:] + continuation, context[:-spaces]
    whole, ids = tokenizer.encode(context + continuation), tokenizer.encode(context)
    return ids, whole[len(ids):]


def score(model, context, continuation):
    with torch.no_grad():
        logits = model(torch.tensor([context + continuation])).logits[0].double()
    rows = torch.log_softmax(logits[len(context) - 1:-1, :50257], -1)
    target = torch.tensor(continuation)
    return rows.gather(1, target[:, None]).sum().item(), bool((rows.argmax(-1) == target).all())


def main():
    program, run = sys.argv[1], sys.argv[2]
    work = Path(tempfile.mkdtemp())
    items = make_items(random.Random(3))
    for task, lines in items.items():
        (work / f"{task}.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    subprocess.run([program, "export", run, work / "exported", "--dtype", "f32"], check=True, capture_output=True)
    tasks = [word for task in items for word in ("--task", f"{task}={work}/{task}.jsonl")]
    means = json.loads(subprocess.run([program, "eval", run, *tasks, "--json", "--output", work / "items.jsonl"], check=True,
                                      capture_output=True, text=True).stdout)["tasks"]
    found = {}
    for line in (work / "items.jsonl").read_text().splitlines()[1:]:
        line = json.loads(line)
        found[line["task"], line["convention"], line["item"]] = line

    tokenizer = AutoTokenizer.from_pretrained(work / "exported")
    model = AutoModelForCausalLM.from_pretrained(work / "exported", dtype=torch.float32).eval()
    wrong = 0
    for task, convention in [(task, "lm_eval") for task in items] + [("hellaswag", "llm.c")]:
        worst, differ, right, norms = 0.0, 0, [], []
        for i, item in enumerate(items[task]):
            context, choices, gold = question(task, convention, item)
            pairs = [encode(tokenizer, convention, context, " " + choice) for choice in choices]
            scores = [score(model, *pair) for pair in pairs]
            sums = [value for value, _ in scores]
            length = [len(pair[1]) for pair in pairs] if convention == "llm.c" else [len(choice) for choice in choices]
            right.append(scores[0][1] if task == "lambada" else int(np.argmax(sums)) == gold)
            norms.append(int(np.argmax(np.array(sums) / np.array(length))) == gold)
            ours = found[task, convention, i]
            worst = max(worst, max(abs(a - b) / abs(b) for a, b in zip(ours["log_likelihood"], sums)))
            differ += ours["right"] != right[-1] or (task != "lambada" and ours["right_norm"] != norms[-1])
        mean, error = np.mean(right), np.std(right, ddof=1) / len(right) ** 0.5
        ours = means[task][convention]
        good = differ == 0 and worst < 2e-5 and abs(ours["acc"] - mean) < 1e-12 and abs(ours["acc_stderr"] - error) < 1e-12
        wrong += not good
        print(f"{'ok   ' if good else 'WRONG'} {task} ({convention}): {len(right)} items, {differ} judged otherwise, largest "
              f"relative difference of a log-likelihood {worst:.1e}, acc {ours['acc']:.4f} and {mean:.4f}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
