#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the client of src/comm/store.h against PyTorch's own TCPStore, as torchrun's agent serves it: starts
one and runs our tests of shared values on it. Needs torch.

usage: tools/check_store.py [build/cpu/tests/moe_comm_tests]
"""
import os
import subprocess
import sys

import torch
from torch.distributed import TCPStore


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "build/cpu/tests/moe_comm_tests"
    failed = 0
    for libuv in (False, True):
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, use_libuv=libuv)
        run = subprocess.run([program, "--gtest_filter=Store.RanksShareValues"], check=False,
                             env={**os.environ, "MOE_STORE_PORT": str(store.port)}, capture_output=True,
                             text=True)
        good = run.returncode == 0 and store.get("/run.0/count") == b"-2"
        print(f"torch {torch.__version__}, libuv {libuv}: {'good' if good else 'DIFFERENT'}")
        if not good:
            print(run.stdout, run.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
