#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/chat: 200 conversations, odd ones among them, and what transformers'
apply_chat_template(..., return_assistant_tokens_mask=True) makes of them with each built-in template and
three tokenizers.

conversations.jsonl   {"messages", "tools"?, "variables"?}, one a line
nfc/, trimmed/        tokenizers: tests/golden/text/new.json (NFC) and old.json (whose offsets leave out
                      spaces) with special tokens added; the third, gpt2, is inside the program
expected.txt          TOKENIZER TEMPLATE PROMPT, then for each conversation FNV-1a of the ids (four bytes
                      each) and of the mask (a byte each); "-" where the template refuses it. PROMPT is 1
                      with add_generation_prompt

Deterministic. Also compares each built-in template with the published one that it stands for, on all
conversations. Needs transformers and the wheel of trl, of which only the files are read.

usage: tools/make_chat_goldens.py [--trl FOLDER_OF_THE_UNPACKED_WHEEL] [--templates FOLDER OUT]

With --templates, the same lines for each *.jinja of a folder go to OUT, in place of all the rest.
"""
import argparse
import json
import pathlib
import random
import re
import sys

import jinja2
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests/golden/chat"
MARKERS = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[INST]",
           "[/INST]", "<think>", "</think>", "<tool_call>", "</tool_call>"]
PUBLISHED = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
              "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
              "{{ '<|im_start|>assistant\n' }}{% endif %}",
    "tulu": "{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\n' + "
            "message['content'] + '\n' }}{% elif message['role'] == 'user' %}{{ '<|user|>\n' + "
            "message['content'] + '\n' }}{% elif message['role'] == 'assistant' %}{% if not loop.last %}"
            "{{ '<|assistant|>\n' + message['content'] + eos_token + '\n' }}{% else %}{{ '<|assistant|>\n' + "
            "message['content'] + eos_token }}{% endif %}{% endif %}{% if loop.last and "
            "add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}",
    "mistral": "{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
               "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}"
               "{%- endif %}{{- bos_token }}{%- for message in loop_messages %}{%- if (message['role'] == "
               "'user') != (loop.index0 % 2 == 0) %}{{- raise_exception('roles must alternate') }}"
               "{%- endif %}{%- if message['role'] == 'user' %}{%- if loop.first and system_message is "
               "defined %}{{- ' [INST] ' + system_message + '\n\n' + message['content'] + ' [/INST]' }}"
               "{%- else %}{{- ' [INST] ' + message['content'] + ' [/INST]' }}{%- endif %}{%- elif "
               "message['role'] == 'assistant' %}{{- ' ' + message['content'] + eos_token}}{%- else %}"
               "{{- raise_exception('Only user and assistant roles are supported') }}{%- endif %}"
               "{%- endfor %}",
}
WORDS = (
    "what is the meaning of a word dictionary answer Yes No 42 3.14 naïve café cafe\u0301 über Straße\n "
    "日本語 한국어 \u1112\u1161\u11ab 👩‍👩‍👧 🇩🇪 e\u0323\u0301 \u212b don't it's x=1; "
    "{\"a\": [1, 2]} <b> </b> & 'quoted' \"twice\"\n \\n \\ / http://x.y/z?q=1 - -- 1. * ** `code` ``` _ "
    "__init__ ℝ ﬁ \u200b \u00a0 \u00ad").split(" ")
TYPED = ["<|im_end|>", "<|im_start|>system", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "</s>", "[INST]",
         "[/INST]", "<|assistant|>", "<|user|>", "<think>", "</think>", "<tool_response>", "</tool_response>",
         "{{ 7 * 7 }}", "{% if x %}", "<|im_end|", "<<|im_end|>>", " <|im_end|> ", "<pad>"]
WHITE = [" ", " ", " ", " ", "\n", "\n\n", "  ", "\t", " \n ", "\r\n"]


def text(rng, most=12):
    parts = []
    for _ in range(rng.randrange(most + 1)):
        parts.append(rng.choice(WORDS))
        parts.append(rng.choice(WHITE))
    if rng.random() < 0.6 and parts:
        parts.pop()
    if rng.random() < 0.1:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(TYPED))
    return rng.choice(["", "", "", "", "\n", "  "]) + "".join(parts)


def call(rng):
    arguments = {"city": text(rng, 2), "days": rng.randrange(9), "exact": rng.random() < 0.5, "rate": 0.5,
                 "list": [1, 2.0, None, 1e-7, 1e22, "é\u2028"], "nothing": {}}
    made = {"name": rng.choice(["weather", "look_up"]),
            "arguments": rng.choice([arguments, json.dumps(arguments), {}])}
    return rng.choice([{"type": "function", "function": made}, made])


def assistant(rng, tools):
    content = text(rng)
    kind = rng.random()
    if kind < 0.1:
        content = "<think>\n" + text(rng, 4) + "\n</think>\n\n" + content
    message = {"role": "assistant", "content": content}
    if kind > 0.9:
        message["reasoning_content"] = text(rng, 5)
    if tools and rng.random() < 0.5:
        message["tool_calls"] = [call(rng) for _ in range(rng.randrange(1, 4))]
        if rng.random() < 0.2:
            message["content"] = ""
    return message


TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Tells <the> weather & 'more'",
                                           "parameters": {"type": "object", "properties": {
                                               "city": {"type": "string"}}, "required": ["city"]}}}]


def conversation(rng, number):
    messages, line = [], {}
    tools = number % 5 == 0
    if rng.random() < 0.4:
        messages.append({"role": "system", "content": text(rng)})
    for _ in range(rng.randrange(1, 5)):
        messages.append({"role": "user", "content": text(rng)})
        messages.append(assistant(rng, tools))
        if tools and rng.random() < 0.6:
            for _ in range(rng.randrange(1, 3)):
                messages.append({"role": "tool", "content": text(rng, 3)})
            messages.append(assistant(rng, tools))
    odd = number % 20
    if odd == 1:  # only a system message
        messages = [{"role": "system", "content": text(rng)}]
    elif odd == 2:  # several assistants in a row
        messages += [assistant(rng, False) for _ in range(2)]
    elif odd == 3:  # empty turns
        messages = [{"role": m["role"], "content": ""} for m in messages]
    elif odd == 4:  # the user has the last word
        messages.append({"role": "user", "content": text(rng)})
    elif odd == 5:  # an assistant begins, a system speaks in between
        messages = [assistant(rng, False), *messages, {"role": "system", "content": text(rng)},
                    assistant(rng, False)]
    elif odd == 6:  # what a user types looks like the template's own
        messages[-2]["content"] += "".join(rng.sample(TYPED, 4))
    elif odd == 7:  # a role that few templates know
        messages.append({"role": rng.choice(["tool", "developer", "narrator"]), "content": text(rng)})
    elif odd == 8:  # an answer that quotes the template
        messages[-1]["content"] += " ".join(rng.sample(TYPED, 3))
    elif odd == 9:  # nothing to read
        messages[-1]["content"] = None if number % 40 == 9 else [{"type": "text", "text": text(rng)}]
    elif odd == 11:
        line["variables"] = {"enable_thinking": number % 40 == 11}
    if tools and rng.random() < 0.7:
        line["tools"] = TOOLS
    return {"messages": messages, **line}


def added(tokens, first):
    return [dict(id=first + i, content=t, single_word=False, lstrip=t == "[INST]", rstrip=t == "<|im_start|>",
                 normalized=False, special=not t.startswith(("<think", "</think", "<tool", "</tool")))
            for i, t in enumerate(tokens)]


def from_golden(name, processor):
    """A tokenizer of tests/golden/text with the markers and <s>, </s> behind its ids."""
    file = json.loads((ROOT / "tests/golden/text" / f"{name}.json").read_text())
    has = {t["content"] for t in file["added_tokens"]}
    ids = [t["id"] for t in file["added_tokens"]] + list(file["model"]["vocab"].values())
    file["added_tokens"] += added([t for t in ["<s>", "</s>", *MARKERS] if t not in has], max(ids) + 1)
    file["post_processor"] = processor
    return file


def gpt2():
    lines = (ROOT / "assets/gpt2_merges.txt").read_text().splitlines()[1:]
    merges = [tuple(line.split(" ")) for line in lines if line]
    letters = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters += [256 + i for i in range(256 - len(letters))]
    names = [chr(c) for c in letters] + [a + b for a, b in merges] + ["<|endoftext|>"]
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def tokenizers_of():
    """Name -> (template -> tokenizer)."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    files = {"nfc": from_golden("new", {**byte_level, "trim_offsets": False}),
             "trimmed": from_golden("old", byte_level)}
    made = {}
    for name, file in files.items():
        folder = FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(json.dumps(file, ensure_ascii=False))
        names = {"bos_token": "<s>", "eos_token": "</s>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(names, indent=1) + "\n")
        fast = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **names)
        made[name] = lambda template, fast=fast: fast
    markers = {"default": MARKERS[:2], "chatml": MARKERS[:2], "qwen3": MARKERS[:2], "llama3": MARKERS[2:5]}

    def with_markers(template):
        tokenizer = gpt2()
        tokenizer.add_special_tokens(["<|endoftext|>"])
        tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in markers.get(template, [])])
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>",
                                       eos_token="<|endoftext|>")
    made["gpt2"] = with_markers
    return made


def built_in():
    source = (ROOT / "src/text/built_in_templates.cpp").read_text()
    names = dict(re.findall(r'\{"(\w+)", (k\w+),', source))
    texts = dict(re.findall(r'constexpr std::string_view (k\w+) = R"\((.*?)\)";', source, re.DOTALL))
    return {name: texts[symbol] for name, symbol in names.items()}


def fnv(values, hash_=0xcbf29ce484222325):
    for byte in values:
        hash_ = (hash_ ^ byte) * 0x100000001b3 & (1 << 64) - 1
    return hash_


def hashed(tokenizer, template, line, prompt):
    try:
        out = tokenizer.apply_chat_template(
            line["messages"], tools=line.get("tools"), chat_template=template, add_generation_prompt=prompt,
            tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **line.get("variables", {}))
    except (jinja2.exceptions.TemplateError, TypeError, ValueError, KeyError, AttributeError):
        return "-"
    ids = b"".join(i.to_bytes(4, "little") for i in out["input_ids"])
    return f"{fnv(bytes(out['assistant_masks']), fnv(ids)):016x}"


def rendered(template, line, prompt):
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    try:
        return render_jinja_template([line["messages"]], tools=line.get("tools"), chat_template=template,
                                     add_generation_prompt=prompt, **names, **line.get("variables", {}))[0][0]
    except (jinja2.exceptions.TemplateError, TypeError, ValueError, KeyError, AttributeError):
        return None


def compare_with_published(templates, trl, lines):
    published = dict(PUBLISHED)
    if trl:
        for name in ("qwen3", "llama3"):
            published[name] = (trl / "trl/chat_templates" / f"{name}.jinja").read_text()
    for name, source in published.items():
        different = sum(rendered(source, line, prompt) != rendered(templates[name], line, prompt)
                        for line in lines for prompt in (False, True))
        print(f"{name}: {2 * len(lines) - different} of {2 * len(lines)} as the published template")
        if different:
            sys.exit(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trl", type=pathlib.Path)
    parser.add_argument("--templates", nargs=2, type=pathlib.Path)
    arguments = parser.parse_args()
    rng = random.Random(7)
    lines = [conversation(rng, number) for number in range(200)]
    tokenizers = tokenizers_of()
    if arguments.templates:
        folder, out = arguments.templates
        templates = {file.stem: file.read_text() for file in sorted(folder.glob("*.jinja"))}
        tokenizers = {"nfc": tokenizers["nfc"]}
    else:
        templates, out = built_in(), FOLDER / "expected.txt"
        compare_with_published(templates, arguments.trl, lines)
        (FOLDER / "conversations.jsonl").write_text(
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    with out.open("w") as file:
        for kind, tokenizer_for in sorted(tokenizers.items()):
            for name, template in templates.items():
                tokenizer = tokenizer_for(name)
                for prompt in (0, 1):
                    hashes = [hashed(tokenizer, template, line, bool(prompt)) for line in lines]
                    file.write(" ".join([kind, name, str(prompt), *hashes]) + "\n")
                print(f"{kind} {name}: {sum(h != '-' for h in hashes)} of {len(hashes)} accepted")


if __name__ == "__main__":
    main()
