# SPDX-License-Identifier: MIT
"""The program `moe`, a trainer for Mixture-of-Experts Transformers, as a Python package carries it."""
import os
import sys

# Its libraries are found from there, and so are CUDA's, which other packages bring.
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "moe")


def main():
    """Becomes the program: from here on no Python runs."""
    os.execv(PROGRAM, ["moe", *sys.argv[1:]])
