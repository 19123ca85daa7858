#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kills runs with SIGKILL at random moments, every other time during a save, and goes on with them, again and
again. After each kill the others must end within 60 seconds with words that name the rank, and the run must
go on at the last checkpoint. At the end the record and the checkpoint must be those of a run that nobody
disturbed: the same bits on CPUs; on GPUs, whose sums may have another order, losses within 0.01. The last
line says whether.

Each part RANKS:KILLS is a run of its own; 1 is the program without a launcher. The moments are drawn from the
seed: a part is repeated by its seed and number of ranks. --launch starts the ranks (on CPUs: mpirun
--oversubscribe -n RANKS; on GPUs each rank is started here, and they meet in a file). Needs /proc; for many
ranks on CPUs a moe built with MPI.

usage: tools/check_kills.py [PART...] [--seed N] [--moe MOE] [--device cpu|gpu] [--launch COMMAND]
                            [--set SETTING=VALUE]...
       tools/check_kills.py 1:700 2:100 3:100 4:100        a thousand
"""
import argparse
import glob
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMALL = """model.n_layers=2 model.n_heads=2 model.n_kv_heads=1 model.num_experts=4 model.top_k=2
model.max_seq_len=32 model.expert_intermediate_dim=32 training.batch_size=2
training.gradient_accumulation_steps=1 training.learning_rate=0.001 training.warmup_steps=0
training.lr_schedule=constant training.eval_every=0 training.checkpoint_every=2 training.keep_checkpoints=2
data.document_split=line distributed.timeout_seconds=20""".split()
WORDS = "stone river lamp green walks of the and to old snow under a bridge sings fog corn mill".split()
EXACT = ("loss", "gradient_norm", "learning_rate", "tokens", "balance_loss", "z_loss", "layers/expert_counts")
EVER = 10**9  # steps


def rows(run):
    found = {}
    for line in open(run / "metrics.jsonl"):
        row = json.loads(line)
        if "loss" in row:
            if row["step"] in found:
                sys.exit(f"{run}: step {row['step']} is in the record twice")
            found[row["step"]] = row
    return found


def saved_step(run):
    """The one that the run must go on from: of `latest`, or the newest whole one."""
    folder = run / "checkpoints"
    whole = {path.parent.name for path in folder.glob("step-????????/manifest.json")}
    latest = (folder / "latest").read_text().strip() if (folder / "latest").exists() else ""
    name = latest if latest in whole else max(whole, default="")
    return int(name[5:]) if name else None


def partial(run):
    """Checkpoints that are being written, with what tells them from those of an earlier process."""
    found = set()
    for path in glob.glob(str(run / "checkpoints/*.partial")):
        try:
            found.add((path, os.stat(path).st_ino, os.stat(path).st_ctime_ns))
        except OSError:  # gone meanwhile
            continue
    return found


class Ranks:
    """The program on all ranks, started by a launcher or here."""

    def __init__(self, part, words):
        self.part = part
        self.log = open(part.work / "log", "w+b")
        command = [part.options.moe, "train", *words]
        own = dict(os.environ, MOE_CHECK_KILLS=str(part.work), OMPI_ALLOW_RUN_AS_ROOT="1",
                   OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        self.mark = f"MOE_CHECK_KILLS={part.work}".encode()

        def start(line):
            return subprocess.Popen(
                line, stdout=self.log, stderr=subprocess.STDOUT, env=own, start_new_session=True)

        if part.launch or part.ranks == 1:
            self.processes = [start([*part.launch.split(), *command])]
        else:
            meet = part.work / f"meet-{time.monotonic_ns()}"
            self.processes = [start([*command, "--rank", str(r), "--world-size", str(part.ranks),
                                     "--rendezvous", f"file:{meet}"]) for r in range(part.ranks)]

    def ours(self):
        """(process, its environment) of all that were started."""
        for path in glob.glob("/proc/[0-9]*"):
            try:
                words = Path(path, "environ").read_bytes().split(b"\0")
            except OSError:  # it has ended
                continue
            if self.mark in words:
                yield int(path[6:]), words

    def process_of(self, rank):
        if not self.part.launch:
            return self.processes[rank].pid
        names = {f"{name}={rank}".encode() for name in ("RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")}
        return next((process for process, words in self.ours() if names & set(words)), None)

    def running(self):
        return any(process.poll() is None for process in self.processes)

    def wait(self, seconds):
        """Whether all have ended in time; else ends them."""
        end = time.monotonic() + seconds
        while self.running() and time.monotonic() < end:
            time.sleep(0.005)
        ended = not self.running()
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self.part.launch:  # ranks may outlive their launcher
            while any(True for _ in self.ours()) and time.monotonic() < end:
                time.sleep(0.02)
        return ended

    def codes(self):
        return [process.returncode for process in self.processes]

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


class Part:
    """A run on so many ranks that is killed so often."""

    def __init__(self, options, ranks, kills):
        self.options, self.ranks, self.kills = options, ranks, kills
        self.work = Path(tempfile.mkdtemp(prefix=f"moe-kills-{ranks}-"))
        self.run = self.work / "killed"
        self.launch = options.launch or ""
        if ranks > 1 and options.device == "cpu" and not options.launch:
            self.launch = f"mpirun --oversubscribe -n {ranks}"
        chance = random.Random(1)
        (self.work / "text.txt").write_text(
            "\n".join(" ".join(chance.choices(WORDS, k=9)) for _ in range(4000)) + "\n")
        (self.work / "small.yaml").write_text("{}\n")
        threads = ["training.threads=1"] if options.device == "cpu" else []
        self.words = ["--config", str(self.work / "small.yaml"), *SMALL, f"model.d_model={options.width}",
                      *threads, f"training.device={options.device}", f"training.output_dir={self.work}",
                      f"data.cache_dir={self.work / 'cache'}", f"data.source={self.work / 'text.txt'}",
                      *options.set]
        self.during_save = self.lost = 0
        self.left = set()  # of checkpoints that an earlier kill broke off

    def finish(self, words):
        ranks = Ranks(self, words)
        if not ranks.wait(1200) or any(ranks.codes()):
            sys.exit("the run did not end well:\n" + ranks.said())
        return ranks.said()

    def moment(self, ranks, chance, save):
        """Waits for it; whether it came before the run ended. save: during one, else within what a start and
        a few steps take."""
        before, delay = self.left, chance.random()
        if not save:
            time.sleep(delay * 2 * self.start_seconds)
            return ranks.running()
        end = time.monotonic() + 120
        while not partial(self.run) - before:
            if not ranks.running() or time.monotonic() > end:
                return False
            time.sleep(0.001)
        time.sleep(delay * 0.03)
        return ranks.running()

    def kill(self, number):
        """What went wrong; '' for nothing."""
        chance = random.Random(f"{self.options.seed} {self.ranks} {number}")
        expected, self.left = saved_step(self.run), partial(self.run)
        ranks = Ranks(self, ["--resume", str(self.run), f"training.max_steps={EVER}"])
        if not self.moment(ranks, chance, number % 2 == 0):
            ranks.wait(0)
            return "the run ended by itself:\n" + ranks.said()
        rank = chance.randrange(self.ranks)
        end = time.monotonic() + 60
        process = ranks.process_of(rank)
        # the launcher has not got there
        while process is None and ranks.running() and time.monotonic() < end:
            time.sleep(0.005)
            process = ranks.process_of(rank)
        if process is None:
            return f"rank {rank} was never started:\n" + ranks.said()
        saving = bool(partial(self.run) - self.left)
        os.kill(process, signal.SIGKILL)
        begin = time.monotonic()
        ended = ranks.wait(60)
        said = ranks.said()
        self.during_save += saving
        if self.options.verbose:
            print(f"  {number}: rank {rank} killed{' during a save' if saving else ''}, saved "
                  f"{saved_step(self.run)}, ended "
                  f"after {time.monotonic() - begin:.1f} s, {ranks.codes()}", flush=True)
        if not ended:
            return "not all ranks ended within 60 s:\n" + said
        if 0 in ranks.codes():
            return "exit code 0"
        resumed = re.search(r"^resumed from .* at step (\d+)$", said, re.MULTILINE)
        if resumed and int(resumed[1]) != expected:
            self.lost += 1
            return f"step {expected} was saved, but the run went on at step {resumed[1]}"
        announced = [int(step) for step in re.findall(r"^checkpoint step-(\d{8}): ", said, re.MULTILINE)]
        if announced and max(announced) > (saved_step(self.run) or -1):
            self.lost += 1
            return f"checkpoint {max(announced)} was announced, but {saved_step(self.run)} is the last"
        # mpirun names no rank that dies before the ranks have met, and nobody else knows that it was there.
        unmet = "Primary job" in said and "ranks over" not in said
        # The launcher's words ("process rank 2 with PID ..."), or a rank's ("rank 0 or its launcher has
        # ended").
        if self.ranks > 1 and not unmet and not any(
            f"rank {rank}{end}" in said for end in (" of", " with", " (", ":", " or")):
            return f"nobody named rank {rank}:\n" + said
        return ""

    def same_end(self, straight):
        """Compares the two runs; what differs, '' for nothing, and what to say of them."""
        a, b = rows(straight), rows(self.run)
        if a.keys() != b.keys():
            return f"steps {sorted(a.keys() ^ b.keys())[:10]} are in one record only", ""
        most = max(abs(a[step]["loss"] - b[step]["loss"]) for step in a)
        said = f"{len(a)} steps, last loss {b[max(b)]['loss']:.6f}, largest difference {most:g}"
        if self.options.device != "cpu":
            return ("" if most <= 1e-2 else "losses differ"), said
        for step in a:
            for name in EXACT:
                if a[step].get(name) != b[step].get(name):
                    return f"step {step}: {name} is {a[step].get(name)} and {b[step].get(name)}", said
        for name in ("model.safetensors", "optimizer.safetensors"):
            files = [
                (run / f"checkpoints/step-{max(a):08}" / name).read_bytes() for run in (straight, self.run)]
            if files[0] != files[1]:
                return f"the last {name} differ", said
        return "", said + ", the same bits in record, weights and moments"

    def check(self):
        begin = time.monotonic()
        self.finish([*self.words, "training.run_name=killed", "training.max_steps=2"])
        started = time.monotonic()
        self.finish(["--resume", str(self.run), "training.max_steps=4"])
        self.start_seconds = time.monotonic() - started
        failed = 0
        for number in range(1, self.kills + 1):
            trouble = self.kill(number)
            if trouble:
                failed += 1
                print(f"{self.ranks} ranks, kill {number}: {trouble}", flush=True)
            if number % 50 == 0:
                print(f"  {self.ranks} ranks: {number} kills, step {saved_step(self.run)}, "
                      f"{time.monotonic() - begin:.0f} s", flush=True)
        last = saved_step(self.run) + 4
        self.finish(["--resume", str(self.run), f"training.max_steps={last}"])
        straight = self.work / "straight"
        self.finish([*self.words, "training.run_name=straight", f"training.max_steps={last}"])
        differs, said = self.same_end(straight)
        if differs:
            print(f"{self.ranks} ranks: {differs}", flush=True)
        bad = failed or differs
        print(f"{self.ranks} ranks, seed {self.options.seed}: {self.kills} kills, {self.during_save} during "
              f"a save, {failed} "
              f"not as they should be, {self.lost} checkpoints lost; {said}; {time.monotonic() - begin:.0f} "
              f"s: "
              f"{'FAILED' if bad else 'ok'}", flush=True)
        if bad:
            print(f"what the runs left is in {self.work}", flush=True)
        else:
            shutil.rmtree(self.work)
        return not bad


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["1:20", "3:20"], metavar="RANKS:KILLS")
    parser.add_argument("--moe", default=str(ROOT / "build/cpu/moe"))
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--width", type=int, default=16, help="model.d_model; the embedding is most of a checkpoint")
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--launch")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    parts = [Part(options, *map(int, part.split(":"))) for part in options.parts]
    good = [part.check() for part in parts]
    print(f"{sum(part.kills for part in parts)} kills: {'ok' if all(good) else 'FAILED'}")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
