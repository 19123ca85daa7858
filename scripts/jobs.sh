#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Prints how many compilers to run at once: one a core, but no more than memory holds at 1.5 GiB each (what
# the heaviest file, the one that includes Arrow, takes with sanitizers).
set -euo pipefail
cores=$(getconf _NPROCESSORS_ONLN)
free_kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo 2>/dev/null || true)
jobs=$((${free_kib:-0} / (1536 * 1024)))
if [ -z "$free_kib" ] || [ "$jobs" -gt "$cores" ]; then
  jobs=$cores
fi
echo $((jobs > 0 ? jobs : 1))
