#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/cross_aarch64.sh [wheel | TARGETS...]: builds for 64-bit ARM on an x86-64 Debian 12, and runs what
# it computes under qemu-user: the suites of SUITES (the numeric ones and those of text, unless it says
# otherwise), of which TESTS, a regular expression for ctest, may choose. With targets it builds those alone.
# wheel: makes the wheel for such a machine, as scripts/package.sh does. build/aarch64 has the build,
# build/aarch64-root the libraries. Installs Debian's cross compiler, mmdebstrap and qemu-user-static where
# they are missing.
# The same tests on the emulated GPU stay out: that is plain C++, many times as slow, and qemu multiplies it.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh mmdebstrap qemu-user-static g++-aarch64-linux-gnu
root=$PWD/build/aarch64-root
suites=${SUITES:-base tensor ops optim model text data}
tests=${TESTS:-^(${suites// /|})\\.}

# The libraries that scripts/setup.sh installs, of the same release and source, for the other processor.
if [ ! -e "$root/done" ]; then
  echo "cross_aarch64: fetching the libraries into build/aarch64-root"
  rm -rf "$root"
  mkdir -p "$root"
  packages=$(scripts/setup.sh --list |
    grep -E '^(lib|zlib|nlohmann|dict-)' | grep -v -x libjs-chart.js | paste -sd,)
  mmdebstrap --quiet --arch=arm64 --variant=extract \
    "--include=libc6-dev,libstdc++-12-dev,libgomp1,libjs-chart.js,$packages" bookworm "$root"
  # Links to absolute paths would lead into this machine's own folders.
  find "$root" -lname '/*' | while read -r link; do
    ln -sfnr "$root$(readlink "$link")" "$link"
  done
  rm -rf "${root:?}/dev"  # which qemu would take for this machine's: tests open terminals
  version=$(.deps/venv/bin/python3 -c 'import pyarrow; print(pyarrow.__version__)')
  .deps/venv/bin/pip download --quiet --no-deps --only-binary :all: --platform manylinux_2_28_aarch64 \
    --dest "$root/wheels" "pyarrow==$version"
  python3 -m zipfile --extract "$root"/wheels/pyarrow-*.whl "$root/wheels"
  touch "$root/done"
fi

export SYSROOT=$root
if [ "${1:-}" = wheel ]; then
  MACHINE=aarch64 MOE_GPU=OFF scripts/package.sh wheel
  exit
fi
cmake -S . -B build/aarch64 -G Ninja -DCMAKE_BUILD_TYPE=Release --toolchain cmake/aarch64.cmake \
  -DMOE_NATIVE=OFF -DMOE_MPI=OFF -DMOE_BENCH=OFF "-DMOE_PYARROW=$root/wheels/pyarrow"
if [ $# -gt 0 ]; then
  cmake --build build/aarch64 --parallel "$(scripts/jobs.sh)" --target "$@"
  exit
fi
targets=()
for suite in $suites; do targets+=("moe_${suite}_tests"); done
cmake --build build/aarch64 --parallel "$(scripts/jobs.sh)" --target moe "${targets[@]}"
# One test starts itself by a shell, which starts no program of another processor.
BUILD_DIR=build/aarch64 scripts/run_tests.sh cpu --tests-regex "$tests" \
  --exclude-regex 'GemmTest\.Bf16WorksWithoutBf16Instructions'
