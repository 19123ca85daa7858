#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# scripts/fuzz.sh [SECONDS] [NAME...]: runs each fuzz target of build/fuzz that long (60 s by default),
# starting from fuzz/corpus/NAME, with inputs of up to 1 MB. Before, each reads the megabytes of
# fuzz/long_inputs.py once. An input that takes longer than its length allows (fuzz/time_limit.cpp) is a
# finding like a crash. What a target learns goes to build/fuzz/corpus/NAME, inputs that fail to
# build/fuzz/findings/NAME; those of earlier runs are tried again. Ends with a table; the exit status is 0
# only if every target ran and none found anything.
set -euo pipefail
cd "$(dirname "$0")/.."

duration=${1:-60}
shift || true
build=${BUILD_DIR:-build/fuzz}
case $duration in
  '' | *[!0-9]*) echo "fuzz: the time must be whole seconds, found '$duration'" >&2; exit 1 ;;
esac

if [ $# -gt 0 ]; then
  names=("$@")
else
  names=()
  for source in fuzz/*_fuzz.cpp; do
    [ -e "$source" ] && names+=("$(basename "$source" _fuzz.cpp)")
  done
fi
if [ ${#names[@]} = 0 ]; then
  echo "fuzz: fuzz/ has no *_fuzz.cpp" >&2
  exit 1
fi

# Arrow and yaml-cpp come uninstrumented: the containers they share with us carry no annotations.
# clang's sanitizer of undefined behaviour would only print what it finds.
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:${UBSAN_OPTIONS:-}"
export ASAN_OPTIONS="detect_container_overflow=0:${ASAN_OPTIONS:-}"

# Targets write files; a disk would only slow them.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi

# What `time` prints: seconds of the processor. On a busy machine a target gets fewer than the clock says.
TIMEFORMAT=%U
status=0
table=()
for name in "${names[@]}"; do
  program=$build/fuzz/fuzz_$name
  learned=$build/corpus/$name
  findings=$build/findings/$name
  log=$build/fuzz_$name.log
  if [ ! -x "$program" ]; then
    echo "fuzz: $program is not built. Hint: make fuzz" >&2
    exit 1
  fi
  mkdir -p "$learned" "$findings"
  seeds=("$findings")
  before=$(find "$findings" -type f | wc -l)
  [ -d "fuzz/corpus/$name" ] && seeds+=("fuzz/corpus/$name")
  echo "fuzz: $name for $duration s (log: $log)"
  verdict=ok
  long=$build/long/$name
  rm -rf "$long"
  python3 fuzz/long_inputs.py "$long" "${seeds[@]:1}"
  # -timeout is by the clock on the wall, for what never ends; a busy machine is slow, too.
  "$program" -timeout=1200 -rss_limit_mb=4096 -artifact_prefix="$findings/" "$long"/* >"$log" 2>&1 ||
    verdict=FAILED
  rm -rf "$long"
  processor_s=$({ time "$program" -max_total_time="$duration" -max_len=1048576 -timeout=300 \
    -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="$findings/" "$learned" "${seeds[@]}" >>"$log" 2>&1; } 2>&1) || verdict=FAILED
  runs=$(awk '/^stat::number_of_executed_units:/ { print $2 }' "$log")
  found=$(($(find "$findings" -type f | wc -l) - before))
  if [ "$verdict" = FAILED ]; then
    status=1
    tail -n 40 "$log"
  fi
  inputs=$(find "$learned" -type f | wc -l)
  row=("$name" "${runs:-?}" "$processor_s" "$inputs" "$found" "$verdict")
  table+=("$(printf '%-20s %14s %12s %10s %8s  %s' "${row[@]}")")
done
printf '\n%-20s %14s %12s %10s %8s  %s\n' target runs processor_s corpus findings verdict
printf '%s\n' "${table[@]}"
exit $status
