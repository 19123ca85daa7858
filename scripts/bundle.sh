#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/bundle.sh [FOLDER]: a folder with the program and the libraries it needs, to copy to another x86-64 Linux with
# a C library no older than this machine's. With MOE_GPU=ON it runs on NVIDIA GPUs too;
# CUDA's libraries stay out: the other machine needs the driver and CUDA 13.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:-dist/moe}
gpu=${MOE_GPU:-OFF}

cmake -S . -B build/bundle -G Ninja -DCMAKE_BUILD_TYPE=Release -DMOE_NATIVE=OFF -DMOE_GPU="$gpu" -DMOE_TESTS=OFF \
  -DMOE_BENCH=OFF -DCMAKE_CXX_FLAGS=-march=x86-64-v3 -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON \
  '-DCMAKE_INSTALL_RPATH=$ORIGIN/lib' -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags ${CUDA_ARCHITECTURES:+"-DCMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES"}
cmake --build build/bundle --target moe --parallel "$(scripts/jobs.sh)"

rm -rf "$target.new"
mkdir -p "$target.new/lib"
cp build/bundle/moe "$target.new/moe"
# Where the libraries are now; glibc's own belong to the machine, CUDA's to its driver and toolkit.
wheel=$(find .deps/venv/lib -maxdepth 4 -type d -name pyarrow 2>/dev/null | head -1 || true)
LD_LIBRARY_PATH=${wheel:+$PWD/$wheel}:${LD_LIBRARY_PATH:-} ldd build/bundle/moe |
  awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 } $2 == "=>" && $3 == "not" { print $1, "missing" }' |
  while read -r name path; do
    case $name in
      libc.so.* | libm.so.* | libresolv.so.* | libpthread.so.* | libdl.so.* | librt.so.* | ld-linux*) ;;
      libcublas* | libcudart* | libcuda.so.*) ;;
      *)
        if [ "$path" = missing ]; then
          echo "bundle: $name was not found" >&2
          exit 1
        fi
        cp -L "$path" "$target.new/lib/$name"
        ;;
    esac
  done
cp -r configs LICENSE README.md "$target.new/"
rm -rf "$target"
mv "$target.new" "$target"
LD_LIBRARY_PATH= "$target/moe" --version
du -sh "$target" | awk '{ print "bundle: " $2 ", " $1 }'
