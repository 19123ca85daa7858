#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/format.sh [--check]: formats all C++ and CUDA files in place, or says which are not formatted. Only
# clang-format 14 decides: other versions lay some lines out differently. Exit status of --check: 0 clean, 1
# not, 77 no clang-format 14.
set -euo pipefail
cd "$(dirname "$0")/.."

formatter=
for candidate in clang-format-14 clang-format; do
  if "$candidate" --version 2>/dev/null | grep -q 'version 14\.'; then
    formatter=$candidate
    break
  fi
done
if [ -z "$formatter" ]; then
  echo "SKIPPED: clang-format 14 is not installed. Hint: scripts/setup.sh clang-format-14"
  exit 77
fi

if [ "${1:-}" = --check ]; then
  options=(--dry-run -Werror)
else
  options=(-i)
fi
find src tests bench fuzz -regextype posix-extended -regex '.*\.(cpp|h|cu|cuh)' -print0 |
  xargs -0 "$formatter" "${options[@]}"
