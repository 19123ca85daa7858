#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Kills a random rank of a run with SIGKILL, again and again, every other time during a save, and goes on with the run. Each
time the others must end within 60 seconds with words that name the rank; at the end all losses must be those of a run that
nobody disturbed: the same bits on CPUs, within 0.01 on GPUs, whose sums may have another order. The last line says whether.

usage: tools/check_faults.py [--ranks N] [--kills N] [--seed N] [--device cpu|gpu] [--launch COMMAND] [MOE] [SETTING=VALUE...]

--launch starts the ranks (default on CPUs: mpirun --oversubscribe -n RANKS; on GPUs each rank is started here and they meet in
a file). Needs /proc; on CPUs a moe built with MPI.
"""
import argparse
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMALL = """model.d_model=64 model.num_experts=8 model.expert_intermediate_dim=128 model.max_seq_len=64 training.batch_size=4
training.warmup_steps=0 training.lr_schedule=constant training.eval_every=0 training.checkpoint_every=2 training.keep_checkpoints=2
distributed.timeout_seconds=20""".split()


def losses(run):
    rows = [json.loads(line) for line in open(run / "metrics.jsonl")]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def steps(run):
    """Lines of the record, whole or not."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def environment(process):
    try:
        return Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return []


class Ranks:
    """The program on all ranks, started by a launcher or here."""

    def __init__(self, options, words, work):
        self.options, self.log = options, open(work / "log", "w+b")
        command = [options.moe, "train", *words]
        own = dict(os.environ, MOE_CHECK_FAULTS=str(work), OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        start = lambda line: subprocess.Popen(line, stdout=self.log, stderr=subprocess.STDOUT, env=own, start_new_session=True)
        self.mark = f"MOE_CHECK_FAULTS={work}".encode()
        if options.launch:
            self.processes = [start([*options.launch.split(), *command])]
        else:
            meet = work / f"meet-{time.monotonic_ns()}"
            self.processes = [start([*command, "--rank", str(r), "--world-size", str(options.ranks), "--rendezvous", f"file:{meet}"])
                              for r in range(options.ranks)]

    def process_of(self, rank):
        if not self.options.launch:
            return self.processes[rank].pid
        names = {f"{name}={rank}".encode() for name in ("RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")}
        for path in glob.glob("/proc/[0-9]*"):
            words = environment(path[6:])
            if self.mark in words and names & set(words):
                return int(path[6:])
        return None

    def running(self):
        return any(process.poll() is None for process in self.processes)

    def wait(self, seconds):
        """Whether all have ended in time; else ends them."""
        end = time.monotonic() + seconds
        while self.running() and time.monotonic() < end:
            time.sleep(0.05)
        ended = not self.running()
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return ended

    def codes(self):
        return [process.returncode for process in self.processes]

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


def wait_until(condition, ranks, seconds=300):
    end = time.monotonic() + seconds
    while ranks.running() and time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.002)
    return False


def kill_once(options, run, work, chance, during_save):
    """Returns what went wrong; '' for nothing."""
    before = steps(run)
    ranks = Ranks(options, ["--resume", str(run), f"training.max_steps={options.steps}"], work)
    if not wait_until(lambda: steps(run) != before, ranks):
        ranks.wait(0)
        return "the run did not go on:\n" + ranks.said()
    time.sleep(3 * chance.random())
    if during_save:
        wait_until(lambda: glob.glob(str(run / "checkpoints/*.partial")), ranks)
        time.sleep(chance.random() * 0.02)
    rank = chance.randrange(options.ranks)
    process = ranks.process_of(rank)
    if process is None or not ranks.running():
        ranks.wait(0)
        return "the run ended before a rank was killed: raise --steps"
    saving = bool(glob.glob(str(run / "checkpoints/*.partial")))
    os.kill(process, signal.SIGKILL)
    begin = time.monotonic()
    ended = ranks.wait(60)
    said = ranks.said()
    # The launcher's words ("process rank 2 with PID ..."), or a rank's ("rank 0 or its launcher has ended").
    named = any(f"rank {rank}{end}" in said for end in (" of", " with", " (", ":", " or"))
    print(f"  rank {rank} killed at step {steps(run)}{' during a save' if saving else ''}: all ended after "
          f"{time.monotonic() - begin:.1f} s, exit codes {ranks.codes()}", flush=True)
    if not ended:
        return "not all ranks ended within 60 s:\n" + said
    if 0 in ranks.codes():
        return "exit code 0"
    return "" if named else f"nobody named rank {rank}:\n" + said


def finish(options, words, work):
    ranks = Ranks(options, words, work)
    if not ranks.wait(1200) or any(ranks.codes()):
        sys.exit("the run did not end well:\n" + ranks.said())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moe", nargs="?", default=str(ROOT / "build/cpu/moe"))
    parser.add_argument("settings", nargs="*")
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=0, help="of the run; default for each kill: 10, on GPUs 150")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--launch")
    options = parser.parse_args()
    if options.launch is None and options.device == "cpu":
        options.launch = f"mpirun --oversubscribe -n {options.ranks}"
    work = Path(tempfile.mkdtemp(prefix="moe-faults-"))
    options.steps = options.steps or (10 if options.device == "cpu" else 150) * options.kills
    threads = ["training.threads=1"] if options.device == "cpu" else []
    words = ["--config", str(ROOT / "configs/quickstart.yaml"), *SMALL, *threads, f"training.device={options.device}",
             f"training.output_dir={work}", *options.settings]
    finish(options, [*words, "training.run_name=killed", "training.max_steps=1"], work)
    straight, killed = work / "straight", work / "killed"
    finish(options, [*words, "training.run_name=straight", f"training.max_steps={options.steps}"], work)

    chance, failed = random.Random(options.seed), 0
    for number in range(options.kills):
        trouble = kill_once(options, killed, work, chance, number % 2 == 1)
        if trouble:
            failed += 1
            print(f"kill {number + 1}: {trouble}", flush=True)
    finish(options, ["--resume", str(killed), f"training.max_steps={options.steps}"], work)
    a, b = losses(straight), losses(killed)
    most = max((abs(a[s] - b[s]) for s in a if s in b), default=float("nan"))
    same = a.keys() == b.keys() and most <= (0 if options.device == "cpu" else 1e-2)
    print(f"{options.kills} kills of {options.ranks} ranks, {failed} not as they should be; {len(a)} and {len(b)} steps, "
          f"last loss {a[max(a)]:.6f} and {b[max(b)]:.6f}, largest difference {most:g}: {'ok' if same and not failed else 'FAILED'}")
    if same and not failed:
        shutil.rmtree(work)
    else:
        print(f"what the runs left is in {work}")
        sys.exit(1)


if __name__ == "__main__":
    main()
