#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/make_gemm_algorithms.py puts users' files into the asset, one kind of GPU beside the others, and
refuses what is no such file."""
import json
import subprocess
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "make_gemm_algorithms.py"
KIND, OTHER = "GPU-A-cublaslt-130100", "GPU-B-cublaslt-130100"
WORDS = [7, 0, 0, 0, 0, 0, 0, 2**64 - 1, 1]


class GemmAlgorithms(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.asset = self.folder / "asset.json"

    def run_tool(self, *arguments):
        return subprocess.run([str(TOOL), "--asset", str(self.asset), *map(str, arguments)],
                              capture_output=True, text=True, check=False)

    def file(self, name, content):
        path = self.folder / f"{name}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def kinds(self):
        asset = json.loads(self.asset.read_text())
        self.assertIn("make_gemm_algorithms.py", asset.pop("about"))
        return asset

    def test_one_kind_beside_the_others(self):
        self.assertEqual(self.run_tool(self.file(KIND, {"b": WORDS, "a": WORDS})).returncode, 0)
        self.assertEqual(self.run_tool(self.file(OTHER, {"a": WORDS})).returncode, 0)
        self.assertEqual(self.kinds(), {KIND: {"a": WORDS, "b": WORDS}, OTHER: {"a": WORDS}})
        again = self.asset.read_text()
        self.assertEqual(self.run_tool().returncode, 0)
        self.assertEqual(self.asset.read_text(), again)
        self.assertEqual(self.run_tool(self.file(KIND, {"c": WORDS}), "--remove", OTHER).returncode, 0)
        self.assertEqual(self.kinds(), {KIND: {"c": WORDS}})
        self.assertIn(f'    "c": {json.dumps(WORDS)}\n', self.asset.read_text())

    def test_other_files_are_refused(self):
        self.run_tool(self.file(KIND, {"a": WORDS}))
        before = self.asset.read_text()
        for name, content in (("settings", {"a": WORDS}), (OTHER, {}), (OTHER, {"a": WORDS[1:]}),
                              (OTHER, {"a": WORDS[:-1] + [0]}), (OTHER, {"a": ["1"] * 9}), (OTHER, "{")):
            self.assertNotEqual(self.run_tool(self.file(name, content)).returncode, 0, (name, content))
            self.assertEqual(self.asset.read_text(), before)
        self.assertNotEqual(self.run_tool("--remove", OTHER).returncode, 0)


if __name__ == "__main__":
    unittest.main()
