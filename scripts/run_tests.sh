#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/run_tests.sh [PRESET] [CTEST OPTIONS...]: runs the built tests of a preset in parallel. Failures
# print their output; the last line is `N passed, N failed` (`, N skipped`, with the reasons listed above it).
# The exit status is 0 only if at least one test ran and none failed. BUILD_DIR names another build folder
# than build/PRESET.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-cpu}
shift || true
build=${BUILD_DIR:-build/$preset}
if [ ! -e "$build/CTestTestfile.cmake" ]; then
  echo "run_tests: no tests are built in $build. Hint: make test PRESET=$preset" >&2
  exit 1
fi

runner=()
if [ "$preset" = tsan ]; then
  # gcc 12's and clang 14's ThreadSanitizer stops where the kernel randomises addresses more than it knows
  runner=(setarch "$(uname -m)" --addr-no-randomize)
fi

# gcc's sanitizer of undefined behaviour would only print what it finds.
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}
# What is other libraries' own.
export LSAN_OPTIONS=suppressions=$PWD/tests/support/leaks_of_others.txt${LSAN_OPTIONS:+:$LSAN_OPTIONS}
export TSAN_OPTIONS=suppressions=$PWD/tests/support/races_of_others.txt${TSAN_OPTIONS:+:$TSAN_OPTIONS}

# One for each instruction set that oneDNN was limited to (scripts/test_instruction_sets.sh).
report=$(realpath "$build")/junit${ONEDNN_MAX_CPU_ISA:+-$ONEDNN_MAX_CPU_ISA}.xml
rm -f "$report"
"${runner[@]}" ctest --test-dir "$build" --parallel "$(nproc)" --output-on-failure --output-junit "$report" \
  "$@" |
  grep -v -E '^ +Start +[0-9]+: ' || true
if [ ! -e "$report" ]; then
  echo "run_tests: ctest stopped before it wrote $report" >&2
  exit 1
fi
python3 scripts/summarise_tests.py "$report"
