#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Completion as a person meets it: a real shell on a terminal gets the script, then words and the Tab key,
and says what its line has become. The manual pages are set by groff, which must warn of nothing.

usage: completion_in_shells_test.py bash|zsh|fish|man PROGRAM; exits with 77 where the shell is not installed.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from terminal import Terminal

# what is typed before Tab -> what the line is then
CASES = {
    "moe tra": "moe train ",
    "moe tokenizer tr": "moe tokenizer train ",
    "moe help pla": "moe help plan ",
    "moe train --res": "moe train --resume ",
    "moe train --config sett": "moe train --config settings.yaml ",
    "moe train --config low_m": "moe train --config low_memory ",
    "moe presets moe_12": "moe presets moe_120m ",
    "moe train --resume only": "moe train --resume only_folder/",
    "moe bench --part st": "moe bench --part step ",
    "moe bench --part=st": "moe bench --part=step ",
    "moe completion f": "moe completion fish ",
    "moe plan --gpu rtx40": "moe plan --gpu rtx4090 ",
    "moe train distr": "moe train distributed.",
    "moe train training.mixed_pr": "moe train training.mixed_precision=",
    "moe train training.optimizer_order=py": "moe train training.optimizer_order=pytorch ",
    "moe train --config settings.yaml training.cuda_graph=f":
        "moe train --config settings.yaml training.cuda_graph=false ",
    "moe tokenize data.source=sett": "moe tokenize data.source=settings.yaml ",
}
SHOW = {
    "bash": "bind -x '\"\\C-g\": printf \"<%s>\\n\" \"$READLINE_LINE\"'",
    "zsh": "show() { print -r -- \"<$BUFFER>\" }; zle -N show; bindkey '^G' show",
}
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
LOAD = {
    "bash": "source <(moe completion bash)",
    "zsh": "autoload -Uz compinit && compinit -D -u && source <(moe completion zsh)",
}
SECONDS = 60  # of one answer, on a machine with other work


def on_terminal(shell, environment, folder):
    """The line after Tab, of each case."""
    terminal = Terminal(START[shell], folder, SECONDS, environment)
    terminal.type(f"{LOAD[shell]}; {SHOW[shell]}; PS1='$ '; echo rea''dy\r")
    terminal.read_until("ready")
    for typed in CASES:
        terminal.type(typed + "\t\x07")
        yield typed, terminal.read_until(r"<(moe[^>\r\n]*)>").group(1)
        terminal.type("\x15")  # the line is taken away
    terminal.type("exit\r")
    terminal.close()


def in_fish(environment, folder):
    """fish tells the candidates without a terminal. A space follows those that do not end in / = or a dot."""
    for typed in CASES:
        script = "moe completion fish | source; complete -C $argv[1]"
        done = subprocess.run(["fish", "--no-config", "-c", script, typed], env=environment, cwd=folder,
                              capture_output=True, text=True, timeout=SECONDS, check=False)
        words = [line.split("\t")[0] for line in done.stdout.splitlines()]
        if len(words) != 1:
            yield typed, f"{words} {done.stderr}"
            continue
        before = typed[:typed.rindex(" ") + 1]
        yield typed, before + words[0] + ("" if words[0][-1] in "/=." else " ")


def check_shell(shell, environment, folder):
    (folder / "settings.yaml").touch()
    (folder / "only_folder").mkdir()
    (folder / "only_a_file").touch()
    answers = in_fish(environment, folder) if shell == "fish" else on_terminal(shell, environment, folder)
    wrong = 0
    for typed, line in answers:
        if line != CASES[typed]:
            wrong += 1
            print(f"{typed!r} became {line!r}, not {CASES[typed]!r}")
    print(f"{shell}: {len(CASES)} lines, {wrong} wrong")
    return 1 if wrong else 0


def check_man(environment, folder):
    subprocess.run(["moe", "man", str(folder)], env=environment, check=True)
    pages = sorted(folder.rglob("*.[15]"))
    wrong = 0 if len(pages) > 10 else 1
    for page in pages:
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", str(page)], capture_output=True,
                              text=True, check=False)
        if done.returncode or done.stderr:
            wrong += 1
            print(f"{page.name}: {done.stderr}")
    shown = subprocess.run(["groff", "-man", "-Tutf8", "-P-cbou", str(folder / "man1" / "moe-bench.1")],
                           capture_output=True, text=True, check=True).stdout
    for words in ("moe-bench", "--part", "One of: step, moe-layer. Default: step.", "EXAMPLES",
                  "  moe bench --config quickstart\n"):
        if words not in shown and words not in " ".join(shown.split()):  # lines are broken anywhere
            wrong += 1
            print(f"moe-bench.1 does not show {words!r}:\n{shown}")
    train = (folder / "man1" / "moe-train.1").read_text(encoding="utf-8")
    for option in ("\\-\\-help", "\\-\\-config", "\\-\\-rank"):  # also those of a group, each once
        if train.count(f"{option}\\fR") != 1:
            wrong += 1
            print(f"moe-train.1 has {option} {train.count(option)} times")
    print(f"man: {len(pages)} pages, {wrong} wrong")
    return 1 if wrong else 0


def main():
    what, program = sys.argv[1:]
    tool = "groff" if what == "man" else what
    if shutil.which(tool) is None:
        print(f"skipped: {tool} is not installed")
        return 77
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name) / "work", Path(name) / "home"
        folder.mkdir()
        home.mkdir()
        environment = {**os.environ, "HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8",
                       "PATH": f"{Path(program).resolve().parent}:{os.environ['PATH']}"}
        if what == "man":
            return check_man(environment, folder)
        return check_shell(what, environment, folder)


if __name__ == "__main__":
    sys.exit(main())
