#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `moe eval --task` against transformers and lm-evaluation-harness's own code, item by item:
log-likelihoods of each continuation, right or wrong, and the means with their standard errors. The items are
synthetic (written for this check, in the schema of the real data sets, which are not needed): they say
nothing about a model. As JSON lines, and once more as Parquet files, which must give the same results.

usage: tools/check_tasks.py MOE RUN
"""
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from lm_eval.tasks.hellaswag import utils as hellaswag
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

NOUNS = ("river lamp horse miller window garden stone letter ship candle baker École forest winter "
         "road").split()
VERBS = "runs past|lies beside|is older than|was carried to|stood near|looks like|came after".split("|")

ENDINGS = [
    "or the act of", "the state of being, as in", "to make", "one of", "[1913", "as a part of", "which is"]


def sentence(rng):
    return f"The {rng.choice(NOUNS)} {rng.choice(VERBS)} the {rng.choice(NOUNS)}"


def make_items(rng):
    marks = ["", " [title] How to do it", " [step] Wait.  Then go on", "  [substeps] x"]
    return {
        "hellaswag": [{"activity_label": rng.choice(["Baking", "Sailing a boat"]),
                       "ctx_a": sentence(rng) + "." + rng.choice(marks),
                       "ctx_b": rng.choice(["", "the MAN", "a Horse then", "École and ÄRGER"]),
                       "ctx": sentence(rng) + ". " + sentence(rng),
                       "endings": [
                           rng.choice(["", "[step] "]) + sentence(rng).lower() + "." for _ in range(4)],
                       "label": rng.choice([str, int])(rng.randrange(4))} for _ in range(60)],
        "lambada": [{"text": sentence(rng) + ", and " + sentence(rng)} for _ in range(60)],
        "arc_easy": [{"question": sentence(rng) + ". Why?",
                      "choices": {"text": [sentence(rng) for _ in range(4)], "label": list("ABCD")},
                      "answerKey": rng.choice("ABCD")} for _ in range(40)],
        "piqa": [{"goal": sentence(rng), "sol1": sentence(rng),
                  "sol2": sentence(rng) + " " + rng.choice(NOUNS),
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


def likely_words(items, model, tokenizer):
    """Some are to be right: every other text goes on with words after which the model finds a word most
    likely, and it."""
    for item in items[::2]:
        for ending in ENDINGS:
            text = item["text"] + " " + ending
            with torch.no_grad():
                word = tokenizer.decode(
                    model(torch.tensor([tokenizer.encode(text)])).logits[0, -1, :50257].argmax())
            if word.startswith(" ") and word[1:].isalpha():
                item["text"] = text + word
                break


def evaluate(program, run, items, work, ending):
    """The means, and the result of each item."""
    tasks = [word for task in items for word in ("--task", f"{task}={work}/{task}.{ending}")]
    log = work / f"results-{ending}"
    means = json.loads(subprocess.run([program, "eval", run, *tasks, "--json", "--output", log], check=True,
                                      capture_output=True, text=True).stdout)["tasks"]
    lines = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    return means, {(line["task"], line["convention"], line["item"]): line for line in lines}


def summary(task, right, norms, sums):
    """Names and values, as lm-evaluation-harness has them: the error of a mean is that of its sample."""
    error = lambda values: np.std(values, ddof=1) / len(values) ** 0.5
    values = {"acc": np.mean(right), "acc_stderr": error(right)}
    if task == "lambada":
        perplexity = np.exp(-np.mean(sums))
        return {**values, "perplexity": perplexity, "perplexity_stderr": perplexity * error(sums)}
    return {**values, "acc_norm": np.mean(norms), "acc_norm_stderr": error(norms)}


def main():
    program, run = sys.argv[1], sys.argv[2]
    work = Path(tempfile.mkdtemp())
    subprocess.run(
        [program, "export", run, work / "exported", "--dtype", "f32"], check=True, capture_output=True)
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(work / "exported")
    model = AutoModelForCausalLM.from_pretrained(work / "exported", dtype=torch.float32).eval()
    items = make_items(random.Random(3))
    likely_words(items["lambada"], model, tokenizer)
    for task, lines in items.items():
        (work / f"{task}.jsonl").write_text(
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        rows = [{**line, "label": str(line["label"])} if task == "hellaswag" else line for line in lines]
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(rows), work / f"{task}.parquet", row_group_size=25)
    means, found = evaluate(program, run, items, work, "jsonl")
    wrong = evaluate(program, run, items, work, "parquet") != (means, found)
    print(f"{'WRONG' if wrong else 'ok   '} from Parquet: {len(found)} results, the same as from JSON lines")
    for task, convention in [(task, "lm_eval") for task in items] + [("hellaswag", "llm.c")]:
        worst, differ, right, norms, first = 0.0, 0, [], [], []
        for i, item in enumerate(items[task]):
            context, choices, gold = question(task, convention, item)
            pairs = [encode(tokenizer, convention, context, " " + choice) for choice in choices]
            scores = [score(model, *pair) for pair in pairs]
            sums = [value for value, _ in scores]
            length = [len(pair[1]) for pair in pairs] if convention == "llm.c" else [
                len(choice) for choice in choices]
            first.append(sums[0])
            right.append(scores[0][1] if task == "lambada" else int(np.argmax(sums)) == gold)
            norms.append(int(np.argmax(np.array(sums) / np.array(length))) == gold)
            ours = found[task, convention, i]
            # Of at least one nat: a likelihood near 1 is the difference of two much larger numbers in f32.
            worst = max(worst, max(abs(a - b) / max(abs(b), 1) for a, b in zip(ours["log_likelihood"], sums)))
            differ += ours["right"] != right[-1] or (task != "lambada" and ours["right_norm"] != norms[-1])
        theirs, ours = summary(task, right, norms, first), means[task][convention]
        # Counts are exact; the perplexity is of log-likelihoods that differ in their last bits.
        bound = lambda name: 1e-5 * theirs[name] if "perplexity" in name else 1e-12
        good = differ == 0 and worst < 2e-5 and all(
            abs(ours[name] - theirs[name]) <= bound(name) for name in theirs)
        wrong += not good
        print(f"{'ok   ' if good else 'WRONG'} {task} ({convention}): {len(right)} items, {differ} judged "
              f"otherwise, largest "
              f"relative difference of a log-likelihood (of at least 1) {worst:.1e}; "
              + ", ".join(f"{name} {ours[name]:.4f} and {value:.4f}" for name, value in theirs.items()),
              flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
