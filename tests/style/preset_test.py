#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scripts/preset.sh takes the GPU only where there is one new enough, with a driver for CUDA 13, and a
compiler for it or wheels with one; elsewhere it says why not. scripts/setup.sh brings the wheels where they
are needed."""
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
NVCC = """nvcc: NVIDIA (R) Cuda compiler driver
Cuda compilation tools, release {0}, V{0}.88
"""
H200 = "9.0, 580.95.05, NVIDIA H200"
# Stands for the private environment's Python: notes how pip is called, and makes the folder that it would.
PYTHON = """#!/usr/bin/env bash
echo "$*" >>{log}
while [ $# -gt 0 ]; do
  if [ "$1" = --target ]; then mkdir -p "$2"; fi
  shift
done
exit {status}
"""


class Machine(unittest.TestCase):
    """A folder with the scripts, and a PATH with little more than nvidia-smi and nvcc, if they are given."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        (self.root / "scripts").mkdir()
        for name in ("preset.sh", "setup.sh", "requirements-build.txt", "requirements-cuda.txt"):
            shutil.copy(SCRIPTS / name, self.root / "scripts" / name)

    @staticmethod
    def program(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def prints(self, path, output, status=0):
        self.program(path, f"#!/usr/bin/env bash\ncat <<'END'\n{output}\nEND\nexit {status}\n")

    def put_wheels(self, version="13.5", whole=True):
        folder = self.root / ".deps" / "cuda"
        self.prints(folder / "nvidia" / "cu13" / "bin" / "nvcc", NVCC.format(version))
        if whole:
            (folder / "requirements.sha256").write_text("of an earlier list\n")

    def run_script(self, *command, gpus=None, nvcc=None, smi_status=0, tools=(), **environment):
        """On a machine whose nvidia-smi prints `gpus` and whose toolkit has that version (None: none)."""
        binaries, cuda = self.root / "bin", self.root / "toolkit"
        for folder in (binaries, cuda):
            shutil.rmtree(folder, ignore_errors=True)
        binaries.mkdir()
        for name in ("bash", "env", "head", "sed", "cat", "dirname", *tools):
            (binaries / name).symlink_to(shutil.which(name))
        if gpus is not None:
            self.prints(binaries / "nvidia-smi", gpus, smi_status)
        if nvcc is not None:
            self.prints(cuda / "bin" / "nvcc", NVCC.format(nvcc))
        for name in ("apt-get", "dpkg-query"):
            self.prints(binaries / name, "installed")
        kept = {name: value for name, value in os.environ.items()
                if name not in ("MOE_CUDA_WHEELS", "MOE_SKIP_SETUP", "PRESET")}
        return subprocess.run(
            [str(self.root / "scripts" / command[0]), *command[1:]],
            capture_output=True, text=True, check=False,
            env={**kept, "PATH": str(binaries), "CUDA_PATH": str(cuda), **environment})


class Preset(Machine):
    def preset(self, *arguments, **machine):
        done = self.run_script("preset.sh", *arguments, **machine)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip(), done.stderr.strip()

    def assert_cpu(self, pattern, **machine):
        preset, message = self.preset(**machine)
        self.assertEqual(preset, "cpu")
        self.assertRegex(message, pattern)
        self.assertEqual(len(message.splitlines()), 1, message)
        self.assertEqual(self.preset("--architectures", **machine), ("", ""))

    def assert_gpu(self, pattern, **machine):
        preset, message = self.preset(**machine)
        self.assertEqual(preset, "gpu", message)
        self.assertRegex(message, pattern)
        self.assertEqual(len(message.splitlines()), 1, message)

    def test_no_driver(self):
        self.assert_cpu("no nvidia-smi", nvcc="13.0")

    def test_a_driver_without_a_gpu(self):
        self.assert_cpu("No devices were found", gpus="No devices were found", smi_status=6, nvcc="13.0")

    def test_an_old_gpu(self):
        self.assert_cpu("V100.*older than compute capability 8.0",
                        gpus="7.0, 580.95.05, Tesla V100-SXM2-16GB", nvcc="13.0")

    def test_an_old_driver(self):
        for nvcc in (None, "13.0"):
            self.assert_cpu("driver of the NVIDIA H200 is 550.54.15, and CUDA 13 needs 580",
                            gpus="9.0, 550.54.15, NVIDIA H200", nvcc=nvcc)

    def test_no_compiler_and_no_wheels(self):
        self.assert_cpu("NVIDIA H200, but no nvcc.*CUDA 13", gpus=H200, MOE_CUDA_WHEELS="0")
        self.assert_cpu("NVIDIA H200, but no nvcc.*CUDA 13", gpus=H200, MOE_SKIP_SETUP="1")

    def test_an_old_compiler_and_no_wheels(self):
        self.assert_cpu("is version 12.4.*CUDA 13", gpus=H200, nvcc="12.4", MOE_CUDA_WHEELS="0")

    def test_a_compiler_that_does_not_run(self):
        broken = self.root / "broken" / "bin" / "nvcc"
        self.program(broken, "#!/usr/bin/env bash\necho 'no such toolkit' >&2\nexit 127\n")
        machine = {"gpus": H200, "CUDA_PATH": str(broken.parents[1])}
        self.assert_gpu("with CUDA's wheels, which setup brings", **machine)
        self.assert_cpu("is version unknown", MOE_CUDA_WHEELS="0", **machine)

    def test_a_gpu_and_its_compiler(self):
        self.assert_gpu("for the NVIDIA GeForce RTX 3090 with CUDA 13.0 ",
                        gpus="8.6, 580.95.05, NVIDIA GeForce RTX 3090", nvcc="13.0")

    def test_wheels_bring_the_compiler(self):
        self.assert_gpu("for the NVIDIA H200 with CUDA's wheels, which setup brings", gpus=H200)
        self.assert_gpu("with CUDA's wheels, which setup brings", gpus=H200, nvcc="12.4")
        self.assertEqual(self.preset("--architectures", gpus=H200), ("90a-real", ""))
        self.assertEqual(self.preset("--nvcc", gpus=H200), ("", ""))

    def test_wheels_that_are_there(self):
        self.put_wheels()
        self.assert_gpu("with CUDA 13.5 of the wheels", gpus=H200)
        self.assert_gpu("with CUDA 13.5 of the wheels", gpus=H200, MOE_SKIP_SETUP="1")

    def test_which_compiler(self):
        toolkit = str(self.root / "toolkit" / "bin" / "nvcc")
        wheels = str(self.root / ".deps" / "cuda" / "nvidia" / "cu13" / "bin" / "nvcc")
        self.put_wheels(whole=False)
        self.assertEqual(self.preset("--nvcc"), ("", ""))
        self.put_wheels()
        self.assertEqual(self.preset("--nvcc"), (wheels, ""))
        self.assertEqual(self.preset("--nvcc", nvcc="12.4"), (wheels, ""))
        self.assertEqual(self.preset("--nvcc", nvcc="13.0"), (toolkit, ""))
        self.assertEqual(self.preset("--nvcc", nvcc="13.0", MOE_CUDA_WHEELS="1"), (wheels, ""))
        self.assertEqual(self.preset("--nvcc", MOE_CUDA_WHEELS="0"), ("", ""))

    def test_compiles_for_the_gpus_there(self):
        gpus = [f"{capability}, 590.44.01, {name}" for capability, name in (
            ("9.0", "NVIDIA H200"), ("9.0", "NVIDIA H200"), ("7.5", "Tesla T4"),
            ("12.0", "NVIDIA RTX PRO 6000"))]
        self.assertEqual(
            self.preset("--architectures", gpus="\n".join(gpus), nvcc="13.1"), ("90a-real;120-real", ""))


class Setup(Machine):
    def setup_script(self, status=0, **machine):
        """What pip was asked for, and how setup.sh ended."""
        log = self.root / "pip.log"
        log.unlink(missing_ok=True)
        self.program(self.root / ".deps/venv/bin/python3", PYTHON.format(log=log, status=status))
        tools = ("sha256sum", "rm", "mkdir", "tail", "id")
        done = self.run_script("setup.sh", tools=tools, CMAKE_PREFIX_PATH=str(self.root / "arrow"), **machine)
        asked = log.read_text().splitlines() if log.exists() else []
        return [line for line in asked if "requirements-cuda.txt" in line], done

    def setUp(self):
        super().setUp()
        arrow = self.root / "arrow" / "lib" / "cmake" / "Parquet" / "ParquetConfig.cmake"
        arrow.parent.mkdir(parents=True)
        arrow.touch()

    def assert_brings(self, brings, **machine):
        asked, done = self.setup_script(**machine)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(asked), 1 if brings else 0, done.stdout)
        self.assertEqual("CUDA's compiler" in done.stdout, brings)

    def test_a_gpu_with_only_its_driver(self):
        self.assert_brings(True, gpus=H200)
        self.assert_brings(False, gpus=H200)  # they are there
        with open(self.root / "scripts/requirements-cuda.txt", "a", encoding="utf-8") as file:
            file.write("nvidia-another==1\n")
        self.assert_brings(True, gpus=H200)

    def test_where_they_are_not_needed(self):
        self.assert_brings(False)
        self.assert_brings(False, gpus=H200, nvcc="13.0")
        self.assert_brings(False, gpus="9.0, 550.54.15, NVIDIA H200")
        self.assert_brings(False, gpus=H200, PRESET="cpu")
        self.assert_brings(False, gpus=H200, MOE_CUDA_WHEELS="0")

    def test_where_they_are_asked_for(self):
        self.assert_brings(True, PRESET="gpu")
        self.assert_brings(False, PRESET="gpu")

    def test_they_come_beside_a_toolkit(self):
        self.assert_brings(True, nvcc="13.0", MOE_CUDA_WHEELS="1")

    def test_a_download_that_fails_is_made_again(self):
        asked, done = self.setup_script(status=1, gpus=H200)
        self.assertEqual((done.returncode, len(asked)), (1, 1))
        self.assertRegex(done.stderr, "MOE_CUDA_WHEELS=0")
        self.assert_brings(True, gpus=H200)


if __name__ == "__main__":
    unittest.main()
