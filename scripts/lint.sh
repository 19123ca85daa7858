#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/lint.sh [FILE.cpp...]: clang-tidy with .clang-tidy's checks over the named sources, or over all of ours.
# Reads the commands of the preset `lint` (BUILD_DIR names another folder), which has no precompiled headers: each source
# is held to including what it uses.
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
if [ $# -gt 0 ]; then
  files=("$@")
else
  mapfile -t files < <(find src tests bench -name '*.cpp' | sort)
fi

# One process a core; each prints only the findings in its own file and our headers. xargs fails if any of them did.
printf '%s\0' "${files[@]}" |
  xargs -0 -n 1 -P "$(scripts/jobs.sh)" "$tidy" -p "$build" --quiet 2> >(grep -v -E 'warnings? (generated|treated)' >&2)
echo "lint: ${#files[@]} files are clean"
