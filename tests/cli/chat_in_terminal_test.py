#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`moe chat` as a person at a terminal meets it: the prompt, an answer that comes while it is written, Ctrl-C
in an answer and between two, Ctrl-D.

usage: chat_in_terminal_test.py PROGRAM
"""
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from terminal import Terminal

SECONDS = 120  # of one step, on a machine with other work
CONFIG = """
model:
  d_model: 16
  n_layers: 1
  n_heads: 2
  n_kv_heads: 1
  num_experts: 2
  top_k: 2
  expert_intermediate_dim: 16
  vocab_size: 384
  max_seq_len: 64
training:
  batch_size: 1
  max_steps: 0
  warmup_steps: 0
  device: cpu
  threads: 1
"""


def moe(program, folder, *words):
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def make_run(program, folder):
    (folder / "text.txt").write_text("The lamp is green.\n" * 2000)
    (folder / "config.yaml").write_text(CONFIG)
    moe(program, folder, "tokenizer", "train", "text.txt", "--vocab", "300", "-o", "mine")
    moe(program, folder, "train", "--config", "config.yaml", "data.source=text.txt", "data.tokenizer=mine",
        "training.run_name=run")


def check_conversation(program, folder):
    # So long an answer ends when it is interrupted: with its first weights a model says the last word again.
    chat = Terminal([program, "chat", "runs/run", "--temperature", "0", "--context", "200000",
                     "--max-new-tokens", "150000", "data.chat_template=default.jinja"], folder, SECONDS)
    chat.read_until(r"/help lists commands")
    chat.read_until(r"> ")
    chat.type("\x03")
    chat.read_until(r"Ctrl-D or /exit leaves")
    chat.read_until(r"> ")
    chat.type("half a message\x03")
    chat.read_until(r"Ctrl-D or /exit leaves")
    chat.read_until(r"> ")
    chat.type("Hello\n")
    chat.read_until(r"Hello\r\n( lamp){50}")  # it comes while it is written
    chat.type("\x03")
    chat.read_until(r"interrupted; the conversation has it up to here")
    chat.read_until(r"> ")
    chat.type("/save talk.jsonl\n")
    chat.read_until(r"saved in talk.jsonl")
    chat.read_until(r"> ")
    chat.type("\x04")
    assert chat.end() == 0, "left with an error"
    saved = (folder / "talk.jsonl").read_text()
    assert '"content":"Hello"' in saved and "half a message" not in saved, saved[:200]


def check_interrupt_while_loading(program, folder):
    """Before the first prompt the key ends the program, as in others; here the program waits for a file."""
    os.mkfifo(folder / "slow.jinja")
    chat = Terminal([program, "chat", "runs/run", "data.chat_template=slow.jinja"], folder, SECONDS)
    time.sleep(0.5)
    os.kill(chat.process, signal.SIGINT)
    status = chat.end()
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 128 + signal.SIGINT, status


def main():
    program = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_run(program, folder)
        (folder / "default.jinja").write_text("{% for m in messages %}{{ m.content }} lamp{% endfor %}")
        check_conversation(program, folder)
        check_interrupt_while_loading(program, folder)
    print("a conversation in a terminal: as it should be")


if __name__ == "__main__":
    main()
