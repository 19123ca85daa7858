#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Conversations about words, made from the dictionary of `make train` (Debian's dict-gcide): questions for
the meaning of a word, and its kind (noun, verb, ...), answered with the first definition. For the worked
example of docs/finetuning.md.

Writes OUT/train.jsonl and OUT/held_out.jsonl (one in 20 words), each line {"messages": [...]}. Deterministic.

usage: tools/make_word_questions.py OUT [--dictionary FILE] [--most N]
"""
import argparse
import gzip
import json
import pathlib
import random
import re

DICTIONARY = "/usr/share/dictd/gcide.dict.dz"
HEAD = re.compile(r"^(?P<word>[A-Z][A-Za-z]+) .*?\\\\?.*?, (?P<kind>n|a|v\. t|v\. i|adv)\.")
KINDS = {"n": "a noun", "a": "an adjective", "v. t": "a verb", "v. i": "a verb", "adv": "an adverb"}
ASK_MEANING = ["What does {} mean?", "What is the meaning of {}?", "Define {}.", "Tell me what {} means."]
ASK_KIND = ["What kind of word is {}?", "Which part of speech is {}?"]


def entries(text):
    """(word, kind, first definition) of each entry that has all three in plain letters.

    The definition is the first sentence behind the head, its number and the notes in brackets."""
    for block in re.split(r"\n(?=[A-Z])", text):
        head = HEAD.match(block.replace("\n", " "))
        if not head:
            continue
        body = block.replace("\n", " ")[head.end("kind"):]
        body = re.sub(r"\s+", " ", re.sub(r"\[[^\]]*\]", " ", body))
        first = re.match(r"[. ]*(?:1\. )?(?:\(.*?\) ?)*([A-Z][a-z][^.;:{}\\<>\d]{10,110})[.;]", body)
        if first:
            yield head["word"].lower(), KINDS[head["kind"]], first[1].strip()


def conversation(rng, word, kind, meaning):
    turns = [(rng.choice(ASK_MEANING).format(word), f"{meaning}.")]
    if rng.random() < 0.5:
        turns.append((rng.choice(ASK_KIND).format(word), f"The word {word} is {kind}."))
        if rng.random() < 0.5:
            turns.reverse()
    messages = []
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--dictionary", default=DICTIONARY)
    parser.add_argument("--most", type=int, default=20000)
    arguments = parser.parse_args()
    with gzip.open(arguments.dictionary, "rt", encoding="utf-8", errors="replace") as file:
        found = {}
        for word, kind, meaning in entries(file.read()):
            found.setdefault(word, (kind, meaning))
    rng = random.Random(1)
    words = sorted(found)
    rng.shuffle(words)
    arguments.out.mkdir(parents=True, exist_ok=True)
    parts = {"train": [], "held_out": []}
    for i, word in enumerate(words[: arguments.most]):
        parts["held_out" if i % 20 == 0 else "train"].append(conversation(rng, word, *found[word]))
    for name, lines in parts.items():
        (arguments.out / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        print(f"{arguments.out / name}.jsonl: {len(lines)} conversations")


if __name__ == "__main__":
    main()
