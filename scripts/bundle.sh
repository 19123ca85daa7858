#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/bundle.sh [FOLDER]: a folder (dist/moe) with the program and the libraries it needs, to copy to
# another x86-64 Linux: a processor with AVX2 (2013 or newer) and a C library no older than this machine's.
# Where there is nvcc 13 it is built for NVIDIA GPUs too (MOE_GPU=OFF leaves that out,
# CUDA_ARCHITECTURES=90a-real compiles for some only). CUDA's own libraries stay out: to train on a GPU the
# other machine needs the driver and CUDA 13; without them the program trains on the CPU and says why.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-dist/moe}
gpu=${MOE_GPU:-}
if [ -z "$gpu" ]; then
  nvcc=$(command -v nvcc || echo "${CUDA_PATH:-/usr/local/cuda}/bin/nvcc")
  gpu=OFF
  if [ -x "$nvcc" ] && "$nvcc" --version | grep -q 'release 1[3-9]'; then gpu=ON; fi
  [ $gpu = ON ] && devices="CPUs and NVIDIA GPUs" || devices="CPUs only: there is no nvcc 13 here"
  echo "bundle: for $devices"
fi
architectures=${CUDA_ARCHITECTURES:-80-real;86-real;89-real;90a-real;100-real;120}

# Tuned for the first processors with AVX2: for none in particular gcc 12 does not use their gather
# instruction, and AdamW of 8 bits, which looks codes up in tables, takes twice as long, on newer ones too.
cmake -S . -B build/bundle -G Ninja -DCMAKE_BUILD_TYPE=Release -DMOE_NATIVE=OFF -DMOE_GPU="$gpu" \
  -DMOE_TESTS=OFF \
  -DMOE_BENCH=OFF -DMOE_MPI=OFF '-DCMAKE_CXX_FLAGS=-march=x86-64-v3 -mtune=haswell' \
  -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON \
  '-DCMAKE_INSTALL_RPATH=$ORIGIN/lib' -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags \
  -DCMAKE_CUDA_ARCHITECTURES="$architectures"
cmake --build build/bundle --target moe --parallel "$(scripts/jobs.sh)"

# Libraries that belong to the other machine: glibc's.
is_of_the_system() {
  case $1 in
    libc.so.* | libm.so.* | libresolv.so.* | libpthread.so.* | libdl.so.* | librt.so.* | ld-linux*)
      return 0
      ;;
    *) return 1 ;;
  esac
}

rm -rf "$target.new"
mkdir -p "$target.new/lib"
cp build/bundle/moe "$target.new/moe"
wheel=$(find .deps/venv/lib -maxdepth 4 -type d -name pyarrow 2>/dev/null | head -1 || true)
libraries=$(LD_LIBRARY_PATH=${wheel:+$PWD/$wheel}:${LD_LIBRARY_PATH:-} ldd build/bundle/moe |
  awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 } $2 == "=>" && $3 == "not" { print $1, "missing" }')
while read -r name path; do
  if is_of_the_system "$name"; then
    continue
  fi
  if [ "$path" = missing ]; then
    echo "bundle: $name was not found" >&2
    exit 1
  fi
  cp -L "$path" "$target.new/lib/$name"
done <<<"$libraries"
chmod u+w "$target.new"/lib/*
strip --strip-unneeded "$target.new/moe" "$target.new"/lib/*
cp -r configs LICENSE README.md "$target.new/"

# It must find everything inside itself, whatever the caller's environment says.
outside=$(env -i PATH="$PATH" ldd "$target.new/moe" | awk '$2 == "=>" { print $1, $3 }' |
  grep -v " $(realpath "$target.new")/" || true)
while read -r name path; do
  if [ -n "$name" ] && ! is_of_the_system "$name"; then
    echo "bundle: $name would come from ${path:-nowhere}" >&2
    exit 1
  fi
done <<<"$outside"
rm -rf "$target"
mv "$target.new" "$target"
env -i "$target/moe" --version
du -sh "$target" | awk '{ print "bundle: " $2 ", " $1 }'
