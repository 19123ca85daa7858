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
A, B, C = (f"NT bf16 bf16 {rows}x1024x1024 256" for rows in (1024, 2048, 4096))
SMALL = "NT f32 f32 8x8x8 32"
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
        self.assertEqual(self.run_tool(self.file(KIND, {B: WORDS, A: WORDS, SMALL: WORDS})).returncode, 0)
        self.assertEqual(self.run_tool(self.file(OTHER, {A: WORDS})).returncode, 0)
        self.assertEqual(self.kinds(), {KIND: {A: WORDS, B: WORDS}, OTHER: {A: WORDS}})
        again = self.asset.read_text()
        self.assertEqual(self.run_tool().returncode, 0)
        self.assertEqual(self.asset.read_text(), again)
        self.assertEqual(self.run_tool(self.file(KIND, {C: WORDS}), "--remove", OTHER).returncode, 0)
        self.assertEqual(self.kinds(), {KIND: {C: WORDS}})
        self.assertIn(f'    "{C}": {json.dumps(WORDS)}\n', self.asset.read_text())

    def test_other_files_are_refused(self):
        self.run_tool(self.file(KIND, {A: WORDS}))
        before = self.asset.read_text()
        for name, content in (("settings", {A: WORDS}), (OTHER, {}), (OTHER, {SMALL: WORDS}),
                              (OTHER, {A: WORDS[1:]}), (OTHER, {A: WORDS[:-1] + [0]}),
                              (OTHER, {A: ["1"] * 9}), (OTHER, "{")):
            self.assertNotEqual(self.run_tool(self.file(name, content)).returncode, 0, (name, content))
            self.assertEqual(self.asset.read_text(), before)
        self.assertNotEqual(self.run_tool("--remove", OTHER).returncode, 0)


if __name__ == "__main__":
    unittest.main()
