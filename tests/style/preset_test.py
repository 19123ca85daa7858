#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scripts/preset.sh takes the GPU only where there is one new enough and a compiler for it, and says why not
elsewhere."""
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "preset.sh"
NVCC = """nvcc: NVIDIA (R) Cuda compiler driver
Cuda compilation tools, release {}, V{}.88
"""


class Preset(unittest.TestCase):
    def run_on(self, *arguments, gpus=None, nvcc=None, smi_status=0):
        """Output and messages on a machine whose nvidia-smi prints `gpus` and whose nvcc has that version
        (None: none)."""
        with tempfile.TemporaryDirectory() as folder:
            tools, cuda = Path(folder) / "bin", Path(folder) / "cuda"
            tools.mkdir()
            for name in ("bash", "env", "head", "sed", "cat"):
                (tools / name).symlink_to(shutil.which(name))
            if gpus is not None:
                self.program(tools / "nvidia-smi", gpus, smi_status)
            if nvcc is not None:
                self.program(cuda / "bin" / "nvcc", NVCC.format(nvcc, nvcc), 0)
            environment = {**os.environ, "PATH": str(tools), "CUDA_PATH": str(cuda)}
            done = subprocess.run(
                [str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=True)
            return done.stdout.strip(), done.stderr.strip()

    @staticmethod
    def program(path, output, status):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\ncat <<'END'\n{output}\nEND\nexit {status}\n")
        path.chmod(0o755)

    def assert_cpu(self, pattern, **machine):
        preset, message = self.run_on(**machine)
        self.assertEqual(preset, "cpu")
        self.assertRegex(message, pattern)
        self.assertEqual(len(message.splitlines()), 1, message)
        self.assertEqual(self.run_on("--architectures", **machine), ("", ""))

    def test_no_driver(self):
        self.assert_cpu("no nvidia-smi", nvcc="13.0")

    def test_a_driver_without_a_gpu(self):
        self.assert_cpu("No devices were found", gpus="No devices were found", smi_status=6, nvcc="13.0")

    def test_an_old_gpu(self):
        self.assert_cpu(
            "V100.*older than compute capability 8.0", gpus="7.0, Tesla V100-SXM2-16GB", nvcc="13.0")

    def test_no_compiler(self):
        self.assert_cpu("NVIDIA H200, but no nvcc.*CUDA 13", gpus="9.0, NVIDIA H200")

    def test_an_old_compiler(self):
        self.assert_cpu("is version 12.4.*CUDA 13", gpus="9.0, NVIDIA H200", nvcc="12.4")

    def test_a_gpu_and_its_compiler(self):
        preset, message = self.run_on(gpus="8.6, NVIDIA GeForce RTX 3090", nvcc="13.0")
        self.assertEqual(preset, "gpu")
        self.assertRegex(message, "for the NVIDIA GeForce RTX 3090 with CUDA 13.0")

    def test_compiles_for_the_gpus_there(self):
        machine = {"gpus": "9.0, NVIDIA H200\n9.0, NVIDIA H200\n7.5, Tesla T4\n12.0, NVIDIA RTX PRO 6000",
                   "nvcc": "13.1"}
        self.assertEqual(self.run_on("--architectures", **machine), ("90a-real;120-real", ""))


if __name__ == "__main__":
    unittest.main()
