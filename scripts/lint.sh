#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/lint.sh [FILE.cpp...]: clang-tidy with .clang-tidy's checks over the named sources, or over all of
# ours (half an hour on two cores). scripts/lint.sh --since COMMIT: over those that differ from that commit.
# Reads the commands of the preset `lint` (BUILD_DIR names another folder), which has no precompiled headers:
# each source is held to including what it uses.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${BUILD_DIR:-build/lint}
tidy=$(command -v clang-tidy-14 || command -v clang-tidy || true)
if [ -z "$tidy" ]; then
  echo "lint: clang-tidy is missing. Hint: scripts/setup.sh clang-tidy-14" >&2
  exit 1
fi
if [ -z "${BUILD_DIR:-}" ]; then
  cmake --preset lint >/dev/null
elif [ ! -e "$build/compile_commands.json" ]; then
  echo "lint: $build is not configured. Hint: unset BUILD_DIR" >&2
  exit 1
fi
if [ "${1:-}" = --since ]; then
  mapfile -t files < <(git diff --name-only --diff-filter=d "${2:?lint: --since needs a commit}" -- \
    'src/*.cpp' 'tests/*.cpp' 'bench/*.cpp')
elif [ $# -gt 0 ]; then
  files=("$@")
else
  mapfile -t files < <(find src tests bench -name '*.cpp' | sort)
fi
# What this build does not compile (without CUDA, for example) cannot be checked in it.
known=()
for file in "${files[@]}"; do
  if grep -q -F "/${file#./}\"" "$build/compile_commands.json"; then
    known+=("$file")
  else
    echo "lint: $file is not part of $build"
  fi
done
files=("${known[@]}")
[ ${#files[@]} -gt 0 ] || { echo "lint: nothing to check"; exit 0; }
cmake --build "$build" --target generated_sources >/dev/null

# The commands are gcc's, of whose warnings clang does not know all. One process a core; each prints only the
# findings in its own file and our headers. xargs fails if any of them did.
printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "$(scripts/jobs.sh)" "$tidy" -p "$build" --quiet \
    --extra-arg=-Wno-unknown-warning-option 2> >(grep -v -E 'warnings? (generated|treated)' >&2)
echo "lint: ${#files[@]} files are clean"
