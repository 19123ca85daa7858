#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `make install` installs runs without the build folder, the wheel and the caller's environment.
usage: install_test.py CMAKE BUILD VERSION"""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CMAKE, BUILD, VERSION = sys.argv[1:4]


class Install(unittest.TestCase):
    def test_the_program_runs_where_it_is_installed(self):
        with tempfile.TemporaryDirectory() as prefix:
            subprocess.run([CMAKE, "--install", BUILD, "--prefix", prefix], check=True, capture_output=True)
            program = Path(prefix) / "bin" / "moe"
            done = subprocess.run([program, "--version"], env={}, capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout.strip(), f"moe {VERSION}")
            linked = subprocess.run(["ldd", program], env={"PATH": "/usr/bin:/bin"}, capture_output=True,
                                    text=True, check=True).stdout
            self.assertNotIn("not found", linked)
            self.assertNotIn(str(ROOT), linked)
            installed = {path.name for path in (Path(prefix) / "share" / "moe" / "configs").iterdir()}
            self.assertEqual(installed, {path.name for path in (ROOT / "configs").iterdir()})


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
